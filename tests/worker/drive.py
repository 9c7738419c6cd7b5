"""Drives one Worker over plain lists, in one thread: kind, or as cruel as its `random.Random` says.

Orders to one store, source or sink are carried out one after the other. Without a random they are so at once and in the
order given; with one, any of them may be the next, and what was ordered when a life ends may be lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from random import Random
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
from tests.zoo.parted import gathered

LIVES_MAX = 60
EVENTS_MAX = 100_000  # of one life: more means that it goes round in circles
CLOCK_STEPS = (7, 7, 7, 0, 1, 300, -50, -5000)


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
    answers: dict[tuple[int, int], Any] = field(default_factory=dict)  # of records: what senders were told


class Live:
    """A source as it is, but live."""

    live = True

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)


class Driver:
    """Runs an application over Memory-like inputs until it finishes."""

    def __init__(
        self,
        app: Application,
        registry: TypeRegistry,
        settings: Settings | None = None,
        *,
        random: Random | None = None,
    ) -> None:
        self.app = app
        self.registry = registry
        self.settings = settings or Settings()
        self.random = random
        self.stored_names: dict[str, str] = {}  # of renamed steps, as a ledger would know them
        self.disk = Disk()
        self.now = 1_000
        self.returns = 0
        self.kills: list[int] = []  # events that each of the first lives may handle
        self.stops: list[int] = []  # events after which each of the first lives is asked to stop
        self.lives = 0
        self.orders: list[do.Effect] = []  # of the last life, as the machine gave them
        self.told: dict[int, int] = {}  # partition -> records of it that its source was told are durable, last

    def partitions(self) -> list[tuple[int, str]]:
        found = []
        for step in self.app.sources:
            step.source.bind(self.registry)
            found += [(step.index, name) for name in step.source.partitions()]
        return found

    def run(self) -> tuple[HoldfastError | None, bool]:
        """To the end, started again after every kill and every stop; the error and whether everything ended."""
        settings = self.settings
        while True:
            number = self.lives
            self.lives += 1
            assert self.lives < LIVES_MAX
            killed = self.kills[number] if number < len(self.kills) else None
            stopped = self.stops[number] if number < len(self.stops) else None
            outcome = self.live(settings, killed, stopped)
            if outcome is None:
                settings = self.settings
            elif isinstance(outcome, do.Finish):
                if outcome.error is not None or outcome.ended or number >= len(self.stops):
                    return outcome.error, outcome.ended
                settings = self.settings
            else:
                self.returns += 1
                stop_before, error = outcome.stop_before, outcome.error
                settings = replace(settings, careful=outcome.careful, stop_before=stop_before, stop_error=error)

    def live(
        self, settings: Settings, killed: int | None = None, stopped: int | None = None
    ) -> do.Finish | do.Return | None:
        """One life of a worker; None if it was killed."""
        plan = Plan(self.app)
        plan.stored_names |= self.stored_names
        life = Life(self, Worker(plan, self.partitions(), settings, self.registry))
        self.worker = life.worker
        self.disk.staged.clear()
        self.orders = []
        event: Any = has.Started(self.now, self.disk.record, self.disk.tail)
        for count in range(EVENTS_MAX):
            if count == killed:
                return None
            orders = life.worker.handle(event)
            life.worker.check_invariants()
            self.orders += orders
            end = life.take(orders)
            if end is not None:
                return end
            self.now += 7 if self.random is None else self.random.choice(CLOCK_STEPS)
            event = has.StopAsked(self.now) if count == stopped else life.next_event()
        raise AssertionError("no end")


class Life:
    """What one worker ordered and what was done of it."""

    def __init__(self, driver: Driver, worker: Worker) -> None:
        self.driver = driver
        self.worker = worker
        self.partitions = driver.partitions()
        self.channels: dict[str, deque[Any]] = {}  # orders of each store, source and sink
        self.turns: deque[str] = deque()  # channels, in the order of their orders
        self.answers: deque[Any] = deque()
        self.readers: dict[int, Any] = {}
        self.given: dict[int, int] = {}
        self.written: dict[int, int] = {}
        self.wake: int | None = None

    def take(self, orders: list[do.Effect]) -> do.Finish | do.Return | None:
        """Keep orders to be carried out; the end, if they hold it."""
        for order in orders:
            if isinstance(order, do.Finish | do.Return):
                self._wind_up()
                return order
            if isinstance(order, do.WakeAt):
                self.wake = order.time
                continue
            if isinstance(order, do.Acknowledge | do.Answer):
                self._tell_senders(order)
                continue
            if isinstance(order, do.TellSource):
                assert told_count(order) <= self._logged(order.partition), "a source was told of what is not durable"
                self.driver.told[order.partition] = told_count(order)
                continue
            name = channel_of(order)
            self.channels.setdefault(name, deque()).append(order)
            self.turns.append(name)
        return None

    def _logged(self, partition: int) -> int:
        return sum(count for row in self.driver.disk.rows for index, count, *_ in row.parts if index == partition)

    def _tell_senders(self, order: do.Acknowledge | do.Answer) -> None:
        """Only what is on the disk may be told, and never two things of one record."""
        disk = self.driver.disk
        upto = order.upto if isinstance(order, do.Acknowledge) else order.first + order.count
        assert upto <= self._logged(order.partition), "a sender was told of what is not durable"
        if isinstance(order, do.Answer):
            for number in range(order.first, upto):
                answer = order.answers.get(number)
                known = disk.answers.setdefault((order.partition, number), answer)
                assert known == answer, f"record {number} was answered {known!r} and is now {answer!r}"

    def next_event(self) -> Any:
        """Carry something out and say so, or let time pass."""
        random = self.driver.random
        while not self.answers:
            names = [name for name, orders in self.channels.items() if orders]
            if not names or (random is not None and random.random() < 0.2):
                return self._tick(bool(names))
            name = self.turns.popleft() if random is None else random.choice(names)
            self.answers += self._carry_out(self.channels[name].popleft())
        return self.answers.popleft()

    def _tick(self, waits: bool) -> has.Ticked:
        if not waits and not self.worker.busy:
            assert self.wake is not None, "nothing to do and not finished"
            self.driver.now = max(self.driver.now, self.wake)
        return has.Ticked(self.driver.now)

    def _wind_up(self) -> None:
        """What was ordered before the end: all of it, or as much as was done by chance."""
        random = self.driver.random
        for name, orders in self.channels.items():
            if not name.startswith("source"):
                count = len(orders) if random is None or random.random() < 0.5 else random.randrange(len(orders) + 1)
                for _ in range(count):
                    self._carry_out(orders.popleft())

    def _carry_out(self, order: Any) -> list[Any]:
        disk, now = self.driver.disk, self.driver.now
        match order:
            case do.OpenSource(partition, offset):
                step, name = self.partitions[partition]
                self.readers[partition] = self.driver.app.steps[step].source.open(name, offset)
                self.given[partition] = 0
            case do.ReadSource(partition, records_max):
                return [self._read(partition, records_max)]
            case do.AppendLog(epoch):
                assert epoch.number == disk.tail + 1
                disk.log.append(epoch)
                disk.rows.append(epoch.row)
                disk.tail = epoch.number
                return [has.LogSynced(now, epoch.number)]
            case do.ReadLog(after, bytes_max):
                assert all(e.number > after for e in disk.log[:1]) or disk.log[0].number <= after + 1
                epochs = [e for e in disk.log if e.number > after]
                return [has.LogRead(now, tuple(epochs[: 1 if bytes_max < 100 else 3]))]
            case do.TrimLog(upto):
                disk.log = [e for e in disk.log if e.number > upto]
            case do.OpenSink(sink, token, number):
                assert token in (None, number)
                disk.outputs.setdefault(sink, [])
                assert number <= len(disk.outputs[sink]), "outputs are missing"
                self.written[sink] = number
            case do.Deliver(sink, _, first, count, payload):
                assert first == self.written[sink] + 1
                self._write(sink, first, list(payload))
                self.written[sink] = first + count - 1
                return [has.Delivered(now, sink, first + count - 1)]
            case do.TakeToken(sink, checkpoint):
                return [has.TokenTaken(now, sink, checkpoint, self.written[sink])]
            case do.SyncSinks(checkpoint):
                return [has.SinksSynced(now, checkpoint)]
            case _:
                return self._change_state(order)
        return []

    def _change_state(self, order: Any) -> list[Any]:
        disk, now = self.driver.disk, self.driver.now
        match order:
            case do.ReadChunks():
                return [has.ChunksRead(now, tuple(chunk for _, chunk in disk.chunks), last=True)]
            case do.StageChunks(checkpoint, chunks):
                disk.staged += [(checkpoint, chunk) for chunk in chunks]
                return [has.ChunksStaged(now, checkpoint, len(chunks))]
            case do.CompleteCheckpoint(checkpoint, record, drop):
                disk.record = record
                disk.chunks = [c for c in disk.chunks if c[0] >= drop] + disk.staged
                disk.staged = []
                return [has.CheckpointCompleted(now, checkpoint)]
            case do.LoadRows(step, keys):
                return [has.RowsLoaded(now, tuple(disk.entities.get((step, key)) for key in keys))]
            case do.ReadRows(step):
                found = [(key, row) for (of, key), row in disk.entities.items() if of == step and row is not None]
                return [has.RowsRead(now, tuple(found[:5]), last=False), has.RowsRead(now, tuple(found[5:]), last=True)]
            case do.FoldRows(checkpoint, chunk, rows):
                disk.entities.update({(step, key): image for step, key, image in rows})
                return [has.RowsFolded(now, checkpoint, chunk)]
            case _:
                raise AssertionError(order)

    def _read(self, partition: int, most: int) -> has.SourceRead:
        step, _ = self.partitions[partition]
        random = self.driver.random
        if self.driver.app.steps[step].source.live and random is not None:
            most = random.randrange(1, min(most, 40) + 1)
        reader = self.readers[partition]
        raw, count, ended = b"", 0, False
        while count < most and not ended:
            block = reader.read(most - count, 1 << 20)
            if block is None:
                ended = True
            else:
                raw, count = raw + block.raw, count + block.count
                # A source may learn of its end only when it is asked once more.
                ended = block.ended and (random is None or random.random() < 0.5)
        self.given[partition] += count
        offset = reader.offset_after(self.given[partition])
        return has.SourceRead(self.driver.now, partition, raw, count, offset, ended)

    def _write(self, sink: int, first: int, values: list[Any]) -> None:
        outputs = self.driver.disk.outputs[sink]
        for number, value in enumerate(values, first):
            if number <= len(outputs):
                assert repr(outputs[number - 1]) == repr(value), "regenerated output differs"
            else:
                assert number == len(outputs) + 1
                outputs.append(value)


def told_count(order: do.TellSource) -> int:
    """How many records lie before an offset of a Memory source."""
    count: Any = order.offset
    return int(count[0])


def channel_of(order: Any) -> str:
    """Which store, source or sink an order goes to."""
    match order:
        case do.OpenSource() | do.ReadSource():
            return f"source {order.partition}"
        case do.AppendLog() | do.ReadLog() | do.TrimLog():
            return "log"
        case do.OpenSink() | do.Deliver() | do.TakeToken():
            return f"sink {order.sink}"
        case do.SyncSinks():
            return "sync"
        case do.LoadRows() | do.ReadRows() | do.FoldRows():
            return "rows"
        case _:
            return "state"


def run_case(app: Application, settings: Settings | None = None) -> tuple[dict[str, list[Any]], Driver, Any]:
    """Outputs by sink name, for an application with Memory sources and sinks."""
    registry = TypeRegistry()
    driver = Driver(app, registry, settings)
    error, _ = driver.run()
    return outputs_of(driver), driver, error


def outputs_of(driver: Driver) -> dict[str, list[Any]]:
    """What the sinks hold, by name."""
    return gathered(driver.app, driver.disk.outputs)
