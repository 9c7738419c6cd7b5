"""Quarrels: a pair that breaks its link again and again, with nothing sealed, costs one of the two its place for a while."""

from __future__ import annotations

from holdfast.recovery.quarrels import PATIENCE, Quarrels

SHUN_MS = 100


def test_a_pair_that_never_gets_anything_sealed_is_parted_for_a_while() -> None:
    quarrels = Quarrels(SHUN_MS)

    assert [quarrels.broken(now, [("a", "b")]) for now in range(PATIENCE)] == [None] * (PATIENCE - 1) + ["b"]
    until = PATIENCE - 1 + SHUN_MS
    assert [quarrels.shunned(now) for now in (until - 1, until)] == [frozenset("b"), frozenset()]


def test_what_was_between_two_is_over_when_they_have_sealed_something_together() -> None:
    quarrels = Quarrels(SHUN_MS)
    for now in range(PATIENCE - 1):
        quarrels.broken(now, [("a", "b")])
    quarrels.sealed(["a", "c"])
    assert quarrels.changes["a", "b"] == PATIENCE - 1

    quarrels.sealed(["a", "b", "c"])

    assert quarrels.broken(9, [("b", "a")]) is None


def test_who_has_the_most_broken_links_is_left_out() -> None:
    quarrels = Quarrels(SHUN_MS)

    assert [quarrels.broken(now, [("a", "b"), ("c", "a")]) for now in range(PATIENCE)][-1] == "a"
