"""Holding, cut by cut: how far back memory reaches, and what belongs to a checkpoint at one of several cuts."""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.images import unpack
from holdfast.recovery.generation import Holders
from holdfast.worker.holding import VOID_STEP
from tests.worker.test_holding import RANGES, a_formation, a_holding, both, in_books, in_shadow, touched


def test_memory_reaches_back_to_the_last_sealed_cut() -> None:
    first, second = both()
    book = first.books["plain"]
    for cut in (1, 2, 3):
        touched(book, 1).state.append(cut)
        second.take("a", cut, first.cut(cut).by_backup["b"])
    for holding in (first, second):
        holding.sealed(1)

    assert [(own.base, own.top) for own in (*first.remembered, *second.remembered) if own.ranges] == [(1, 3)] * 2
    first.at(1)
    assert in_books(first) == {("plain", 1): ([1], {})}


def test_a_checkpoint_holds_nothing_that_was_packed_for_a_later_cut() -> None:
    first, second = both()
    for cut in (1, 2):
        touched(first.books["plain"], 1).state.append(cut)
        second.take("a", cut, first.cut(cut).by_backup["b"])

    for holding in (first, second):
        disk = a_holding()
        for chunk in holding.chunks_upto(1):
            disk.restore(chunk)

        assert in_shadow(disk) == {("plain", 1): ([1], {})}


def test_what_was_packed_behind_a_checkpoint_is_kept_for_the_next() -> None:
    first, _ = both()
    packed = []
    for cut in (1, 2):
        touched(first.books["plain"], cut).state.append(cut)
        packed.append(first.cut(cut).all)

    first.written(1)

    assert first.chunks_upto(2) == packed[1]


def test_a_snapshot_that_begins_anew_in_another_generation_voids_what_came_of_it_before() -> None:
    """Entities that were deleted in between would come back from a disk else."""
    holding, ranges = a_holding(), range(RANGES)
    formation = a_formation(1, 0, [Holders("a", ("b",))] * RANGES, {"b": list(ranges)})
    for number in (1, 2):
        holding.begin(replace(formation, number=number), "b")
        holding.take_snapshot(0, ranges, (), last=False)

    assert [unpack(chunk, holding.registry).step for chunk in holding.chunks_upto(0)] == [VOID_STEP] * 2


def test_memory_begins_anew_at_the_cut_of_each_generation() -> None:
    first, _ = both()
    first.cut(3)
    first.begin(a_formation(2, 3, [Holders("a", ("b",))] * RANGES), "a")

    assert [(own.base, own.top) for own in first.remembered] == [(3, 3)]
