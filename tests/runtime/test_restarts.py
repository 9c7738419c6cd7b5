"""Which process is started again when: slower and slower what dies at once, and not for ever what dies by itself."""

from __future__ import annotations

import pytest

from holdfast.runtime.restarts import (
    CALM_SECONDS,
    CRASHED_SECONDS_MAX,
    CRASHES_MAX,
    FIRST_SECONDS,
    KILLED_SECONDS_MAX,
    End,
    Restarts,
)


def pauses(restarts: Restarts, count: int, *, by_itself: bool, lived: float = 0.5) -> list[float | None]:
    return [restarts.pause(End("worker 1", by_itself, lived, 0)) for _ in range(count)]


def test_every_start_of_what_dies_at_once_waits_longer_up_to_a_limit() -> None:
    crashed = pauses(Restarts(), CRASHES_MAX - 1, by_itself=True)
    killed = pauses(Restarts(), 20, by_itself=False)

    assert crashed == sorted(p for p in crashed if p is not None)
    assert (crashed[0], crashed[-1]) == (FIRST_SECONDS, CRASHED_SECONDS_MAX)
    assert (killed[0], killed[-1]) == (FIRST_SECONDS, KILLED_SECONDS_MAX)


def test_what_ends_by_itself_without_anything_getting_further_is_given_up() -> None:
    assert pauses(Restarts(), CRASHES_MAX, by_itself=True)[-1] is None


def test_crashes_of_all_workers_count_together_since_others_take_over_what_killed_the_first() -> None:
    restarts = Restarts()
    ends = [restarts.pause(End(f"worker {number % 3}", True, 0.5, 7)) for number in range(CRASHES_MAX)]

    assert ends[-1] is None
    assert None not in ends[:-1]


@pytest.mark.parametrize("count", [10 * CRASHES_MAX])
def test_what_somebody_kills_is_never_given_up(count: int) -> None:
    assert None not in pauses(Restarts(), count, by_itself=False)


def test_crashes_between_which_cuts_are_sealed_are_never_given_up() -> None:
    restarts = Restarts()

    assert None not in [restarts.pause(End("worker 1", True, 0.5, sealed)) for sealed in range(1, 5 * CRASHES_MAX)]


def test_what_has_lived_for_long_is_started_again_at_once() -> None:
    restarts = Restarts()
    pauses(restarts, 5, by_itself=False)

    assert pauses(restarts, 1, by_itself=False, lived=CALM_SECONDS) == [FIRST_SECONDS]
