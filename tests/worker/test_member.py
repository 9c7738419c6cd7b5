"""A member's phases: what it promises, whom it hears, what it returns to and what it tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import holdfast as hf
from holdfast.core.epochs import Chunk, Cursor, LogEntry
from holdfast.core.values import encode
from holdfast.recovery.generation import Checkpoint
from holdfast.recovery.messages import Announce, Ask, Order, Phase, Restart, Run
from holdfast.replication.messages import Beat, ImagesHeld, LogCopied, LogHeld, Snapshot, Tokens, UpdateSet
from holdfast.replication.progress import Progress
from holdfast.worker import cluster_effects as cdo
from holdfast.worker import cluster_events as chas
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker import member as machine
from holdfast.worker.member_record import MemberRecord
from tests.worker.member_bench import NOTHING, Bench, formation, opened

PATIENCE_MS = machine.PATIENCE_MS


def kinds(orders: list[Any]) -> list[type]:
    return [type(order) for order in orders if not isinstance(order, cdo.SendStatus | cdo.SendPeer)]


def ring(message: str, state: list[str], ctx: hf.Context) -> None:
    ctx.set_timer(ctx.time + 50)


def at_work(bench: Bench, number: int = 1, **more: Any) -> Bench:
    bench.fence(number)
    bench.adopt(formation(number, **more))
    return bench


# --- promises


def test_a_member_that_just_started_reports_at_once_when_asked() -> None:
    bench = Bench()
    assert bench.status().phase is Phase.JOIN

    assert kinds(bench.order(Ask(3))) == []

    assert (bench.status().phase, bench.status().promised) == (Phase.FENCED, 3)
    assert bench.status().report is not None


def test_a_member_at_work_reports_only_once_its_writers_are_idle() -> None:
    bench = at_work(Bench())

    assert kinds(bench.order(Ask(2))) == [cdo.Quiesce]
    assert bench.status().report is None
    assert kinds(bench.order(Ask(3))) == []
    assert bench.status().report is None
    bench.hear(chas.Quiet(0, NOTHING))
    report = bench.status().report
    assert report is not None
    assert report.promise == 3


def test_a_promise_is_not_taken_back() -> None:
    bench = Bench()
    bench.order(Ask(5))

    bench.order(Ask(4))
    assert bench.status().promised == 5
    assert kinds(bench.order(Announce(formation(4)))) == []
    assert bench.status().phase is Phase.FENCED


def test_who_has_promised_takes_nothing_of_the_generation_before_and_says_nothing_in_it() -> None:
    bench = at_work(Bench(), nodes=("b", "a"), sink="b")
    entry = LogEntry(1, 1, 0, Chunk(0, 0, 1, 0, None, False, b"\n"))
    assert kinds(bench.peer("b", LogCopied(0, 0, (entry,)))) == [cdo.AppendEntries]
    bench.order(Ask(2))

    orders = bench.peer("b", LogCopied(0, 1, (replace(entry, epoch=2),)), generation=1)
    orders += bench.hear(chas.EntriesSynced(0, 1))
    orders += bench.tick()

    assert kinds(orders) == []
    assert bench.messages(orders) == []


def test_orders_for_another_life_and_old_orders_are_ignored() -> None:
    bench = Bench()
    bench.order(Ask(2), incarnation=7)
    assert bench.status().promised == 0
    bench.number = 10
    bench.order(Ask(2))

    bench.hear(chas.Ordered(0, Order(1, 5, Restart())))

    assert not bench.member.finished
    assert bench.status().heard == 11


def test_an_order_that_comes_again_is_answered_again_because_the_answer_may_be_lost() -> None:
    bench = Bench()
    bench.order(Ask(2))
    before = bench.status()

    orders = bench.hear(chas.Ordered(0, Order(1, bench.number, Ask(2))))

    assert [type(order) for order in orders] == [cdo.SendStatus]
    assert bench.status() == replace(before, number=bench.status().number)
    assert bench.status().number > before.number


def test_what_has_not_changed_is_not_told_again() -> None:
    bench = Bench()
    bench.order(Ask(2))

    assert bench.tick() == []


# --- generations


def test_nothing_is_done_in_a_generation_before_it_is_on_the_disk() -> None:
    bench = Bench()
    bench.fence(1)

    assert kinds(bench.order(Announce(formation(1)))) == [cdo.AdoptFormation]
    assert bench.status().phase is Phase.ADOPT
    assert kinds(bench.hear(chas.Adopted(0, 1))) == [do.OpenSink, cdo.ReadCursor]
    assert bench.status().phase is Phase.RUN


def test_a_member_that_is_not_named_starts_as_a_new_incarnation() -> None:
    bench = Bench()
    bench.fence(1)

    assert kinds(bench.order(Announce(formation(1, nodes=("b", "c"), sink="b")))) == [cdo.Restart]
    assert bench.tick() == []


def test_a_member_named_in_an_earlier_life_starts_again() -> None:
    bench = Bench()
    bench.fence(1)
    other = formation(1)
    other = replace(other, members=tuple(replace(member, incarnation=9) for member in other.members))

    assert kinds(bench.order(Announce(other))) == [cdo.Restart]


def test_a_generation_is_not_taken_before_the_writers_are_idle() -> None:
    bench = at_work(Bench())
    bench.order(Ask(2))

    assert kinds(bench.order(Announce(formation(2)))) == []
    bench.hear(chas.Quiet(0, NOTHING))
    assert kinds(bench.order(Announce(formation(2)))) == [cdo.AdoptFormation]


def test_messages_of_members_that_are_ahead_are_kept_until_the_generation_is_adopted() -> None:
    bench = Bench()
    bench.fence(2)
    bench.peer("b", Tokens(0, 0, ()), generation=2)
    bench.peer("b", LogHeld(0, 0), generation=2)
    bench.hear(chas.Ordered(0, Order(1, 9, Announce(formation(2)))))
    bench.hear(chas.Adopted(0, 2))

    running = bench.member.running
    assert running is not None
    assert running.links.peers["b"].received == 2
    assert running.links.lost == ()


def test_messages_of_generations_before_the_promise_are_not_kept() -> None:
    bench = Bench()
    bench.fence(3)
    bench.peer("b", Beat(), generation=2)

    assert bench.member.early == []


@pytest.mark.parametrize(
    ("limit", "message"), [("EARLY_MAX", Beat()), ("EARLY_BYTES_MAX", UpdateSet(1, (b"chunk",)))]
)
def test_early_messages_beyond_what_can_be_kept_break_the_link(
    monkeypatch: pytest.MonkeyPatch, limit: str, message: Beat | UpdateSet
) -> None:
    monkeypatch.setattr(machine, limit, 1)
    bench = Bench()
    bench.fence(2)
    for _ in range(2):
        bench.peer("b", message, generation=2)
    assert len(bench.member.early) == 1
    bench.member.early = [replace(early, message=Beat()) for early in bench.member.early]
    bench.hear(chas.Ordered(0, Order(1, 9, Announce(formation(2)))))
    bench.hear(chas.Adopted(0, 2))

    bench.peer("b", Beat(), generation=2)
    bench.hear(has.Ticked(0))

    assert bench.status().lost == ("b",)


def test_the_first_partitions_owner_wants_to_hear_the_time_when_a_timer_is_due() -> None:
    bench = at_work(Bench())
    assert bench.member.running is not None
    own = bench.member.running.logs.own
    assert 0 in own
    alarms = [bench.member.alarm]

    bench.member.running.dues |= {"a": 70, "b": 50}
    alarms.append(bench.member.alarm)
    del own[0]
    alarms.append(bench.member.alarm)

    assert alarms == [None, 50, None]


def test_a_due_timer_opens_an_epoch_only_for_who_has_heard_that_sources_go_on() -> None:
    app = hf.Application("live")
    app.source(hf.sources.Generator(lambda: iter(()))).key_by(str).stateful(ring, state=list).sink(hf.sinks.Memory())
    bench = at_work(Bench(app, backups=0), nodes=("a",))
    running = bench.member.running
    assert running is not None
    bench.answer_cursors()
    running.dues["b"] = 5
    bench.now = 9
    closed = []
    for told in (None, Run(1, stopping=True), Run(1)):
        if told is not None:
            bench.order(told)
        bench.tick()
        closed.append(running.flow.closed)

    assert closed == [0, 0, 1]


def test_no_cut_is_asked_for_while_one_is_coming() -> None:
    bench = at_work(Bench())
    running = bench.member.running
    assert running is not None
    running.changed_since_cut, running.now = True, running.cut_due
    assert running._opening().cut
    exchange = running.flow._exchange(running.flow.applied + 1)
    exchange.openings["b"] = running._opening()
    assert not running._opening().cut

    running.flow.applied += 1

    assert running._opening().cut


def test_what_others_wait_for_leaves_before_a_commit_of_the_own() -> None:
    bench = at_work(Bench())
    assert bench.member.running is not None
    bench.member.running._send("b", Beat())

    orders = bench.hear(has.Ticked(0))

    sends = [isinstance(order, cdo.SendPeer) for order in orders]
    assert sends == sorted(sends, reverse=True)
    assert any(sends)


def test_a_lost_connection_is_told() -> None:
    bench = at_work(Bench())

    bench.hear(chas.LinkLost(0, "b"))
    bench.hear(has.Ticked(0))

    assert bench.status().lost == ("b",)


# --- what it returns to


def worked(bench: Bench, cut: int) -> Bench:
    """A member that has made a cut of its own in generation 1, of everything, alone."""
    at_work(bench, nodes=("a",))
    running = bench.member.running
    assert running is not None
    running.holding.books["count"].make("x").state.append(1)
    running.holding.cut(cut)
    running.cuts.make(cut, 0)
    running.cuts.note(cut, 0, (5, 5))
    return bench


def test_what_was_remembered_is_returned_to() -> None:
    bench = worked(Bench(), 3)
    bench.fence(2)
    report = bench.status().report
    assert report is not None
    assert report.memory[0].top == 3

    orders = bench.adopt(formation(2, nodes=("a",), cut=3, in_memory=True))

    assert bench.member.holding is not None
    assert bench.member.holding.books["count"].in_memory == 1
    assert [(order.sink, order.number) for order in orders if isinstance(order, do.OpenSink)] == [(0, 5)]


def test_the_memory_of_a_member_that_was_away_is_of_another_past() -> None:
    """It missed generation 2, in which a cut of the same number was made, with another content."""
    bench = worked(Bench(), 3)
    bench.fence(3)
    told = formation(3, nodes=("b", "a"), cut=3, since={"a": 3}, in_memory=True, lacking=(("a", (0, 1)),), sink="b")

    bench.adopt(told)

    assert bench.status().phase is Phase.RUN
    assert bench.member.holding is not None
    assert bench.member.holding.books["count"].in_memory == 0
    assert bench.member.holding.chunks_upto(9) == ()
    assert bench.member.tokens == {}


def test_memory_that_does_not_reach_back_to_the_cut_is_forgotten() -> None:
    """It was named in generation 2, which went back to the start, and which ended before it got there."""
    bench = worked(Bench(), 3)
    running = bench.member.running
    assert running is not None
    assert running.cuts.seal(Progress(("a",), 3), None)  # the cut at which the generation began is forgotten
    running.holding.sealed(3)
    bench.fence(2)
    bench.order(Announce(formation(2, nodes=("b", "a"), sink="b")))
    bench.fence(3)
    told = formation(3, nodes=("b", "a"), in_memory=True, lacking=(("a", (0, 1)),), sink="b")

    bench.adopt(told)

    assert bench.status().phase is Phase.RUN
    assert bench.member.holding is not None
    assert bench.member.holding.books["count"].in_memory == 0


def test_a_sink_that_has_moved_is_opened_when_it_is_known_where_it_stood() -> None:
    bench = Bench()
    bench.fence(4)
    orders = bench.adopt(
        formation(4, nodes=("b", "a"), cut=3, since={"a": 4}, in_memory=True, lacking=(("a", (0, 1)),))
    )
    assert opened(orders) == []

    orders = bench.peer("b", Tokens(3, 77, ((0, 12, encode("token", bench.registry)),)))

    assert [order for order in orders if isinstance(order, do.OpenSink)] == [do.OpenSink(0, "token", 12, synced=False)]
    assert bench.member.running is not None
    assert bench.member.running.stages.time == 77


def test_a_sink_that_lost_its_output_at_a_cut_in_memory_is_told_and_nothing_is_worked_on() -> None:
    bench = worked(Bench(), 3)
    bench.fence(2)
    orders = bench.adopt(formation(2, nodes=("a",), cut=3, in_memory=True))
    assert [order.synced for order in orders if isinstance(order, do.OpenSink)] == [False]
    assert not bench.status().output_lost

    bench.hear(chas.OutputLost(0, 0))
    orders = bench.answer_cursors()
    orders += bench.tick()

    assert bench.status().output_lost
    assert do.ReadSource not in kinds(orders)


def test_what_a_sink_has_at_a_checkpoint_is_called_synced() -> None:
    orders = at_work(Bench(), nodes=("a",)).done

    assert [order.synced for order in orders if isinstance(order, do.OpenSink)] == [True]


def test_every_member_says_where_all_sinks_stood_before_anything_else() -> None:
    bench = Bench()
    bench.fence(1)

    told = bench.messages(bench.adopt(formation(1, nodes=("a", "b"), lacking=(("b", (0, 1)),), sink="b")), "b")

    assert told[0] == Tokens(0, 0, ((0, 0, encode(None, bench.registry)),))
    assert isinstance(told[1], Snapshot), "who has the images may be the only one left"


def test_a_prepared_checkpoint_that_counts_by_now_is_completed_before_the_return() -> None:
    record = MemberRecord(8, 5, None, 0, 1, False, (0, 1), 0, 0)
    bench = Bench(found=replace(NOTHING, adopted=1, prepared=(8, record.pack())))
    bench.fence(2)
    report = bench.status().report
    assert report is not None
    assert report.prepared == record.on_disk
    checkpoint = Checkpoint(8, 5, None, (("a", (0, 1)),))
    bench.order(Announce(formation(2, cut=5, checkpoint=checkpoint)))

    assert kinds(bench.hear(chas.Adopted(0, 2))) == [do.CompleteCheckpoint]
    assert kinds(bench.hear(has.CheckpointCompleted(0, 8))) == [do.ReadChunks]


def test_a_prepared_checkpoint_that_never_counted_is_not_completed() -> None:
    record = MemberRecord(8, 5, None, 0, 1, False, (0, 1), 0, 0)
    bench = Bench(found=replace(NOTHING, adopted=1, prepared=(8, record.pack())))
    bench.fence(2)

    assert do.CompleteCheckpoint not in kinds(bench.adopt(formation(2)))


def test_a_snapshot_is_held_before_the_update_sets_that_follow_it() -> None:
    bench = Bench()
    bench.fence(1)
    bench.adopt(formation(1, nodes=("b", "a"), lacking=(("a", (0, 1)),), sink="b"))

    first = bench.messages(bench.peer("b", Snapshot((0, 1), (), last=True)))
    second = bench.messages(bench.peer("b", UpdateSet(1, ())))

    assert [getattr(message, "cut", None) for message in (*first, *second)] == [0, 1]


def test_a_snapshot_is_held_once_its_last_part_is_here() -> None:
    bench = Bench()
    bench.fence(1)
    bench.adopt(formation(1, nodes=("b", "a"), lacking=(("a", (0, 1)),), sink="b"))

    assert ImagesHeld(0) not in bench.messages(bench.peer("b", Snapshot((0, 1), (), last=False)))
    assert ImagesHeld(0) in bench.messages(bench.peer("b", Snapshot((0, 1), (), last=True)))


def test_a_log_that_is_held_for_another_begins_with_what_is_kept_of_it() -> None:
    bench = Bench()
    bench.fence(1)

    told = bench.messages(bench.adopt(formation(1, nodes=("b", "a"), sink="b")), "b")

    assert LogHeld(0, 0) in told


# --- the end


def test_finishing_is_told_and_nothing_follows() -> None:
    bench = at_work(Bench())

    orders = bench.order(Run(1, finish=True))

    assert [order for order in orders if isinstance(order, do.Finish)] == [do.Finish(None, ended=True)]
    assert bench.status().phase is Phase.OVER
    assert bench.tick() == []


def test_a_stop_ends_without_having_ended() -> None:
    bench = at_work(Bench())

    orders = bench.order(Run(1, stopping=True, finish=True))

    assert [order.ended for order in orders if isinstance(order, do.Finish)] == [False]


def test_a_member_that_always_has_work_tells_how_far_it_has_got_nevertheless() -> None:
    bench = at_work(Bench())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.member.running), "has_work", property(lambda self: True))
        patch.setattr(type(bench.member.running), "_work", lambda self: [])
        bench.now = 10_000
        bench.tick()
        bench.now = 10  # the clock is set back
        bench.hear(chas.LinkLost(10, "b"))

        for _ in range(PATIENCE_MS + 1):
            bench.tick()

        assert bench.status().lost == ("b",)


def test_orders_of_another_generation_change_nothing() -> None:
    bench = at_work(Bench())

    bench.order(Run(2, stopping=True))

    assert bench.member.running is not None
    assert not bench.member.running.run.stopping


def test_what_lies_between_the_checkpoint_and_the_cut_counts_as_changed() -> None:
    bench = worked(Bench(), 3)
    bench.fence(2)
    bench.adopt(formation(2, nodes=("a",), cut=3, in_memory=True))
    assert bench.status().changed

    fresh = at_work(Bench())
    assert not fresh.status().changed


def test_an_ended_partition_is_told_once_its_cursor_is_known() -> None:
    bench = at_work(Bench(), nodes=("a",))
    assert not bench.status().ended
    bench.answer_cursors(Cursor(0, 3, None, True, 0))
    bench.hear(has.Ticked(0))
    assert bench.status().ended
