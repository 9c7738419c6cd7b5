"""The coordinator, one situation at a time; workers say exactly what the situation needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.core.epochs import Cursor, Lineage
from holdfast.recovery import effects, events
from holdfast.recovery.coordinator import State
from holdfast.recovery.description import describe, describe_range
from holdfast.recovery.generation import ROUND_BITS, Limit
from holdfast.recovery.messages import Announce, Ask, Failure, Phase, Restart, Run
from tests.recovery.desk import ALL, CONFIG, WELL, Desk, drawn, memory, working

# --- numbers and records


def test_a_number_is_durable_before_it_is_asked_with_and_a_formation_before_it_is_announced() -> None:
    desk = Desk()
    desk.hear("a")
    assert desk.waiting == "1 of 2 workers are there: waiting for the others"

    desk.hear("b")
    assert (desk.waiting, desk.body("a")) == ("", None)
    desk.store()
    assert desk.body("a") == desk.body("b") == Ask(1)

    desk.report("a")
    assert not desk.stores
    desk.report("b")
    assert desk.body("a") == Ask(1)
    desk.store()
    assert desk.body("a") == Announce(desk.kept.formation)  # type: ignore[arg-type]


def test_nothing_is_decided_while_a_write_is_under_way() -> None:
    desk = Desk()
    for node in "ab":
        desk.hear(node)
    desk.give(events.WorkerLost(0, "b"))
    desk.pass_time(10_000)

    assert len(desk.stores) == 1


def test_a_number_that_somebody_has_promised_already_is_not_used() -> None:
    desk = Desk()
    desk.hear("a")
    desk.hear("b", phase=Phase.FENCED, promised=7)
    desk.store()

    assert desk.body("a") == Ask(8)


def test_an_order_that_was_not_heard_is_said_again_unchanged() -> None:
    desk = Desk()
    for node in "ab":
        desk.hear(node)
    desk.store()
    first = desk.said.pop("a")
    desk.pass_time(20)
    assert desk.said.pop("a") == first

    desk.hear("a", heard=first.number)
    desk.pass_time(20)
    assert "a" not in desk.said


def test_a_status_that_is_older_than_another_changes_nothing() -> None:
    desk = working()
    desk.hear("a", phase=Phase.RUN, generation=1, promised=1, number=1, lost=("b",))

    assert desk.coordinator.state is State.RUN


# --- collecting


def test_a_living_worker_that_does_not_report_is_waited_for_only_so_long() -> None:
    desk = working()
    desk.run("a", lost=("b",))
    desk.store()
    desk.report("a", report=memory(1))
    desk.pass_time(CONFIG.collect_ms - 1)
    assert not desk.stores

    desk.pass_time(1)
    desk.store()
    assert desk.kept.formation is not None
    assert [own.node for own in desk.kept.formation.members] == ["a"]


def test_whoever_comes_while_nothing_can_be_decided_is_asked_with_the_same_number() -> None:
    desk = working()
    desk.hear("a", 2)
    desk.give(events.WorkerLost(0, "b"))
    desk.store()
    desk.report("a", 2)
    desk.pass_time(CONFIG.waiting_ms)
    desk.store()
    desk.run("a", incarnation=2)
    desk.give(events.WorkerLost(0, "a"))
    desk.hear("b", 2)
    desk.store()
    desk.report("b", 2)
    desk.pass_time(CONFIG.waiting_ms)
    assert desk.waiting == "the log of source partition 0 has no living holder: waiting for node a"

    desk.hear("a", 3)
    assert desk.body("a") == Ask(3)
    desk.report("a", 3)
    assert desk.waiting == ""
    assert desk.stores


# --- starts


def test_a_coordinator_that_comes_back_goes_on_with_the_recorded_generation() -> None:
    before = working()
    desk = Desk(kept=replace(before.kept, life=2))
    desk.kept = before.kept
    desk.run("a")
    assert desk.body("a") is None
    desk.run("b")
    desk.store()

    assert desk.kept.formation == before.kept.formation
    assert desk.kept.reserved == before.kept.reserved + 1
    assert isinstance(desk.body("a"), Run)


def test_a_coordinator_that_comes_back_to_a_promise_of_more_forms_a_new_generation() -> None:
    before = working()
    desk = Desk(kept=replace(before.kept, life=2))
    desk.kept = before.kept
    desk.run("a")
    desk.hear("b", phase=Phase.FENCED, generation=1, promised=2)

    assert drawn(desk) == "a start, in new lives"
    assert desk.stores[0].kept.drawn == 3


def test_a_start_waits_for_the_recorded_nodes_but_not_for_ever() -> None:
    before = working()
    desk = Desk(kept=replace(before.kept, life=2))
    desk.hear("a", 2)
    assert desk.waiting == "waiting for node b"

    desk.pass_time(CONFIG.waiting_ms)
    assert drawn(desk) == "a start, without node b"


# --- changes


def test_a_lost_a_restarted_and_a_promised_member_lead_to_a_new_generation() -> None:
    desk = working()
    desk.give(events.WorkerLost(0, "a"))
    assert drawn(desk) == "node a is lost"

    desk = working()
    desk.hear("a", 2)
    assert drawn(desk) == "node a has restarted"

    desk = working()
    desk.hear("a", phase=Phase.FENCED, promised=2)
    assert drawn(desk) == "node a has promised itself to a later generation"


def test_a_connection_of_an_earlier_life_that_breaks_late_means_nothing() -> None:
    desk = working()
    desk.give(events.WorkerLost(0, "a", incarnation=7))

    assert desk.coordinator.state is State.RUN


def test_a_broken_link_leads_to_a_generation_of_the_same_members_and_the_third_time_to_one_without_one_of_them() -> (
    None
):
    desk = working()
    for generation in (1, 2):
        desk.run("a", lost=("b",), sealed=0)
        assert drawn(desk) == "node a can't reach node b"
        desk.store()
        for node in "ab":
            desk.report(node, report=memory(generation, sealed=0))
        desk.store()
        desk.run("a", "b", sealed=0)
    desk.run("a", lost=("b",), sealed=0)
    desk.store()
    for node in "ab":
        desk.report(node, report=memory(3, sealed=0))
    desk.store()

    assert desk.kept.formation is not None
    assert [own.node for own in desk.kept.formation.members] == ["a"]
    assert isinstance(desk.body("b"), Restart)


def test_a_link_that_a_member_of_an_earlier_generation_misses_is_history() -> None:
    desk = working()
    desk.hear("a", phase=Phase.RUN, generation=0, promised=1, lost=("b",), **WELL)

    assert desk.coordinator.state is State.RUN


def test_a_stranger_in_an_earlier_generation_is_told_to_start_again() -> None:
    desk = working()
    desk.hear("z", phase=Phase.RUN, generation=0, promised=0)

    assert isinstance(desk.body("z"), Restart)


def test_a_node_is_let_go_when_others_have_in_memory_and_on_disk_what_it_held() -> None:
    desk = working()
    desk.hear("c")
    desk.give(events.LeaveAsked(desk.now, ("a",)))
    desk.pass_time(CONFIG.join_ms)
    desk.store()
    for node in "ab":
        desk.report(node, report=memory(1))
    desk.report("c")
    desk.store()
    desk.run("a", "b", "c", sealed=9, caught_up=False)
    assert desk.body("a") == Run(2)

    desk.run("a", "b", "c", sealed=9)
    number = 2 << ROUND_BITS | 1
    assert desk.body("a") == Run(2, checkpoint=number)
    desk.run("a", "b", "c", sealed=9, prepared=number, prepared_at=8)
    desk.store()
    assert drawn(desk) == "node a is to be relieved" or "got it" in drawn(desk)
    desk.store()
    for node in "abc":
        desk.report(node, report=replace(memory(2, sealed=9), logs=((0, Lineage(2, Cursor(), 9, ((1, 9),))),)))
    desk.store()

    assert desk.kept.formation is not None
    assert [own.node for own in desk.kept.formation.members] == ["b", "c"]
    assert desk.body("a") == Run(0, finish=True)


# --- checkpoints


def test_a_checkpoint_is_ordered_of_all_and_counts_when_the_record_of_it_is_durable() -> None:
    desk = working()
    desk.pass_time(CONFIG.checkpoint_ms)
    desk.run("a", "b", changed=True, caught_up=False)
    assert desk.body("a") == Run(1)  # its log may lack what trimming would hide

    number = 1 << ROUND_BITS | 1
    desk.run("a", "b", changed=True)
    assert desk.body("a") == desk.body("b") == Run(1, checkpoint=number)
    desk.run("a", prepared=number, prepared_at=7)
    assert not desk.stores
    desk.run("b", prepared=number, prepared_at=7)
    assert desk.body("b") == Run(1, checkpoint=number)
    desk.store()

    assert desk.body("a") == desk.body("b") == Run(1, complete=number)
    assert desk.kept.checkpoint is not None
    assert (desk.kept.checkpoint.epoch, dict(desk.kept.checkpoint.holders)) == (7, {"a": ALL, "b": ALL})
    assert desk.kept.reserved == number + 1


def test_a_round_of_an_earlier_life_is_given_up() -> None:
    before = working()
    before.pass_time(CONFIG.checkpoint_ms)
    before.run("a", "b", changed=True)
    desk = Desk(kept=replace(before.kept, life=2))
    desk.kept = before.kept
    desk.run("a", "b", changed=True)
    desk.store()
    desk.pass_time(CONFIG.checkpoint_ms)

    assert desk.body("a") == Run(1, checkpoint=1 << ROUND_BITS | 2)


def test_a_generation_without_numbers_left_for_checkpoints_is_followed_by_another() -> None:
    before = working()
    desk = Desk(kept=replace(before.kept, life=2, reserved=(2 << ROUND_BITS) - 1))
    desk.kept = before.kept
    desk.run("a", "b")
    desk.store()

    assert drawn(desk) == "the generation has no more numbers for checkpoints"


# --- failures


def test_a_step_that_must_work_carefully_does_so_in_the_next_generation() -> None:
    desk = working()
    desk.run("a", careful=(3,))
    desk.form("a", "b", report=memory(1))

    assert desk.kept.formation is not None
    assert desk.kept.formation.careful == (3,)


def test_the_failure_that_comes_first_in_the_order_ends_the_cluster_after_a_checkpoint_before_it() -> None:
    desk = working()
    late, early = Failure(Limit(9, 2, 0, 70), "late"), Failure(Limit(9, 1, -1, 0), "early")
    desk.run("a", failure=late)
    desk.form("a", "b", report=memory(1))
    desk.run("b", failure=early)
    desk.form("a", "b", report=memory(2))
    desk.run("a", failure=late)
    assert desk.coordinator.state is State.RUN
    assert desk.kept.formation is not None
    assert (desk.kept.formation.limit, desk.kept.formation.stop_error) == (early.limit, "early")

    number = 3 << ROUND_BITS | 1
    desk.pass_time(CONFIG.checkpoint_ms)
    desk.run("a", "b", changed=True, applied=8)
    assert desk.body("a") == Run(3)  # nothing but the one checkpoint at the limit
    desk.run("a", "b", resting=True, applied=8)
    assert desk.body("a") == Run(3, checkpoint=number)
    desk.run("a", "b", resting=True, applied=8, prepared=number, prepared_at=8)
    desk.store()
    assert desk.body("a") == Run(3, stopping=True, complete=number)
    desk.run("a", "b", resting=True, applied=8, prepared=number, prepared_at=8, completed=number)
    assert desk.body("a") == Run(3, complete=number, finish=True)
    for node in "ab":
        desk.hear(node, phase=Phase.OVER)

    assert desk.finish == effects.Finish(False, "early")
    assert desk.kept.checkpoint is not None
    assert (desk.kept.checkpoint.limit, desk.kept.checkpoint.ended) == (early.limit, False)


def test_a_worker_that_can_not_go_on_ends_everything() -> None:
    desk = working()
    desk.run("a", fatal="a set is no key")
    assert desk.body("b") == Run(1, finish=True)
    desk.hear("a", phase=Phase.OVER)
    desk.give(events.WorkerLost(0, "b"))

    assert desk.finish == effects.Finish(False, "a set is no key")


def test_what_a_stranger_can_not_go_on_with_is_its_own_affair() -> None:
    desk = working()
    desk.hear("z", phase=Phase.RUN, generation=0, fatal="a set is no key")

    assert desk.coordinator.state is State.RUN


# --- the end


def test_the_end_of_all_sources_is_checkpointed_and_then_told_to_all() -> None:
    desk = working()
    rest: dict[str, Any] = {"resting": True, "ended": True}
    desk.run("a", **rest)
    desk.run("b", **rest, applied=8)
    assert desk.body("a") == Run(1, stopping=True)  # a timer that is due would still open an epoch
    desk.run("a", **rest)
    assert desk.body("a") == Run(1, stopping=True)  # b has not come as far
    desk.run("b", **rest)
    number = 1 << ROUND_BITS | 1
    assert desk.body("a") == Run(1, stopping=True, checkpoint=number)
    desk.run("a", "b", **rest, applied=10, prepared=number, prepared_at=10)
    desk.store()
    desk.run("a", **rest, applied=10, prepared=number, prepared_at=10, completed=number)
    assert desk.body("a") == Run(1, complete=number, finish=True)
    assert desk.body("b") == Run(1, stopping=True, complete=number)  # nor may one at the very end
    desk.hear("a", phase=Phase.OVER)
    assert not desk.coordinator.finished
    desk.give(events.WorkerLost(0, "b"))

    assert desk.finish == effects.Finish(True, None)
    assert desk.kept.checkpoint is not None
    assert desk.kept.checkpoint.ended


def test_nobody_is_told_to_go_on_before_all_know_whether_their_sources_have_ended() -> None:
    desk = working()
    before = desk.said["a"]
    desk.kept = replace(desk.kept, life=2)
    desk = Desk(kept=desk.kept)
    desk.run("a", ended=True)
    desk.run("b", located=False)
    desk.store()
    assert "a" not in desk.said

    desk.run("b", ended=True)
    assert desk.body("a") == Run(1, stopping=True)
    assert before.order == Run(1)


def test_a_start_after_the_end_ends_without_another_checkpoint() -> None:
    before = working()
    rest: dict[str, Any] = {"resting": True, "ended": True}
    before.run("a", "b", **rest)
    before.run("a", "b", **rest)
    number = 1 << ROUND_BITS | 1
    before.run("a", "b", **rest, prepared=number, prepared_at=9)
    before.store()
    desk = Desk(kept=replace(before.kept, life=2))
    desk.kept = before.kept
    desk.run("a", "b", **rest, completed=number)
    desk.store()
    desk.run("a", "b", **rest, completed=number)

    assert desk.body("a") == Run(1, complete=number, finish=True)


def test_a_stop_ends_only_when_all_have_heard_of_it() -> None:
    desk = working()
    desk.give(events.StopAsked(0))
    stop = desk.said["a"]
    assert stop.order == Run(1, stopping=True)
    desk.run("a", resting=True)
    desk.run("b", resting=True, heard=stop.number - 5)
    assert desk.body("a") == Run(1, stopping=True)  # b may yet open an epoch

    desk.run("b", resting=True)
    assert desk.body("a") == Run(1, stopping=True, checkpoint=1 << ROUND_BITS | 1)


def test_a_stop_before_there_is_a_generation_ends_at_once() -> None:
    desk = Desk()
    desk.hear("a")
    desk.give(events.StopAsked(0))
    assert desk.body("a") == Run(0, finish=True, stopping=True)
    desk.hear("a", phase=Phase.OVER)

    assert desk.finish == effects.Finish(False, None)


# --- explaining


def test_why_everything_is_as_it_is_can_be_read() -> None:
    desk = working()
    desk.give(events.WorkerLost(0, "b"))
    desk.store()
    desk.report("a", report=memory(1))
    desk.store()
    told = describe(desk.coordinator)

    assert told["generation"] == {
        "number": 2,
        "why": "node b is lost",
        "cut": 5,
        "from": "memory",
        "replay_to": 9,
        "moving": False,
        "stops_with": None,
    }
    assert told["workers"]["b"]["alive"] is False
    assert told["workers"]["a"]["primary_of"] == "0-3"
    assert [text for _, text in told["events"]][-3:] == [
        "node b is gone",
        "number 2 is drawn: node b is lost",
        "generation 2 of a, cut 5 in memory, replay to 9: node b is lost",
    ]
    assert describe_range(desk.coordinator, 3) == {
        "primary": "a",
        "backups": [],
        "lacking": [],
        "on its way to": None,
        "on disk": [],
        "since": "generation 2: node b is lost",
    }
    assert describe_range(desk.coordinator, 4) == {}


def test_a_node_that_was_let_go_is_not_waited_for() -> None:
    desk = working()
    desk.hear("c", phase=Phase.OVER)
    desk.run("a", lost=("b",))
    desk.store()
    for node in "ab":
        desk.report(node, report=memory(1))

    assert desk.stores


def test_a_worker_that_says_the_same_again_after_it_was_believed_lost_is_there() -> None:
    desk = working()
    desk.run("a", lost=("b",))
    said = desk.coordinator.roster.workers["b"].status
    desk.give(events.WorkerLost(0, "b"))
    desk.store()
    assert desk.body("b") == Run(1)
    desk.give(events.Heard(0, said))

    assert desk.body("b") == Ask(2)
