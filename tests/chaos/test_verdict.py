"""The verdict finds what is wrong where no output shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.chaos import verdict
from holdfast.chaos.campaign import Campaign
from holdfast.chaos.catalogue import catalogue
from holdfast.chaos.options import Options
from holdfast.chaos.outputs import Violation
from holdfast.chaos.verdict import Expected
from holdfast.chaos.world import World
from holdfast.core.epochs import EpochRow
from holdfast.storage.memory import MemoryLog


def test_an_epoch_that_splits_a_round_is_found() -> None:
    whole = [EpochRow(1, 0, ((0, 64, 0, False), (1, 10, 0, True))), EpochRow(2, 0, ((0, 6, 0, True),))]
    verdict.judge_rounds(whole, [70, 10])

    split = [
        EpochRow(1, 0, ((0, 64, 0, False), (1, 9, 0, False))),
        EpochRow(2, 0, ((0, 6, 0, True), (1, 1, 0, True))),
    ]
    with pytest.raises(Violation, match="splits a round"):
        verdict.judge_rounds(split, [70, 10])


def finished_world() -> World:
    """A world without faults that has checkpoints in the middle of its input."""
    own = Campaign(catalogue("comings and goings"))
    for seed in range(100):
        options = own.options(seed, ())
        assert isinstance(options, Options)
        world = World(own.applications["comings and goings"](seed), options)
        assert world.run().failure is None
        if len({snapshot.epoch for snapshot in world.node.snapshots}) > 2:
            return world
    raise AssertionError("no world makes checkpoints in the middle")


def expected_of(world: World) -> Expected:
    epochs = {snapshot.epoch for snapshot in world.node.snapshots}
    return verdict.expect(world.build(), world.records, list(MemoryLog(world.disk).rows()), epochs)


def test_checkpoints_are_compared_with_the_reference_at_their_cuts() -> None:
    world = finished_world()
    rows = list(MemoryLog(world.disk).rows())
    expected = expected_of(world)
    snapshots = world.node.snapshots
    for snapshot in snapshots:
        verdict.judge_snapshot(world.build(), snapshot, rows, expected)

    first, last = snapshots[0], snapshots[-1]
    lost = replace(last, chunks=last.chunks[:-1])
    stale = replace(last, chunks=first.chunks, rows=first.rows)
    elsewhere = replace(last, record=replace(last.record, epoch=first.epoch))
    for wrong in (lost, stale, elsewhere):
        with pytest.raises(Violation, match="checkpoint at epoch"):
            verdict.judge_snapshot(world.build(), wrong, rows, expected)
