"""Generations of one member."""

from __future__ import annotations

from holdfast.recovery.generation import CUT, MEMBERS, NUMBER, Generation, successor


def test_a_successor_has_a_number_that_was_never_used() -> None:
    first = successor(0, members=(1,), cut=0)
    second = successor(first.number, members=(2,), cut=7)

    assert (first.number, second.number) == (1, 2)
    assert second == Generation(2, (2,), 7)


def test_all_of_a_generation_is_recorded() -> None:
    assert Generation(3, (8, 9), 40).records() == {NUMBER: 3, MEMBERS: [8, 9], CUT: 40}
