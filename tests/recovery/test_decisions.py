"""Single decisions, each about one rule; what chance finds is in `test_decide`."""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.epochs import Cursor, Lineage
from holdfast.recovery.decide import decide
from holdfast.recovery.generation import ROUND_BITS, Checkpoint, Formation, Limit
from holdfast.recovery.lineages import EMPTY, NOTHING, agreement, cut_off, kept
from holdfast.recovery.messages import Failure, OnDisk, Remembered, Report
from holdfast.recovery.testimony import Reporter, Shape, Wait, Wish

SHAPE = Shape(ranges=4, backups=1, partitions=1, sinks=1, live=True, workers=2)
ALL = (0, 1, 2, 3)
K = Checkpoint(1 << ROUND_BITS | 1, 10, None, (("a", ALL), ("b", ALL)))

Lives = dict[str, Reporter]


def lineage(adopted: int, *spans: tuple[int, int], base: int = 0, ended: bool = False) -> Lineage:
    return Lineage(adopted, Cursor(base), spans[-1][1] if spans else base, spans, ended)


def report(
    promise: int,
    *,
    log: Lineage | None = None,
    memory: tuple[int, int] | None = None,
    remembers: int = 0,
    sealed: int = 0,
    complete: OnDisk | None = None,
    prepared: OnDisk | None = None,
    ranges: tuple[int, ...] = ALL,
) -> Report:
    return Report(
        promise=promise,
        adopted=log.adopted if log else 0,
        sealed=sealed,
        remembers=remembers,
        memory=(Remembered(ranges, *memory),) if memory else (),
        logs=((0, log),) if log else (),
        complete=complete,
        prepared=prepared,
    )


def on_disk(checkpoint: Checkpoint = K) -> OnDisk:
    return OnDisk(checkpoint.number, checkpoint.epoch, checkpoint.limit, ALL)


def formed(
    record: Formation | None, checkpoint: Checkpoint | None, lives: Lives, wish: Wish, shape: Shape = SHAPE
) -> Formation:
    decision = decide(record, checkpoint, lives, shape, wish)
    assert isinstance(decision, Formation), decision
    return decision


def waits(
    record: Formation | None, checkpoint: Checkpoint | None, lives: Lives, wish: Wish, shape: Shape = SHAPE
) -> str:
    decision = decide(record, checkpoint, lives, shape, wish)
    assert isinstance(decision, Wait), decision
    return decision.reason


def first(*nodes: str, shape: Shape = SHAPE) -> Formation:
    """Generation 1, of first lives."""
    return formed(None, None, {node: Reporter(1, report(1)) for node in nodes}, Wish(1), shape)


def working(generation: int, top: int, sealed: int, *, log: Lineage | None = None) -> Report:
    """Of a member that has returned to this generation's cut and worked on from there."""
    return report(
        generation + 1,
        log=log or lineage(generation, (generation, top)),
        memory=(0, top),
        remembers=generation,
        sealed=sealed,
    )


# --- first start


def test_the_first_generation_is_empty_everywhere_and_lacks_nothing() -> None:
    formation = first("a", "b")

    assert (formation.cut, formation.level, formation.in_memory, formation.checkpoint) == (0, 0, False, None)
    assert (formation.lacking, formation.lacking_logs, formation.target) == ((), (), None)
    assert [(own.node, own.since) for own in formation.members] == [("a", 1), ("b", 1)]


def test_the_first_generation_waits_for_the_workers_wanted_of_those_that_stay() -> None:
    lives = {node: Reporter(1, report(1)) for node in "ab"}

    assert "1 of 2 workers" in waits(None, None, lives, Wish(1, leaving=frozenset("b")))


def test_the_number_of_ranges_is_that_of_the_first_start_for_ever() -> None:
    record = first("a", "b")
    lives = {node: Reporter(1, working(1, 5, 5)) for node in "ab"}

    assert len(formed(record, None, lives, Wish(2), replace(SHAPE, ranges=64)).layout.ranges) == 4


