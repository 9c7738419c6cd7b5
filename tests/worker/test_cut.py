"""When a checkpoint is due."""

from __future__ import annotations

from holdfast.worker.cut import FIRST_PART, LOG_BYTES_MAX, CutPolicy
from holdfast.worker.settings import Settings


def policy() -> CutPolicy:
    made = CutPolicy(Settings(checkpoint_ms=FIRST_PART * 10), 0)
    made.last = 1000
    return made


def test_the_first_checkpoints_of_a_life_come_soon() -> None:
    cuts = policy()
    gaps = []
    now = 1000
    for _ in range(7):
        cuts.applied(1)
        due = cuts.due_at()
        assert due is not None
        gaps.append(due - now)
        assert not cuts.is_due(due - 1, crowded=False)
        assert cuts.is_due(due, crowded=False)
        cuts.made(due)
        now = due

    assert gaps == [10, 20, 40, 80, 160, 160, 160]


def test_nothing_is_due_while_nothing_has_changed() -> None:
    cuts = policy()

    assert cuts.due_at() is None
    assert not cuts.is_due(10**9, crowded=True)


def test_crowds_long_logs_and_a_clock_set_back_do_not_wait() -> None:
    cuts = policy()
    cuts.applied(1)
    assert not cuts.is_due(1001, crowded=False)
    assert cuts.is_due(1001, crowded=True)
    assert cuts.is_due(999, crowded=False)
    cuts.applied(LOG_BYTES_MAX)
    assert cuts.is_due(1001, crowded=False)
