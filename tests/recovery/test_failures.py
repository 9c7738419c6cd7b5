"""The coordinator, when a call has failed: where to stop is kept as long as it holds, and no longer."""

from __future__ import annotations

from dataclasses import replace

from holdfast.recovery.coordinator import State
from holdfast.recovery.generation import Limit
from holdfast.recovery.messages import Failure
from tests.recovery.desk import Desk, memory, working

FAILURE = Failure(Limit(9, 1, 0, 3), "ValueError")


def test_where_to_stop_outlives_the_coordinator_and_the_generation() -> None:
    before = working()
    before.run("a", failure=FAILURE)
    before.form("a", "b", report=memory(1))
    desk = Desk(kept=replace(before.kept, life=2))
    desk.kept = before.kept
    desk.run("a", "b", applied=8)
    desk.store()

    desk.run("a", applied=8, lost=("b",))
    desk.form("a", "b", report=memory(2))

    assert desk.kept.formation is not None
    assert (desk.kept.formation.limit, desk.kept.formation.stop_error) == (FAILURE.limit, FAILURE.error)


def test_a_failure_in_an_epoch_that_was_not_adopted_leads_to_one_generation_and_not_to_ever_more() -> None:
    desk = working()
    desk.run("a", failure=replace(FAILURE, limit=Limit(10, 1, 0, 3)))
    desk.form("a", "b", report=memory(1))

    assert desk.kept.formation is not None
    assert desk.kept.formation.limit is None
    assert desk.coordinator.state is State.RUN


def test_steps_that_must_work_carefully_do_so_in_all_generations_that_follow() -> None:
    desk = working()
    desk.run("a", careful=(3,))
    desk.form("a", "b", report=memory(1))
    desk.run("b", careful=(5,))
    desk.form("a", "b", report=memory(2))
    assert desk.kept.formation is not None
    assert desk.kept.formation.careful == (3, 5)

    again = Desk(kept=replace(desk.kept, life=2))
    again.kept = desk.kept
    again.run("a", "b")
    again.store()
    again.run("a", lost=("b",))
    again.form("a", "b", report=memory(3))

    assert again.kept.formation is not None
    assert again.kept.formation.careful == (3, 5)