# --- the cut


def test_the_cut_is_the_newest_that_any_survivor_knows_to_be_sealed() -> None:
    record = first("a", "b")
    lives = {"a": Reporter(1, working(1, 9, 4)), "b": Reporter(1, working(1, 8, 6))}

    formation = formed(record, None, lives, Wish(2))

    assert (formation.cut, formation.in_memory) == (6, True)


def test_a_restarted_worker_has_nothing_in_memory_and_its_disk_counts() -> None:
    record = replace(first("a", "b"), checkpoint=K)
    lives = {node: Reporter(2, report(2, log=lineage(1, (1, 12)), complete=on_disk())) for node in "ab"}

    formation = formed(record, K, lives, Wish(2))

    assert (formation.cut, formation.in_memory, formation.level) == (10, False, 12)
    assert [own.since for own in formation.members] == [2, 2]


def test_a_checkpoint_counts_on_a_disk_that_has_prepared_it_and_does_not_know_that_it_is_complete() -> None:
    record = first("a", "b")
    lives = {"a": Reporter(2, report(2, log=lineage(1, (1, 12)), prepared=on_disk()))}

    assert formed(record, K, lives, Wish(2)).cut == 10


def test_ranges_without_a_holder_are_waited_for_and_named_with_those_who_have_them() -> None:
    record = first("a", "b")
    checkpoint = replace(K, holders=(("a", (0, 1)), ("b", (2, 3))))
    lives = {"a": Reporter(2, report(2, log=lineage(1, (1, 12)), complete=on_disk()))}

    assert waits(record, checkpoint, lives, Wish(2)) == (
        "nobody here has ranges 2-3 of the last checkpoint: waiting for node b"
    )


def test_a_node_that_the_checkpoint_does_not_name_can_not_offer_it() -> None:
    record = first("a", "b")
    lives = {"c": Reporter(1, report(2, complete=on_disk()))}

    assert "nobody here has ranges 0-3" in waits(record, K, lives, Wish(2))


def test_a_zombie_that_missed_a_generation_is_not_believed_what_it_remembers() -> None:
    record = replace(first("a", "b"), checkpoint=K)
    # Generation 2 went on without b, whose memory is of generation 1, with epochs that were never adopted.
    second = formed(record, K, {"a": Reporter(1, working(1, 14, 12))}, Wish(2))
    zombie = Reporter(
        1, report(3, log=lineage(1, (1, 20)), memory=(12, 20), remembers=1, sealed=12, complete=on_disk())
    )

    assert "log of source partition 0 has no living holder: waiting for node a" in waits(
        second, K, {"b": zombie}, Wish(3)
    )
    third = formed(
        second, K, {"a": Reporter(2, report(3, log=lineage(2, (1, 14)), complete=on_disk())), "b": zombie}, Wish(3)
    )
    assert (third.cut, third.in_memory) == (10, False)


def test_a_member_that_took_part_in_every_generation_since_is_believed_at_the_cut_of_the_last() -> None:
    record = first("a", "b")
    second = formed(record, None, {node: Reporter(1, working(1, 9, 6)) for node in "ab"}, Wish(2))
    # Nobody has heard of generation 2 yet.
    lives = {
        node: Reporter(1, report(3, log=lineage(1, (1, 9)), memory=(4, 9), remembers=1, sealed=6)) for node in "ab"
    }

    third = formed(second, None, lives, Wish(3))

    assert (third.cut, third.in_memory) == (6, True)


def test_a_cut_that_was_sealed_before_the_recorded_generation_went_back_to_a_checkpoint_is_none_of_its_cuts() -> None:
    record = replace(first("a", "b"), number=2, cut=10, in_memory=False, checkpoint=K)
    # b has adopted generation 2 on disk and was asked before it had returned: it still knows what generation 1 sealed.
    lives = {
        "a": Reporter(
            1, report(3, log=lineage(2, (1, 20)), memory=(10, 20), remembers=2, sealed=10, complete=on_disk())
        ),
        "b": Reporter(
            1, report(3, log=lineage(2, (1, 20)), memory=(14, 20), remembers=1, sealed=15, complete=on_disk())
        ),
    }

    formation = formed(record, K, lives, Wish(3))

    assert (formation.cut, formation.in_memory) == (10, True)


