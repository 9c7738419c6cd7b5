"""When a worker that has come joins: changes alone must not keep the cluster from work, nor may it lack backups for long."""

from __future__ import annotations

from holdfast.recovery.coordinator import State
from tests.recovery.desk import CONFIG, drawn, working


def test_a_newcomer_joins_once_the_generation_has_sealed_something() -> None:
    desk = working()
    desk.run("a", "b", sealed=0, closed=1)
    desk.hear("c")
    desk.pass_time(CONFIG.join_ms)
    assert desk.coordinator.state is State.RUN

    desk.run("a", "b")
    assert drawn(desk) == "node c is to join"


def test_a_newcomer_joins_a_generation_that_gets_no_input() -> None:
    desk = working()
    desk.run("a", "b", sealed=0, closed=0)
    desk.hear("c")
    desk.pass_time(CONFIG.join_ms)

    assert drawn(desk) == "node c is to join"


def test_a_newcomer_waits_until_those_who_came_before_have_what_they_are_to_hold() -> None:
    desk = working()
    desk.run("a", "b", caught_up=False)
    desk.hear("c")
    desk.pass_time(CONFIG.join_ms)
    assert desk.coordinator.state is State.RUN

    desk.run("a", "b")
    assert drawn(desk) == "node c is to join"
