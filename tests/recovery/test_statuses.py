"""Statuses: which of them count, of lives and generations that are over, of different moments, of unknown promises."""

from __future__ import annotations

from dataclasses import replace

from holdfast.recovery import events
from holdfast.recovery.generation import ROUND_BITS, Checkpoint
from holdfast.recovery.messages import Ask, Phase, Run
from tests.recovery.desk import ALL, CONFIG, WELL, Desk, memory, working


def test_a_status_of_an_earlier_life_that_comes_late_changes_nothing() -> None:
    desk = Desk()
    desk.hear("a", 2)

    desk.hear("a", 1, number=9)

    assert desk.coordinator.roster.workers["a"].status.incarnation == 2


def test_who_still_works_in_an_older_generation_is_not_at_work() -> None:
    desk = working()
    desk.run("a", lost=("b",))
    desk.store()
    for node in "ab":
        desk.report(node, report=memory(1))
    desk.store()
    record = desk.kept.formation
    assert record is not None

    for node in "ab":
        desk.hear(node, phase=Phase.RUN, generation=1, promised=1, **WELL)
    assert desk.coordinator.roster.running(record) is None

    desk.run("a", "b")
    assert desk.coordinator.roster.running(record) is not None


def test_members_that_rest_at_different_epochs_are_not_at_rest() -> None:
    """What one of them said is from before it had the other's last epoch."""
    desk = working()
    desk.give(events.StopAsked(0))
    desk.run("a", resting=True, applied=9)
    desk.run("b", resting=True, applied=8)
    assert desk.body("a") == Run(1, stopping=True)

    desk.run("b", resting=True, applied=9)
    assert desk.body("a") == Run(1, stopping=True, checkpoint=1 << ROUND_BITS | 1)


def test_who_comes_with_a_promise_above_the_number_drawn_is_asked_with_one_above_that() -> None:
    desk = Desk()
    for node in "ab":
        desk.hear(node)
    desk.store()
    assert desk.body("a") == Ask(1)

    desk.hear("c", phase=Phase.FENCED, promised=7)
    desk.store()

    assert [desk.body(node) for node in "abc"] == [Ask(8)] * 3


def test_a_stop_ends_a_worker_that_waits_for_others_although_it_has_not_completed_the_last_checkpoint() -> None:
    """It can't, outside of any generation."""
    before = working()
    checkpoint = Checkpoint(1 << ROUND_BITS | 1, 5, None, (("a", ALL), ("b", ALL)))
    desk = Desk(kept=replace(before.kept, life=2, checkpoint=checkpoint))
    desk.hear("a", 2)
    desk.pass_time(CONFIG.waiting_ms)
    desk.store()
    desk.report("a", 2)
    assert "waiting for node b" in desk.waiting

    desk.give(events.StopAsked(desk.now))

    order = desk.body("a")
    assert isinstance(order, Run)
    assert order.finish


def test_a_clock_that_is_set_back_takes_no_time_back() -> None:
    desk = working()
    desk.pass_time(CONFIG.checkpoint_ms)
    desk.now = 0

    desk.run("a", "b", changed=True)

    assert desk.body("a") == Run(1, checkpoint=1 << ROUND_BITS | 1)


def test_a_round_ends_with_its_generation() -> None:
    desk = working()
    desk.pass_time(CONFIG.checkpoint_ms)
    desk.run("a", "b", changed=True)
    assert desk.body("a") == Run(1, checkpoint=1 << ROUND_BITS | 1)

    desk.run("a", lost=("b",))
    desk.form("a", "b", report=memory(1))

    assert desk.body("a") == Run(2)