def test_the_cut_of_a_checkpoint_is_returned_to_though_no_survivor_knows_that_it_was_sealed() -> None:
    record = first("a", "b")
    lives = {"a": Reporter(1, working(1, 14, 8, log=lineage(1, (1, 14), base=10)))}

    formation = formed(record, K, lives, Wish(2))

    assert (formation.cut, formation.in_memory) == (10, True)


def test_a_checkpoint_inside_an_epoch_is_read_from_disks() -> None:
    record = first("a", "b")
    checkpoint = replace(K, limit=Limit(11, 1, 0, 5))
    lives = {"a": Reporter(1, replace(working(1, 10, 10, log=lineage(1, (1, 11))), complete=on_disk(checkpoint)))}

    formation = formed(record, checkpoint, lives, Wish(2))

    assert (formation.cut, formation.in_memory) == (10, False)


# --- logs


def test_the_log_of_the_latest_generation_is_adopted_though_another_is_longer() -> None:
    record = replace(first("a", "b"), number=2, logs=((1, 6),), spans=(((1, 6),),), level=6)
    lives = {
        "a": Reporter(1, report(3, log=lineage(2, (1, 6), (2, 8)), memory=(0, 6), remembers=2)),
        "b": Reporter(1, report(3, log=lineage(1, (1, 12)), memory=(0, 6), remembers=1)),
    }

    formation = formed(record, None, lives, Wish(3))

    assert (formation.logs, formation.spans, formation.level) == (((2, 8),), (((1, 6), (2, 8)),), 8)


def test_a_log_from_outside_the_list_is_waited_past() -> None:
    record = first("a", "b")
    second = formed(record, None, {"a": Reporter(1, working(1, 9, 6))}, Wish(2))
    lives = {"b": Reporter(1, working(1, 20, 6)), "c": Reporter(1, report(3))}

    assert "log of source partition 0" in waits(second, None, lives, Wish(3))


def test_a_new_holder_of_a_log_counts_only_once_it_has_what_was_adopted() -> None:
    record = first("a", "b", shape=replace(SHAPE, backups=0))
    lone = replace(SHAPE, backups=0)
    assert {own.primary for own in record.layout.partitions} == {"a"}
    lives = {"a": Reporter(1, working(1, 9, 0)), "b": Reporter(1, report(2))}
    second = formed(record, None, lives, Wish(2, leaving=frozenset("a")), lone)
    assert second.layout.partitions[0].all == ("a", "b")
    assert second.lacks_logs("b") == (0,)

    short = {"b": Reporter(1, report(3, log=lineage(2, (1, 5))))}
    whole = {"b": Reporter(1, report(3, log=lineage(2, (1, 9))))}

    assert "waiting for node a" in waits(second, None, short, Wish(3), lone)
    assert formed(second, None, whole, Wish(3), lone).logs == ((2, 9),)


def test_a_copy_that_was_listed_because_it_had_the_adopted_log_gives_no_more_than_that() -> None:
    """It may have more of a generation in which it was listed long ago, against which others became durable since."""
    record = replace(first("a", "b"), number=5, logs=((4, 1),), spans=(((1, 1),),), level=4)
    lives = {"b": Reporter(1, report(6, log=lineage(2, (1, 1), (2, 3)), memory=(0, 3), remembers=1))}

    formation = formed(record, None, lives, Wish(6))

    assert formation.logs == ((2, 1),)


def test_a_log_that_begins_behind_the_cut_is_of_no_use() -> None:
    record = first("a", "b")
    lives = {"a": Reporter(2, report(2, log=lineage(1, (1, 20), base=15), complete=on_disk()))}

    assert "log of source partition 0" in waits(record, K, lives, Wish(2))


