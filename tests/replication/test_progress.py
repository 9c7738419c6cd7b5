"""Progress: minima over the members of a generation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.replication.progress import Progress

REPORTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)))


def test_everything_starts_at_the_cut() -> None:
    progress = Progress([1, 2], 5)

    assert (progress.durable, progress.delivered, progress.sealed) == (5, 5, 5)


def test_an_epoch_is_durable_only_when_it_is_so_at_every_member() -> None:
    progress = Progress([1, 2], 0)
    progress.advance(1, durable=9)

    assert progress.durable == 0

    progress.advance(2, durable=4)

    assert progress.durable == 4


@given(REPORTS)
def test_minima_never_fall_and_a_cut_is_sealed_last(reports: list[tuple[int, int, int, int]]) -> None:
    progress = Progress(range(3), 0)
    before = (0, 0, 0)
    for member, durable, replicated, delivered in reports:
        progress.advance(member, durable=durable, replicated=replicated, delivered=delivered)
        now = (progress.durable, progress.delivered, progress.sealed)
        assert all(new >= old for new, old in zip(now, before, strict=True))
        reached = progress.reached.values()
        minima = [min(values) for values in zip(*((r.durable, r.delivered, r.replicated) for r in reached), strict=True)]
        assert now == (*minima[:2], min(minima))
        before = now


def test_a_cut_is_not_sealed_before_it_is_delivered() -> None:
    progress = Progress(["a"], 0)

    progress.advance("a", durable=3, replicated=3, delivered=2)

    assert progress.sealed == 2
