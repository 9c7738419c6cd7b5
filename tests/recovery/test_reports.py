"""Reports: what of them counts, whatever else they say."""

from __future__ import annotations

from dataclasses import replace

from holdfast.recovery import cuts, events
from holdfast.recovery.messages import Ask, OnDisk, Phase
from holdfast.recovery.testimony import Reporter
from tests.recovery.desk import CONFIG, memory, working
from tests.recovery.test_decisions import ALL, K, first, on_disk, report


def test_a_report_for_an_earlier_number_does_not_count_and_is_asked_for_again() -> None:
    """Who has promised less may still adopt the generation before: what it holds is not what it reported."""
    desk = working()
    desk.run("a", lost=("b",))
    desk.store()
    for node in "ab":
        desk.hear(node, phase=Phase.FENCED, promised=1, report=replace(memory(1), promise=1))

    assert not desk.stores
    assert [desk.body(node) for node in "ab"] == [Ask(2), Ask(2)]
    for node in "ab":
        desk.report(node, report=memory(1))
    assert desk.stores


def test_the_report_of_a_worker_that_is_gone_since_does_not_count() -> None:
    desk = working("abc", replace(CONFIG, workers=3))
    desk.give(events.WorkerLost(0, "c"))
    desk.store()
    desk.report("a", report=memory(1))
    desk.give(events.WorkerLost(0, "a"))
    desk.report("b", report=memory(1))
    desk.store()

    assert desk.kept.formation is not None
    assert [own.node for own in desk.kept.formation.members] == ["b"]


def test_memory_counts_at_the_cuts_that_it_reaches() -> None:
    """A member that was named in a generation which it never began may have later cuts alone."""
    lives = {"a": Reporter(1, report(2, memory=(5, 7), remembers=1))}

    found = [cuts.in_memory(first("a", "b"), lives, cut, len(ALL)) for cut in (4, 5, 7, 8)]

    nobody: tuple[frozenset[str], ...] = (frozenset(),) * len(ALL)
    somebody = (frozenset("a"),) * len(ALL)
    assert found == [nobody, somebody, somebody, nobody]


def test_another_checkpoint_on_a_disk_does_not_count() -> None:
    older = OnDisk(K.number - 1, K.epoch - 2, None, ALL)

    assert cuts.ranges_on_disk(K, "a", Reporter(1, report(2, complete=older, prepared=older))) == ()
    assert cuts.ranges_on_disk(K, "a", Reporter(1, report(2, complete=older, prepared=on_disk()))) == ALL


def test_who_has_yet_to_return_to_the_recorded_cut_remembers_no_later_one() -> None:
    record = replace(first("a", "b"), number=2, cut=6)
    life = Reporter(1, report(3, memory=(4, 9), remembers=1))

    assert [cuts.remembers(record, "a", life, cut) for cut in (6, 8)] == [True, False]


def test_another_life_of_a_member_remembers_nothing_of_what_that_one_did() -> None:
    life = Reporter(2, report(2, memory=(4, 9), remembers=1))

    assert not cuts.remembers(first("a", "b"), "a", life, 6)


def test_a_disk_counts_for_the_ranges_that_were_recorded_of_it_and_that_it_still_has() -> None:
    checkpoint = replace(K, holders=(("a", (0, 1)), ("b", ALL)))
    found = replace(on_disk(), ranges=(1, 2))

    assert cuts.ranges_on_disk(checkpoint, "a", Reporter(1, report(2, complete=found))) == (1,)


def test_who_has_another_checkpoint_does_not_know_where_the_sinks_stood() -> None:
    older = OnDisk(K.number - 1, K.epoch - 2, None, ALL)

    told = [Reporter(1, report(2, complete=older, prepared=own)) for own in (None, older, on_disk())]

    assert [cuts.has_on_disk(K, reporter) for reporter in told] == [False, False, True]