def test_live_sources_replay_to_the_longest_log_and_finite_ones_to_the_shortest_that_has_not_ended() -> None:
    shape = replace(SHAPE, partitions=3)
    record = first("a", "b", shape=shape)
    logs = ((0, lineage(1, (1, 9))), (1, lineage(1, (1, 7))), (2, lineage(1, (1, 3), ended=True)))
    lives = {node: Reporter(1, replace(working(1, 9, 2), logs=logs)) for node in "ab"}

    live = formed(record, None, lives, Wish(2), shape)
    finite = formed(record, None, lives, Wish(2), replace(shape, live=False))

    assert (live.level, live.logs) == (9, ((1, 9), (1, 7), (1, 3)))
    assert (finite.level, finite.logs) == (7, ((1, 7), (1, 7), (1, 3)))


def test_replay_goes_to_the_longest_log_once_all_finite_sources_have_ended() -> None:
    shape = replace(SHAPE, partitions=2, live=False)
    record = first("a", "b", shape=shape)
    logs = ((0, lineage(1, (1, 9), ended=True)), (1, lineage(1, (1, 7), ended=True)))
    lives = {node: Reporter(1, replace(working(1, 9, 2), logs=logs)) for node in "ab"}

    assert formed(record, None, lives, Wish(2), shape).level == 9


def test_two_logs_agree_up_to_the_lesser_end_of_the_last_generation_that_both_have() -> None:
    assert agreement(lineage(3, (1, 4), (3, 9)), ((1, 4), (3, 7), (5, 12))) == 7
    assert agreement(lineage(3, (1, 4), (2, 9)), ((1, 6), (3, 7))) == 4
    assert agreement(lineage(3, (2, 9), base=5), ((1, 6), (3, 7))) == 5
    assert agreement(EMPTY, ((1, 6),)) == 0


def test_a_copy_that_counts_keeps_all_before_the_cut_where_trimming_took_the_proof() -> None:
    formation = replace(first("a", "b"), number=3, cut=10, level=14, logs=((2, 14),), spans=(((2, 14),),))
    own = lineage(1, (1, 12), base=4)

    assert kept(formation, "b", 0, own) == 10
    assert kept(replace(formation, lacking_logs=(("b", (0,)),)), "b", 0, own) == 4
    assert kept(formation, "b", 0, lineage(1, (1, 20), base=12)) == NOTHING


# --- layout and the rest


def test_a_member_is_relieved_only_when_others_have_what_it_holds() -> None:
    record = first("a", "b")
    lives = {node: Reporter(1, working(1, 9, 6)) for node in "ab"} | {"c": Reporter(1, report(2))}
    leaving = frozenset("a")

    second = formed(record, None, lives, Wish(2, leaving=leaving))
    assert [own.node for own in second.members] == ["a", "b", "c"]
    assert all(node in own.all for own in second.layout.ranges for node in "ab")
    assert second.lacks("c") == ALL

    caught_up = {node: Reporter(1, working(2, 12, 10, log=lineage(2, (1, 9), (2, 12)))) for node in "abc"}
    third = formed(second, None, caught_up, Wish(3, leaving=leaving))
    assert [own.node for own in third.members] == ["b", "c"]
    assert (third.layout, third.target, third.lacking, third.lacking_logs) == (second.target, None, (), ())


def test_a_node_that_others_can_not_reach_is_left_out_at_once() -> None:
    record = first("a", "b", "c")
    lives = {node: Reporter(1, working(1, 9, 6)) for node in "abc"}

    formation = formed(record, None, lives, Wish(2, shunned=frozenset("c")))

    assert [own.node for own in formation.members] == ["a", "b"]


def test_a_limit_in_an_epoch_that_was_not_adopted_is_forgotten() -> None:
    record = first("a", "b")
    lives = {node: Reporter(1, working(1, 9, 6)) for node in "ab"}
    failure = Failure(Limit(9, 1, 0, 3), "ValueError")

    kept_one = formed(record, None, lives, Wish(2, failure=failure))
    late = formed(record, None, lives, Wish(2, failure=replace(failure, limit=Limit(10, 1, 0, 3))))

    assert (kept_one.limit, kept_one.stop_error) == (failure.limit, "ValueError")
    assert (late.limit, late.stop_error) == (None, None)


