"""One machine with every answer given by hand: for tests that care about the order of events."""

from __future__ import annotations

from typing import Any, TypeVar

import holdfast as hf
from holdfast.core.application import Application
from holdfast.core.epochs import Epoch
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.machine import Worker
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver, Live

T = TypeVar("T")
KIND = Settings(epochs_in_flight=2)
RECORDS = list(range(200))


def count(message: int, state: list[int]) -> tuple[int, int]:
    state.append(message)
    return message % 7, len(state)


def build(records: Any = RECORDS, *, live: bool = False, **options: Any) -> Application:
    app = Application("machine", **options)
    stream = app.source(hf.sources.Memory(records))
    stream.key_by(lambda n: n % 7).stateful(count, state=list).sink(hf.sinks.Memory())
    app.check()
    if live:
        for step in app.sources:
            step.source = Live(step.source)
    return app


class Bench:
    """One machine; every answer is given by hand."""

    def __init__(self, app: Application, settings: Settings = KIND, *, disk: Driver | None = None) -> None:
        self.app = app
        self.registry = TypeRegistry() if disk is None else disk.registry
        partitions = []
        for step in app.sources:
            step.source.bind(self.registry)
            partitions += [(step.index, name) for name in step.source.partitions()]
        self.readers = [app.steps[index].source.open(name, None) for index, name in partitions]
        self.given = [0] * len(partitions)
        self.worker = Worker(Plan(app), partitions, settings, self.registry)
        self.now = 1000
        self.orders: list[do.Effect] = []  # all of them
        self.new: list[do.Effect] = []  # of the last event

    def give(self, event: Any) -> list[do.Effect]:
        self.new = self.worker.handle(event)
        self.worker.check_invariants()
        self.orders += self.new
        return self.new

    def start(self, disk: Driver | None = None, tail: int = 0) -> list[do.Effect]:
        if disk is None:
            return self.give(has.Started(self.now, None, tail))
        self.give(has.Started(self.now, disk.disk.record, disk.disk.tail))
        return self.give(has.ChunksRead(self.now, tuple(chunk for _, chunk in disk.disk.chunks), last=True))

    def tick(self) -> list[do.Effect]:
        return self.give(has.Ticked(self.now))

    def read(self, partition: int = 0, most: int = 64) -> list[do.Effect]:
        block = self.readers[partition].read(most, 1 << 20)
        raw, records, ended = (b"", 0, True) if block is None else (block.raw, block.count, block.ended)
        self.given[partition] += records
        offset = self.readers[partition].offset_after(self.given[partition])
        return self.give(has.SourceRead(self.now, partition, raw, records, offset, ended))

    def synced(self) -> list[do.Effect]:
        return self.give(has.LogSynced(self.now, self.last(do.AppendLog).epoch.number))

    def delivered(self) -> list[do.Effect]:
        order = self.last(do.Deliver)
        return self.give(has.Delivered(self.now, order.sink, order.first + order.count - 1))

    def of(self, kind: type[T]) -> list[T]:
        return [order for order in self.orders if isinstance(order, kind)]

    def last(self, kind: type[T]) -> T:
        return self.of(kind)[-1]

    def entities(self) -> int:
        return self.worker.statistics.entities

    def kinds(self) -> list[str]:
        """Of the orders of the last event."""
        return [type(order).__name__ for order in self.new]

    def epochs(self) -> list[Epoch]:
        return [order.epoch for order in self.of(do.AppendLog)]


def begun(app: Application | None = None, settings: Settings = KIND) -> Bench:
    bench = Bench(app if app is not None else build(), settings)
    bench.start()
    return bench


def finish(bench: Bench) -> None:
    """Answer all that belongs to the last checkpoint."""
    checkpoint = bench.last(do.TakeToken).checkpoint
    bench.give(has.TokenTaken(bench.now, 0, checkpoint, None))
    for order in bench.of(do.StageChunks):
        if order.checkpoint == checkpoint:
            bench.give(has.ChunksStaged(bench.now, checkpoint, len(order.chunks)))
    bench.give(has.SinksSynced(bench.now, checkpoint))
    bench.give(has.CheckpointCompleted(bench.now, checkpoint))
