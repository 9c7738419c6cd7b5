"""The timeline of a campaign against real clusters: its lines, its percentiles, and the schedules behind it."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.chaos.cluster_scenarios import NEEDS, SCENARIOS, schedule
from holdfast.chaos.timeline import Survived, pauses, percentile


def survived(name: str, pause: float) -> Survived:
    return Survived(name, "kill worker 2", 100.0, 100.25, (100.5, "generation 4 of a, b: why"), 101.0, pause)


def test_a_line_says_what_was_struck_and_what_followed() -> None:
    line = survived("kill-worker", 0.9).line(began=90.0)

    assert line.split() == [
        *("10.00", "s", "kill", "worker", "2", "detected", "+0.250", "s,", "generation", "4", "+0.500", "s,"),
        *("outputs", "+1.000", "s,", "pause", "0.900", "s"),
    ]


def test_what_needed_no_new_generation_is_said_without_one() -> None:
    line = Survived("kill-coordinator", "kill the coordinator", 5.0, None, None, 5.5, 0.25).line(began=0.0)

    assert line.endswith("outputs +0.500 s, pause 0.250 s")
    assert "generation" not in line


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_enough_others_do_not_exceed(values: list[float], hundredths: int) -> None:
    share = hundredths / 100
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


def test_pauses_are_shown_by_kind_and_for_all() -> None:
    lines = list(pauses([survived("wipe", 3.0), survived("kill-worker", 1.0), survived("kill-worker", 2.0)]))

    assert [line.split()[:4] for line in lines] == [
        ["kill-worker", "2", "p50", "1.000"],
        ["wipe", "1", "p50", "3.000"],
        ["all", "3", "p50", "2.000"],
    ]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_fixes_the_schedule_and_every_fault_gets_its_share(name: str) -> None:
    shares = SCENARIOS[name].shares
    length = sum(shares.values())

    drawn = [list(islice(schedule(shares, Random(7)), 3 * length)) for _ in range(2)]

    assert drawn[0] == drawn[1]
    for start in range(0, 3 * length, length):
        round_ = drawn[0][start : start + length]
        assert {fault: round_.count(fault) for fault in round_} == shares


def test_faults_that_a_small_cluster_can_not_take_are_left_out() -> None:
    fitting = SCENARIOS["mixed"].fitting(1, 0)

    assert not set(fitting) & set(NEEDS)
    assert "kill-worker" in fitting
    assert "wipe" not in SCENARIOS["mixed"].fitting(3, 0)
    assert SCENARIOS["mixed"].fitting(3, 1) == SCENARIOS["mixed"].shares
