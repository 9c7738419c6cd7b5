"""When a worker that has come joins: changes alone must not keep the cluster from work, nor may it lack backups for long."""

from __future__ import annotations

from holdfast.recovery.coordinator import State
from holdfast.recovery.generation import ROUND_BITS
from holdfast.recovery.messages import Run
from tests.recovery.desk import CONFIG, drawn, memory, working


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


def test_who_came_after_a_checkpoint_is_not_told_to_complete_it() -> None:
    """It never will, and the end would wait for it."""
    desk = working()
    desk.pass_time(CONFIG.checkpoint_ms)
    desk.run("a", "b", changed=True)
    number = 1 << ROUND_BITS | 1
    desk.run("a", "b", prepared=number, prepared_at=7)
    desk.store()
    desk.hear("c")
    desk.pass_time(CONFIG.join_ms)
    desk.store()
    for node in "ab":
        desk.report(node, report=memory(1, sealed=7))
    desk.report("c")
    desk.store()
    desk.run("a", "b", "c", caught_up=False)

    assert [desk.body(node) for node in "abc"] == [Run(2, complete=number), Run(2, complete=number), Run(2)]
