"""Drives one Worker over plain lists: every effect is carried out at once, every answer follows at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.application import Application
from holdfast.core.epochs import Epoch, EpochRow
from holdfast.core.errors import HoldfastError
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.machine import Worker
from holdfast.worker.settings import Settings


@dataclass
class Disk:
    """What survives a return: log, checkpoint, outputs."""

    log: list[Epoch] = field(default_factory=list)
    rows: list[EpochRow] = field(default_factory=list)
    record: bytes | None = None
    tail: int = 0
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    staged: list[tuple[int, bytes]] = field(default_factory=list)
    entities: dict[tuple[int, bytes], bytes | None] = field(default_factory=dict)
    outputs: dict[int, list[Any]] = field(default_factory=dict)


class Driver:
    """Runs an application over Memory-like inputs until it finishes."""

    def __init__(self, app: Application, registry: TypeRegistry, settings: Settings | None = None) -> None:
        self.app = app
        self.registry = registry
        self.settings = settings or Settings()
        self.disk = Disk()
        self.now = 1_000
        self.returns = 0
        self.kills: list[int] = []  # events that each of the first lives may handle
        self.lives = 0
        self.written: dict[int, int] = {}  # by sink, in this life

    def partitions(self) -> list[tuple[int, str]]:
        found = []
        for step in self.app.sources:
            step.source.bind(self.registry)
            found += [(step.index, name) for name in step.source.partitions()]
        return found

    def run(self) -> tuple[HoldfastError | None, bool]:
        """To the end; the error and whether everything ended."""
        settings = self.settings
        while True:
            outcome = self.live(settings, self.kills[self.lives] if self.lives < len(self.kills) else None)
            self.lives += 1
            if outcome is None:
                settings = self.settings
                continue
            if isinstance(outcome, do.Finish):
                return outcome.error, outcome.ended
            self.returns += 1
            assert self.returns < 20
            error = outcome.error if outcome.error is not None else settings.stop_error
            stop_before = outcome.stop_before or settings.stop_before
            settings = replace(settings, careful=outcome.careful, stop_before=stop_before, stop_error=error)

    def live(self, settings: Settings, events_max: int | None) -> do.Finish | do.Return | None:
        """One life of a worker; None if it was killed."""
        partitions = self.partitions()
        plan = Plan(self.app)
        worker = self.worker = Worker(plan, partitions, settings, self.registry)
        self.disk.staged.clear()
        readers: dict[int, Any] = {}
        given: dict[int, int] = {}
        inbox: deque[Any] = deque([has.Started(self.now, self.disk.record, self.disk.tail)])
        while True:
            if not inbox:
                assert worker.busy, "nothing to do and not finished"
                inbox.append(has.Ticked(self.now))
            self.now += 7
            if events_max is not None:
                if events_max == 0:
                    return None
                events_max -= 1
            orders = worker.handle(inbox.popleft())
            worker.check_invariants()
            for order in orders:
                if isinstance(order, do.Finish | do.Return):
                    return order
                inbox.extend(self.carry_out(order, partitions, readers, given))

    def carry_out(
        self, order: Any, partitions: list[tuple[int, str]], readers: dict[int, Any], given: dict[int, int]
    ) -> list[Any]:
        disk, now = self.disk, self.now
        match order:
            case do.ReadChunks():
                return [has.ChunksRead(now, tuple(chunk for _, chunk in disk.chunks), last=True)]
            case do.ReadLog(after, _):
                return [has.LogRead(now, tuple(e for e in disk.log if e.number > after)[:3])]
            case do.OpenSource(partition, offset):
                step, name = partitions[partition]
                readers[partition] = self.app.steps[step].source.open(name, offset)
                given[partition] = 0
            case do.ReadSource(partition, records_max):
                return [self.read(readers, given, partition, records_max)]
            case do.AppendLog(epoch):
                assert epoch.number == disk.tail + 1
                disk.log.append(epoch)
                disk.rows.append(epoch.row)
                disk.tail = epoch.number
                return [has.LogSynced(now, epoch.number)]
            case do.OpenSink(sink, token, number):
                assert token in (None, number)
                disk.outputs.setdefault(sink, [])
                self.written[sink] = number
            case do.Deliver(sink, _, first, count, payload):
                self.write(sink, first, list(payload))
                self.written[sink] = first + count - 1
                return [has.Delivered(now, sink, first + count - 1)]
            case do.TakeToken(sink, checkpoint):
                return [has.TokenTaken(now, sink, checkpoint, self.written[sink])]
            case do.StageChunks(checkpoint, chunks):
                disk.staged += [(checkpoint, chunk) for chunk in chunks]
                return [has.ChunksStaged(now, checkpoint, len(chunks))]
            case do.SyncSinks(checkpoint):
                return [has.SinksSynced(now, checkpoint)]
            case do.CompleteCheckpoint(checkpoint, record, drop):
                disk.record = record
                disk.chunks = [c for c in disk.chunks if c[0] >= drop] + disk.staged
                disk.staged = []
                return [has.CheckpointCompleted(now, checkpoint)]
            case do.TrimLog(upto):
                disk.log = [e for e in disk.log if e.number > upto]
            case do.LoadRows(step, keys):
                return [has.RowsLoaded(now, tuple(disk.entities.get((step, key)) for key in keys))]
            case do.FoldRows(checkpoint, chunk, rows):
                disk.entities.update({(step, key): image for step, key, image in rows})
                return [has.RowsFolded(now, checkpoint, chunk)]
            case do.WakeAt():
                pass
            case _:
                raise AssertionError(order)
        return []

    def read(
        self, readers: dict[int, Any], given: dict[int, int], partition: int, most: int
    ) -> has.SourceRead:
        reader = readers[partition]
        raw, count, ended = b"", 0, False
        while count < most and not ended:
            block = reader.read(most - count, 1 << 20)
            if block is None:
                ended = True
            else:
                raw, count, ended = raw + block.raw, count + block.count, block.ended
        given[partition] += count
        return has.SourceRead(self.now, partition, raw, count, reader.offset_after(given[partition]), ended)

    def write(self, sink: int, first: int, values: list[Any]) -> None:
        outputs = self.disk.outputs[sink]
        for number, value in enumerate(values, first):
            if number <= len(outputs):
                assert repr(outputs[number - 1]) == repr(value), "regenerated output differs"
            else:
                assert number == len(outputs) + 1
                outputs.append(value)


def run_case(app: Application, settings: Settings | None = None) -> tuple[dict[str, list[Any]], Driver, Any]:
    """Outputs by sink name, for an application with Memory sources and sinks."""
    registry = TypeRegistry()
    driver = Driver(app, registry, settings)
    error, _ = driver.run()
    names = [s.name for s in app.sinks]
    return {name: driver.disk.outputs.get(i, []) for i, name in enumerate(names)}, driver, error