def test_a_sink_moves_only_to_a_node_that_knows_where_it_stood() -> None:
    record = first("a", "b")
    lives = {node: Reporter(1, working(1, 9, 6)) for node in "ab"} | {"c": Reporter(1, report(2))}

    formation = formed(record, None, lives, Wish(2, leaving=frozenset(record.layout.sinks)))

    assert formation.layout.sinks[0] in "ab"


def test_a_copy_from_outside_the_list_with_entries_nobody_knows_before_the_cut_lacks_the_log() -> None:
    record = replace(first("a", "b"), members=first("a", "c").members, number=1)
    lives = {
        "a": Reporter(1, working(1, 12, 10, log=lineage(1, base=8))),
        "b": Reporter(1, report(2, log=lineage(0, (9, 9), base=8))),
    }
    record = replace(record, layout=replace(record.layout, partitions=first("a", "c").layout.partitions))

    formation = formed(record, None, lives, Wish(2))

    assert (formation.cut, formation.layout.partitions[0].all) == (10, ("a", "b"))
    assert formation.lacks_logs("b") == (0,)


def test_a_new_holder_counts_once_a_checkpoint_of_its_generation_is_complete() -> None:
    """The adopted log may end with an epoch that holds nothing: what has come shows nothing of that."""
    record = replace(first("a", "b"), logs=((0, 11),), spans=(((0, 11),),), level=11, lacking_logs=(("b", (0,)),))
    lives = {"b": Reporter(1, working(1, 12, 10, log=lineage(1, (0, 10))))}

    assert "log of source partition 0" in waits(record, None, lives, Wish(2))
    assert formed(record, K, lives, Wish(2)).cut == 10


def test_who_reads_a_partition_has_its_whole_log() -> None:
    """The other copy counts too, but its holder could not give what it lacks itself."""
    record = first("a", "b")
    assert record.layout.partitions[0].primary == "a"
    lives = {"a": Reporter(1, working(1, 7, 6)), "b": Reporter(1, working(1, 9, 6))}

    formation = formed(record, None, lives, Wish(2))

    assert (formation.logs, formation.layout.partitions[0].primary) == (((1, 9),), "b")


def test_what_is_cut_off_a_log_has_no_span_left() -> None:
    assert cut_off(((1, 5), (2, 8)), 5) == ((1, 5),)
    assert cut_off(((1, 5), (2, 8)), 6) == ((1, 5), (2, 6))
    assert cut_off(((1, 5), (2, 8)), 9) == ((1, 5), (2, 8))


def test_a_copy_keeps_up_to_the_cut_what_it_has_though_the_adopted_log_ends_before() -> None:
    """Epochs behind its last entry hold nothing; what it knows of them is not to be sent again."""
    formation = replace(first("a", "b"), number=3, cut=10, level=10, logs=((2, 7),), spans=(((2, 7),),))

    assert kept(formation, "b", 0, lineage(2, (2, 7))) == 10


def test_a_sink_moves_only_to_a_disk_that_knows_where_it_stood() -> None:
    record = first("a", "b")
    lives = {
        "a": Reporter(2, report(2, log=lineage(1, (1, 12)), complete=on_disk())),
        "b": Reporter(2, report(2, log=lineage(1, (1, 12)))),
    }
    assert record.layout.sinks == ("b",)

    assert formed(record, K, lives, Wish(2)).layout.sinks == ("a",)


def test_new_input_enters_epochs_behind_the_cut_though_logs_end_before_it() -> None:
    record = first("a", "b")
    lives = {"a": Reporter(2, report(2, log=lineage(1, (1, 7)), complete=on_disk()))}

    formation = formed(record, K, lives, Wish(2))

    assert (formation.cut, formation.level) == (10, 10)
