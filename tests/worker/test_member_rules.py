"""Rules of one member that others stand behind in a whole cluster; each of them holds by itself."""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.values import encode
from holdfast.recovery.generation import Checkpoint, Holders, Limit
from holdfast.recovery.messages import Announce, Ask, Phase, Run
from holdfast.replication.messages import ImagesHeld, Snapshot, Tokens, UpdateSet
from holdfast.worker import cluster_effects as cdo
from holdfast.worker import cluster_events as chas
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.member_record import MemberRecord
from tests.worker.member_bench import NOTHING, Bench, formation, opened
from tests.worker.test_holding import touched
from tests.worker.test_member import at_work, kinds, worked


def test_a_generation_that_is_adopted_late_is_not_the_one_that_is_being_adopted() -> None:
    bench = Bench()
    bench.fence(1)
    bench.order(Announce(formation(1)))
    bench.order(Ask(2))
    bench.hear(chas.Quiet(0, NOTHING))
    bench.order(Announce(formation(2)))

    bench.hear(chas.Adopted(0, 1))
    assert bench.status().phase is Phase.ADOPT
    bench.hear(chas.Adopted(0, 2))
    assert bench.status().phase is Phase.RUN


def test_a_sink_whose_place_is_known_is_not_opened_again_when_others_tell_it() -> None:
    bench = at_work(Bench())
    assert opened(bench.done) == [0]

    orders = bench.peer("b", Tokens(0, 0, ((0, 0, encode(None, bench.registry)),)))

    assert opened(orders) == []


def test_what_a_checkpoint_has_that_counts_by_now_is_not_written_with_the_next() -> None:
    bench = worked(Bench(), 3)
    assert bench.member.holding is not None
    touched(bench.member.holding.books["count"], "y").state.append(1)
    bench.member.holding.cut(4)
    assert bench.member.holding.chunks_upto(4) != ()
    record = MemberRecord(8, 4, None, 0, 1, False, (0, 1), 0, 0)
    bench.fence(2, replace(NOTHING, adopted=1, prepared=(8, record.pack())))
    checkpoint = Checkpoint(8, 4, None, (("a", (0, 1)),))

    cuts = bench.member.cuts
    assert cuts is not None
    cuts.make(4, 0)
    cuts.note(4, 0, (5, 5))

    orders = bench.adopt(formation(2, nodes=("a",), cut=4, in_memory=True, checkpoint=checkpoint))

    assert do.CompleteCheckpoint in kinds(orders)
    assert bench.member.holding.chunks_upto(4) == ()


def test_no_epoch_carries_a_checkpoint_where_all_ends_inside_one() -> None:
    """It stands at the place where the failing call was met, not at the end of an epoch."""
    bench = at_work(Bench(), nodes=("a",), level=5, logs=((1, 5),), spans=(((1, 5),),), limit=Limit(5, 1, 0, 3))
    bench.order(Run(1, checkpoint=9))
    running = bench.member.running
    assert running is not None

    assert running._opening().checkpoint == 0


def test_nothing_is_skipped_of_an_epoch_whose_beginning_is_in_a_checkpoint_that_was_not_returned_to() -> None:
    bench = worked(Bench(), 3)
    bench.fence(2)
    checkpoint = Checkpoint(8, 2, Limit(4, 1, 0, 1), (("a", (0, 1)),))
    bench.adopt(formation(2, nodes=("a",), cut=3, in_memory=True, checkpoint=checkpoint))
    running = bench.member.running
    assert running is not None

    assert running.stages._fires(4, 0)


def test_an_older_checkpoint_on_the_own_disk_than_the_one_returned_to_is_not_read() -> None:
    """What it lacks of the newer one is sent to it; the older one would stand in its place."""
    record = MemberRecord(7, 3, None, 0, 1, False, (0, 1), 0, 0)
    bench = Bench(found=replace(NOTHING, adopted=1, complete=(7, record.pack())))
    bench.fence(2)
    checkpoint = Checkpoint(8, 5, None, (("b", (0, 1)),))
    told = formation(2, nodes=("b", "a"), cut=5, checkpoint=checkpoint, lacking=(("a", (0, 1)),), sink="b")

    orders = bench.adopt(told)

    assert do.ReadChunks not in kinds(orders)
    assert bench.status().phase is Phase.RUN


