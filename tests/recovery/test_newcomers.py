"""When a worker that has come joins: changes alone must not keep the cluster from work, nor may it lack backups for long."""

from __future__ import annotations

from holdfast.recovery import events
from holdfast.recovery.coordinator import State
from holdfast.recovery.generation import ROUND_BITS
from holdfast.recovery.messages import Run
from tests.recovery.desk import CONFIG, Desk, drawn, memory, working

NUMBER = 1 << ROUND_BITS | 1


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


def joined() -> Desk:
    """c has joined a and b, which had completed a checkpoint of epoch 9 before."""
    desk = working()
    desk.pass_time(CONFIG.checkpoint_ms)
    desk.run("a", "b", changed=True)
    desk.run("a", "b", prepared=NUMBER, prepared_at=9)
    desk.store()
    desk.hear("c")
    desk.pass_time(CONFIG.join_ms)
    desk.store()
    for node in "ab":
        desk.report(node, report=memory(1, sealed=9))
    desk.report("c")
    desk.store()
    desk.run("a", "b", "c", caught_up=False)
    return desk


def test_who_came_after_a_checkpoint_is_not_told_to_complete_it() -> None:
    """It never will, and the end would wait for it."""
    desk = joined()

    assert [desk.body(node) for node in "abc"] == [Run(2, complete=NUMBER), Run(2, complete=NUMBER), Run(2)]


def test_there_is_no_end_while_a_checkpoint_is_made_though_the_one_before_has_everything() -> None:
    """Somebody may have opened an epoch to carry it."""
    desk = joined()
    following = 2 << ROUND_BITS | 1
    desk.run("a", "b", "c")
    assert desk.body("a") == Run(2, checkpoint=following, complete=NUMBER)

    desk.give(events.StopAsked(desk.now))
    desk.run("a", "b", "c", resting=True)

    assert desk.body("a") == Run(2, stopping=True, checkpoint=following, complete=NUMBER)
