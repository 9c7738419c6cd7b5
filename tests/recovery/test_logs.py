"""Which log is adopted: of copies from outside the last generation nothing that it has not adopted."""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.epochs import Cursor, Lineage
from holdfast.recovery.generation import Formation, Holders, Layout, Member
from holdfast.recovery.logs import Logs, choose_logs
from holdfast.recovery.messages import Report
from holdfast.recovery.testimony import Reporter, Shape

SHAPE = Shape(ranges=1, backups=1, partitions=1, sinks=0, live=True, workers=1)


def reporter(lineage: Lineage) -> Reporter:
    return Reporter(1, Report(4, lineage.adopted, 0, 0, (), ((0, lineage),), None, None))


def test_what_a_holder_has_from_a_generation_long_ago_does_not_come_back_with_it() -> None:
    # It logged epoch 5 in generation 1 and was away; others went on from 4. It was put on the list again in
    # generation 3, because it has all up to 4, and is asked before it has adopted that.
    layout = Layout((Holders("b", ("a",)),), (Holders("b", ("a",)),), ())
    record = Formation(
        *(3, (Member("a", 1, 3), Member("b", 1, 1)), layout, 4, True, None, 4), ((2, 4),), (((1, 4),),), ()
    )
    stale = Lineage(1, Cursor(), 5, ((1, 5),))

    found = choose_logs(record, None, {"a": reporter(stale)}, SHAPE, 4)

    assert isinstance(found, Logs)
    assert (found.adopted[0].tail, found.adopted[0].spans, found.level) == (4, ((1, 4),), 4)


def test_a_log_that_is_cut_short_has_not_ended_though_what_was_cut_off_said_so() -> None:
    layout = Layout((), (Holders("b", ("a",)),) * 2, ())
    members = (Member("a", 1, 3), Member("b", 1, 1))
    record = Formation(*(3, members, layout, 4, True, None, 7), ((2, 4), (2, 7)), (((1, 4),), ((1, 4), (2, 7))), ())
    ended, other = Lineage(1, Cursor(), 5, ((1, 5),), True), Lineage(2, Cursor(), 7, ((1, 4), (2, 7)))
    lives = {"a": Reporter(1, Report(4, 1, 0, 0, (), ((0, ended), (1, other)), None, None))}

    found = choose_logs(record, None, lives, replace(SHAPE, partitions=2, live=False), 4)

    assert isinstance(found, Logs)
    assert found.level == 4


def test_a_log_that_begins_behind_the_cut_is_not_whole_though_it_has_all_that_follows() -> None:
    layout = Layout((), (Holders("b"),), ())
    record = Formation(*(3, (Member("b", 1, 1),), layout, 4, True, None, 5), ((1, 5),), (((1, 5),),), ())
    lives = {"a": reporter(Lineage(1, Cursor(6), 6, ())), "b": reporter(Lineage(3, Cursor(), 5, ((1, 5),)))}

    found = choose_logs(record, None, lives, SHAPE, 4)

    assert isinstance(found, Logs)
    assert found.adopted[0].whole == {"b"}
