"""Several events that a member is told together, and when live epochs follow one another."""

from __future__ import annotations

from typing import Any

import holdfast as hf
from holdfast.connectors.framing import pack
from holdfast.core.values import encode
from holdfast.recovery.messages import Ask, Order, Phase, Run
from holdfast.replication.messages import Beat, Envelope, Reached
from holdfast.worker import cluster_effects as cdo
from holdfast.worker import cluster_events as chas
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.parts import LARGE_RECORDS
from tests.worker.member_bench import Bench
from tests.worker.test_member import at_work


def beats(*reached: int) -> list[chas.PeerSent]:
    """What "b" says of itself, one message after the other."""
    says = [Envelope(1, "b", 1, n, Reached(r, r, r, r, None), Beat()) for n, r in enumerate(reached, 1)]
    return [chas.PeerSent(0, envelope) for envelope in says]


def test_what_follows_from_several_events_is_looked_at_once() -> None:
    alone, together = at_work(Bench()), at_work(Bench())
    one_by_one = [order for event in beats(1, 2, 3) for order in alone.hear(event)]

    orders = together.member.handle_all(beats(1, 2, 3))

    assert alone.member.running is not None
    assert together.member.running is not None
    assert together.member.running.progress.reached == alone.member.running.progress.reached
    assert len(together.messages(orders)) <= len(alone.messages(one_by_one))


def test_nothing_behind_the_end_is_heard() -> None:
    bench = at_work(Bench())
    end = chas.Ordered(0, Order(1, 9, Run(1, finish=True)))

    orders = bench.member.handle_all([chas.LinkLost(0, "b"), end, chas.Ordered(0, Order(1, 10, Ask(5)))])

    assert [type(order) for order in orders if not isinstance(order, cdo.SendPeer)] == [cdo.SendStatus, do.Finish]
    assert bench.member.promised == 1


def test_who_promises_among_other_events_says_nothing_more_in_the_generation_before() -> None:
    bench = at_work(Bench())
    promise = chas.Ordered(0, Order(1, 9, Ask(2)))

    orders = bench.member.handle_all([*beats(1), promise, *beats(1, 2)[1:], has.Ticked(0)])

    assert bench.member.phase is Phase.FENCED
    assert bench.messages(orders) == []
    assert [type(order) for order in orders] == [cdo.Quiesce, cdo.SendStatus]


# --- when live epochs follow one another


def live() -> Bench:
    """A member alone, whose live source has been asked for records."""
    app = hf.Application("live")
    app.source(hf.sources.Generator(lambda: iter(()))).key_by(str).sink(hf.sinks.Memory())
    bench = at_work(Bench(app, backups=0), nodes=("a",))
    bench.order(Run(1))
    bench.answer_cursors()
    bench.tick()
    assert asked(bench) == 1
    return bench


def asked(bench: Bench) -> int:
    return sum(isinstance(order, do.ReadSource) for order in bench.done)


def give(bench: Bench, count: int) -> list[Any]:
    raw = pack([encode("x", bench.registry)] * count)
    return bench.hear(has.SourceRead(bench.now, 0, raw, count, count, False))


def work_off(bench: Bench) -> None:
    bench.hear(chas.EntriesSynced(bench.now, 9))
    for _ in range(5):
        bench.tick()


def test_what_comes_while_an_epoch_is_under_way_is_the_next_one() -> None:
    bench = live()

    give(bench, 3)
    bench.tick()
    assert asked(bench) == 1, "the epoch is not applied"

    work_off(bench)
    assert asked(bench) == 2


def test_under_load_an_epoch_is_filled_while_the_one_before_is_under_way() -> None:
    bench = live()

    give(bench, LARGE_RECORDS)

    assert asked(bench) == 2


def test_an_epoch_that_others_wait_for_is_closed_whatever_is_under_way() -> None:
    bench = live()
    give(bench, 3)
    assert bench.member.running is not None
    assert bench.member.running.flow.closed == 1
    bench.member.running.flow.opened_to = 2

    bench.tick()

    assert bench.member.running.flow.closed == 2
