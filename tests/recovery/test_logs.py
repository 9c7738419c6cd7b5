"""Which log is adopted: of copies from outside the last generation nothing that it has not adopted."""

from __future__ import annotations

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
