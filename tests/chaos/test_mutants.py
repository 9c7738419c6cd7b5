"""Planted bugs are found: the proof that the faults are strong enough.

docs/simulator.md holds the table of all of them; a mutant that survives there means that the faults are too
weak.
"""

from __future__ import annotations

import pytest

from holdfast.chaos.mutants import MUTANTS
from holdfast.chaos.planting import planted
from holdfast.connectors.file_writer import FileWriter
from holdfast.core.entities import Book
from holdfast.worker.checkpoint import Checkpoints
from holdfast.worker.machine import Worker
from tests.chaos.campaign import campaign

SEEDS = 100  # within which each of the fast ones is found
NIGHTLY_SEEDS = 3000

FAST = ("apply-before-append", "complete-before-sinks-synced", "no-undo-at-return")


def found(name: str, seeds: int) -> str:
    """As what the bug is found."""
    failures = campaign(name).run_all(range(seeds)).failures
    assert failures, f"{name} survives {seeds} seeds"
    return next(iter(failures.values()))


@pytest.mark.parametrize("name", FAST)
def test_a_planted_bug_is_found_within_a_few_seeds(name: str) -> None:
    assert "mutants.py" not in found(name, SEEDS)  # that would be an error in the planted bug itself


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(set(MUTANTS) - set(FAST)))
def test_every_planted_bug_is_found(name: str) -> None:
    assert "mutants.py" not in found(name, NIGHTLY_SEEDS)


def test_what_a_planted_bug_replaces_is_there_and_comes_back() -> None:
    before = Checkpoints.chunks_staged, Worker._end, Book.touch, FileWriter._write_over_standing

    for mutant in MUTANTS.values():
        with planted(mutant):
            pass
        assert (Checkpoints.chunks_staged, Worker._end, Book.touch, FileWriter._write_over_standing) == before


def test_nothing_is_left_of_a_planted_bug_afterwards() -> None:
    seed = next(iter(campaign("apply-before-append").run_all(range(SEEDS)).failures))
    options = campaign().options(seed)

    assert campaign("apply-before-append").run(options).failure is not None
    assert campaign().run(options).failure is None