def test_a_cut_is_held_once_the_last_part_of_its_update_set_is_here() -> None:
    bench = at_work(Bench(), nodes=("b", "a"), sink="b")

    assert ImagesHeld(1) not in bench.messages(bench.peer("b", UpdateSet(1, (), last=False)))
    assert ImagesHeld(1) in bench.messages(bench.peer("b", UpdateSet(1, (), last=True)))


def test_what_is_asked_again_with_the_number_of_the_generation_at_work_changes_nothing() -> None:
    bench = at_work(Bench(), 2)

    assert kinds(bench.order(Ask(2))) == []
    assert bench.status().phase is Phase.RUN


def test_the_last_turn_before_the_cut_was_when_any_member_says_that_it_was() -> None:
    bench = Bench()
    bench.fence(4)
    bench.adopt(
        formation(4, nodes=("b", "a", "c"), cut=3, since={"a": 4}, in_memory=True, lacking=(("a", (0, 1)),), sink="b")
    )
    for node, time in (("b", 77), ("c", 5)):
        bench.peer(node, Tokens(3, time, ()))

    assert bench.member.running is not None
    assert (bench.member.running.stages.time, bench.member.running.cuts.times) == (77, {3: 77})


def test_a_snapshot_is_of_the_own_ranges_alone() -> None:
    told = formation(1, nodes=("a", "b", "c"), lacking=(("c", (0, 1)),))
    ranges = (Holders("a", ("c",)), Holders("b", ("c",)))
    bench = Bench()
    bench.fence(1)

    orders = bench.adopt(replace(told, layout=replace(told.layout, ranges=ranges)))

    assert [own.ranges for own in bench.messages(orders, "c") if isinstance(own, Snapshot)] == [(0,)]


def test_the_checkpoint_at_a_limit_is_begun_when_the_epoch_is_applied_up_to_it() -> None:
    bench = at_work(Bench(), nodes=("a",), level=1, logs=((1, 1),), spans=(((1, 1),),), limit=Limit(1, 1, 0, 3))

    bench.order(Run(1, checkpoint=9))

    assert bench.member.running is not None
    assert bench.member.running.staging.pending is None


def test_what_was_said_is_said_again_on_a_new_line() -> None:
    bench = Bench()
    assert bench.tick() == []
    before = bench.status()

    bench.hear(chas.LineMade(0))

    assert bench.status().number > before.number
    assert replace(bench.status(), number=before.number) == before


def test_what_is_found_on_the_disk_once_a_generation_is_being_adopted_comes_too_late() -> None:
    record = MemberRecord(8, 5, None, 0, 1, False, (0, 1), 0, 0)
    bench = Bench(found=replace(NOTHING, adopted=1, prepared=(8, record.pack())))
    bench.fence(2)
    bench.order(Announce(formation(2, cut=5, checkpoint=Checkpoint(8, 5, None, (("a", (0, 1)),)))))

    bench.hear(chas.Quiet(0, NOTHING))

    assert kinds(bench.hear(chas.Adopted(0, 2))) == [do.CompleteCheckpoint]


def test_the_end_is_told_before_the_process_ends() -> None:
    bench = at_work(Bench())

    orders = bench.order(Run(1, finish=True))

    assert [type(order) for order in orders] == [cdo.SendStatus, do.Finish]


def test_logs_of_all_partitions_held_are_trimmed_up_to_the_checkpoint_and_no_further() -> None:
    bench = at_work(Bench(), nodes=("b", "a"), sink="b")
    running = bench.member.running
    assert running is not None
    running.staging.begin(8, 4, 0, None)
    running.staging.sealed({}, 0, generation=1, ended=False)

    orders = bench.hear(has.CheckpointCompleted(0, 8))

    assert [order for order in orders if isinstance(order, cdo.TrimEntries)] == [cdo.TrimEntries(4, (0,))]
