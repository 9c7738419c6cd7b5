"""Keeping: what senders are answered, and what is forgotten of them, at the end of an epoch and not before."""

from __future__ import annotations

from holdfast import sinks
from holdfast.core.application import Application
from holdfast.core.epochs import Chunk, LogEntry
from holdfast.recovery.generation import Limit
from holdfast.replication.messages import Answered, Message
from holdfast.worker import cluster_events as chas
from holdfast.worker import effects as do
from holdfast.worker.keeping import Given
from tests.worker.member_bench import Bench
from tests.worker.test_member import at_work
from tests.zoo.replies import Remembering

RECORDS = [("a", "p", 1), ("b", "p", 2), ("c", "q", 3)]


def answering() -> Application:
    source = Remembering(RECORDS)
    source.remembered = 1
    app = Application("sent")
    app.source(source, name="sent").reply().sink(sinks.Memory())
    return app


def worked_off(limit: Limit | None) -> Bench:
    """An epoch of three records with ids, of which one is remembered, worked off again, perhaps up to a limit."""
    bench = Bench(answering(), backups=0)
    at_work(bench, nodes=("a",), level=1, logs=((1, 1),), spans=(((1, 1),),), limit=limit)
    bench.answer_cursors()
    block = bench.app.sources[0].source.open("0", None).read(len(RECORDS), 1 << 20)
    assert block is not None
    chunk = Chunk(0, 0, block.count, 0, None, True, block.raw)
    bench.hear(chas.EntriesRead(bench.now, 0, "", (LogEntry(1, 1, 0, chunk),)))
    for _ in range(20):
        bench.tick()
    assert bench.member.running is not None
    assert bench.member.running.flow.applied == 1
    return bench


def answered(bench: Bench) -> list[tuple[int, int]]:
    return [(order.first, order.count) for order in bench.done if isinstance(order, do.Answer)]


def remembered(bench: Bench) -> list[tuple[str, int]]:
    assert bench.member.running is not None
    (senders,) = bench.member.running.stages.keeping.told_apart
    entities = senders.book.entities
    return [(entity.state[0], entity.state[1]) for key, entity in entities.items() if type(key) is int]


def test_an_epoch_is_answered_and_ids_beyond_the_bound_are_forgotten_when_it_is_over() -> None:
    bench = worked_off(None)

    assert answered(bench) == [(0, 3)]
    assert remembered(bench) == [("q", 3)]


def test_where_an_epoch_ends_early_nobody_is_answered_and_nothing_is_forgotten() -> None:
    """The rest of it is worked on in another life, as if it had never been parted."""
    bench = worked_off(Limit(1, 0, 0, 2))

    assert answered(bench) == []
    assert remembered(bench) == [("p", 1), ("p", 2)]


def test_an_epoch_that_ends_early_is_not_told_as_applied() -> None:
    assert [worked_off(limit).status().applied for limit in (None, Limit(1, 0, 0, 2))] == [1, 0]


def test_what_is_logged_is_acknowledged_when_its_epoch_is_durable_everywhere() -> None:
    bench = Bench(answering(), backups=0)
    at_work(bench, nodes=("a",))
    assert bench.member.running is not None
    keeping = bench.member.running.stages.keeping
    keeping.closed(4, [LogEntry(4, 1, 0, Chunk(0, 5, 3, 0, None, False, b""))])

    assert keeping.acknowledged(3) == []
    assert keeping.acknowledged(4) == [do.Acknowledge(0, 8)]
    assert keeping.acknowledged(5) == []


def test_answers_go_to_who_has_the_log() -> None:
    bench = Bench(answering(), backups=0)
    at_work(bench, nodes=("a", "b"))
    assert bench.member.running is not None
    outbox: list[tuple[str, Message]] = []

    own = bench.member.running.stages.keeping.hand_out(
        [Given("a", 0, 4, 1, {}), Given("b", 0, 5, 2, {5: (b"image",)})], outbox
    )

    assert own == [do.Answer(0, 4, 1, {})]
    assert [(to, type(message)) for to, message in outbox] == [("b", Answered)]
