"""Drives a whole cluster of members and its coordinator over plain lists, in one thread, as cruel as its random says.

Orders to one store, source or sink of a member, and the messages of one link, are carried out one after the other; any
of them may be the next. A kill loses what was ordered and not done, and the messages on their way from that process.
What is done is durable: power loss belongs to the simulator.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from holdfast.core.application import Application
from holdfast.core.epochs import EpochRow
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.recovery import effects as bids
from holdfast.recovery import events as hears
from holdfast.recovery.messages import Status
from holdfast.worker import cluster_effects as cdo
from holdfast.worker import cluster_events as chas
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.member import Member
from holdfast.worker.settings import Settings
from tests.worker.cluster_disk import Disk, PartitionLog
from tests.worker.drive import told_count

STEPS_MAX = 400_000


class Process:
    """One life of one node."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self.cluster = cluster
        self.node = node
        self.disk = cluster.disks[node]
        self.disk.incarnation += 1
        if self.disk.prepared is None:
            self.disk.staged.clear()
        self.member = cluster.make_member()
        self.channels: dict[str, deque[Any]] = {}
        self.answers: deque[Any] = deque()
        self.readers: dict[int, Any] = {}
        self.given: dict[int, int] = {}
        self.written: dict[int, int] = {}
        self.ended: Any = None
        self.status: Status | None = None  # the last one told
        self.hear(chas.Booted(cluster.now, node, self.disk.incarnation, self.disk.found()))

    def hear(self, event: Any) -> None:
        orders = self.member.handle(event)
        self.member.check_invariants()
        for order in orders:
            self._take(order)

    def answer(self) -> None:
        self.hear(self.answers.popleft()(self.cluster.now))

    def _take(self, order: Any) -> None:
        match order:
            case cdo.SendPeer(to, envelope):
                self.cluster.post(self.node, to, envelope)
            case cdo.SendStatus(status):
                self.cluster.statuses[self.node] = self.status = status
            case cdo.Quiesce():
                self._quiesce()
            case do.Finish() | cdo.Restart():
                self.ended = order
            case do.WakeAt() | do.Acknowledge():
                pass
            case do.Answer(partition, first, count, answers):
                for number in range(first, first + count):
                    told = self.cluster.answers.setdefault((partition, number), answers.get(number))
                    assert told == answers.get(number), "a record is answered otherwise than before"
            case do.TellSource():
                self._tell_source(order)
            case _:
                self.channels.setdefault(channel_of(order), deque()).append(order)

    def _tell_source(self, order: do.TellSource) -> None:
        """What came behind the generation's cut stands on the disk of every holder of the partition's log."""
        formation, own = self.member.formation, self.disk.logs[order.partition]
        assert formation is not None
        known = own.cursor(max(formation.cut, own.base.epoch)).number
        for node in formation.layout.partitions[order.partition].all:
            disk = self.cluster.disks.get(node)
            if disk is not None and told_count(order) > known:
                logged = disk.logs[order.partition].cursor(1 << 60).number
                assert told_count(order) <= logged, "a source was told of what is not durable at every holder"
        self.cluster.told[order.partition] = max(told_count(order), self.cluster.told.get(order.partition, 0))

    def _quiesce(self) -> None:
        """Some of what was ordered is still done, in the order of each channel; nobody hears of it."""
        for name, orders in self.channels.items():
            for _ in range(self.cluster.random.randint(0, len(orders))):
                order = orders.popleft()
                if not name.startswith("source"):
                    self.carry_out(order)
            orders.clear()
        self.answers.clear()
        self.readers.clear()
        self.written.clear()
        self.answers.append(lambda now: chas.Quiet(now, self.disk.found()))

    def carry_out(self, order: Any) -> Callable[[int], Any] | None:
        disk = self.disk
        match order:
            case do.OpenSource(partition, offset):
                self.readers[partition] = self.cluster.open_source(partition, offset)
                self.given[partition] = 0
            case do.ReadSource(partition, most):
                found = self.cluster.read(self, partition, most)
                return lambda now: has.SourceRead(now, partition, *found)
            case do.OpenSink(sink, token, number):
                assert token in (None, number)
                assert number <= len(self.cluster.outputs[sink]), "outputs are missing"
                self.written[sink] = number
            case do.Deliver(sink, epoch, first, count, payload):
                assert first == self.written[sink] + 1
                self.cluster.write(sink, epoch, first, list(payload))
                self.written[sink] = first + count - 1
                return lambda now: has.Delivered(now, sink, first + count - 1)
            case do.TakeToken(sink, cut):
                token = self.written[sink]
                return lambda now: has.TokenTaken(now, sink, cut, token)
            case do.SyncSinks(cut):
                return lambda now: has.SinksSynced(now, cut)
            case do.ReadChunks():
                chunks = tuple(chunk for _, chunk in disk.chunks)
                return lambda now: has.ChunksRead(now, chunks, last=True)
            case do.StageChunks(number, chunks):
                disk.staged = [s for s in disk.staged if s[0] == number] + [(number, c) for c in chunks]
                disk.prepared = None
                return lambda now: has.ChunksStaged(now, number, len(chunks))
            case cdo.PrepareCheckpoint(number, record):
                disk.prepared = (number, record)
                return lambda now: chas.CheckpointPrepared(now, number)
            case do.CompleteCheckpoint(number, record, drop):
                disk.complete, disk.prepared = (number, record), None
                disk.chunks = [c for c in disk.chunks if c[0] >= drop] + disk.staged
                disk.staged = []
                return lambda now: has.CheckpointCompleted(now, number)
            case _:
                return self._log(order)
        return None

    def _log(self, order: Any) -> Callable[[int], Any] | None:
        disk = self.disk
        match order:
            case cdo.AdoptFormation(formation, logs):
                disk.adopted = formation.number
                for partition, upto in logs:
                    log = disk.logs.setdefault(partition, PartitionLog())
                    log.adopted = formation.number
                    log.cut_off(upto)
                number = formation.checkpoint.number if formation.checkpoint is not None else 0
                if disk.prepared is not None and disk.prepared[0] != number:
                    disk.prepared = None
                    disk.staged.clear()
                return lambda now: chas.Adopted(now, formation.number)
            case cdo.InstallLog(partition, base):
                disk.logs[partition] = PartitionLog(disk.adopted, base)
            case cdo.AppendEntries(ticket, entries):
                for entry in entries:
                    disk.logs[entry.chunk.partition].append(entry)
                return lambda now: chas.EntriesSynced(now, ticket)
            case cdo.ReadEntries(partition, after, bytes_max, reader):
                assert after >= disk.logs[partition].base.epoch
                entries = tuple(e for e in disk.logs[partition].entries if e.epoch > after)
                entries = entries[: 1 if bytes_max < 100 else 5]
                return lambda now: chas.EntriesRead(now, partition, reader, entries)
            case cdo.ReadCursor(partition, epoch):
                cursor = disk.logs[partition].cursor(epoch)
                return lambda now: chas.CursorRead(now, partition, cursor)
            case cdo.TrimEntries(upto, keep):
                for partition in [p for p in disk.logs if p not in keep]:
                    self.cluster.keep_rows(partition, disk.logs.pop(partition))
                for log in disk.logs.values():
                    if upto > log.base.epoch:
                        log.base = log.cursor(upto)
                        log.entries = [e for e in log.entries if e.epoch > upto]
            case _:
                raise AssertionError(order)
        return None


class Cluster:
    """Nodes, links, a coordinator."""

    def __init__(
        self,
        app: Application,
        registry: TypeRegistry,
        settings: Settings,
        make_coordinator: Callable[[], Any],
        nodes: int,
        random: Random,
    ) -> None:
        self.app = app
        self.registry = registry
        self.settings = settings
        self.random = random
        self.now = 1_000
        for step in app.sources:
            step.source.bind(registry)
        self.partitions = [(step.index, name) for step in app.sources for name in step.source.partitions()]
        self.outputs: list[list[Any]] = [[] for _ in Plan(app).sink_partitions]
        self.answers: dict[tuple[int, int], Any] = {}  # (partition, record) -> what its sender was told
        self.disks = {f"n{i}": Disk() for i in range(nodes)}
        self.statuses: dict[str, Status] = {}
        self.links: dict[tuple[str, str], deque[Any]] = {}
        self.orders: dict[str, Any] = {}  # node -> the newest order
        self.rows: dict[int, dict[int, tuple[int, int, int, bool]]] = {}  # of logs that were dropped
        self.processes: dict[str, Process | None] = {}
        self.make_coordinator = make_coordinator
        self.kept = hears.Kept()
        self.stores: deque[Any] = deque()
        self.finish: bids.Finish | None = None
        self.kills = 0
        self.told: dict[int, int] = {}  # partition -> records of it that its source was told are durable, at most
        self.paused: set[str] = set()  # processes that stand still, and know nothing of it
        self.start_coordinator()
        for node in self.disks:
            self.processes[node] = Process(self, node)

    # --- surroundings

    def make_member(self) -> Member:
        return Member(Plan(self.app), self.partitions, self.settings, self.registry)

    def open_source(self, partition: int, offset: object) -> Any:
        step, name = self.partitions[partition]
        return self.app.steps[step].source.open(name, offset)

    def read(self, process: Process, partition: int, most: int) -> tuple[bytes, int, object, bool]:
        step, _ = self.partitions[partition]
        if self.app.steps[step].source.live:
            most = self.random.randrange(1, min(most, 40) + 1)
        reader = process.readers[partition]
        raw, count, ended = b"", 0, False
        while count < most and not ended:
            block = reader.read(most - count, 1 << 20)
            if block is None:
                ended = True
            else:
                raw, count = raw + block.raw, count + block.count
                ended = block.ended and self.random.random() < 0.5
        process.given[partition] += count
        return raw, count, reader.offset_after(process.given[partition]), ended

    def write(self, sink: int, epoch: int, first: int, values: list[Any]) -> None:
        outputs = self.outputs[sink]
        for number, value in enumerate(values, first):
            if number <= len(outputs):
                assert repr(outputs[number - 1]) == repr(value), f"output {number} of sink {sink} differs"
            else:
                assert number == len(outputs) + 1
                outputs.append(value)

    def keep_rows(self, partition: int, log: PartitionLog) -> None:
        self.rows.setdefault(partition, {}).update(log.rows)

    def epoch_table(self) -> list[EpochRow]:
        merged: dict[int, dict[int, tuple[int, int, int, bool]]] = {}
        for partition in range(len(self.partitions)):
            rows = dict(self.rows.get(partition, {}))
            for disk in sorted(self.disks.values(), key=lambda disk: disk.adopted):
                log = disk.logs.get(partition)
                if log is not None and log.adopted == disk.adopted:
                    rows.update(log.rows)
            for epoch, row in rows.items():
                merged.setdefault(epoch, {})[partition] = row
        table, time = [], 0
        for epoch in sorted(merged):
            parts = merged[epoch]
            time = max(time, *(row[0] for row in parts.values()))
            table.append(EpochRow(epoch, time, tuple((p, r[1], r[2], r[3]) for p, r in sorted(parts.items()))))
        return table

    def post(self, sender: str, to: str, envelope: Any) -> None:
        self.links.setdefault((sender, to), deque()).append(envelope)

    # --- the coordinator

    def start_coordinator(self) -> None:
        """A new life of the coordinator: workers connect to it, and say again what they said last."""
        self.stores.clear()
        self.orders.clear()
        for node, process in self.processes.items():
            if process is not None and isinstance(process.ended, do.Finish):
                self.processes[node] = None
            elif process is not None and process.status is not None:
                self.statuses[node] = process.status
        self.kept = replace(self.kept, life=self.kept.life + 1)
        self.coordinator = self.make_coordinator()
        self.tell_coordinator(hears.Started(self.now, self.kept))

    def tell_coordinator(self, event: Any) -> None:
        for order in self.coordinator.handle(event):
            match order:
                case bids.Tell(node, what):
                    self.orders[node] = what
                case bids.Store():
                    self.stores.append(order)
                case bids.Finish():
                    self.finish = order
                case bids.Waiting():
                    pass

    # --- what happens next

    def run(self) -> bids.Finish:
        for _ in range(STEPS_MAX):
            if self.finish is not None:
                return self.finish
            self.step()
        raise AssertionError("no end")

    def step(self) -> None:
        self.now += self.random.choice((0, 0, 1, 1, 3, 7))
        choices: list[Callable[[], None]] = []
        for node, process in self.processes.items():
            if process is None:
                choices.append(partial(self.start, node))
                continue
            if node in self.paused:
                continue
            if process.answers:
                choices.append(process.answer)
            else:
                choices += [partial(self.carry, process, name) for name, orders in process.channels.items() if orders]
                if process.member.busy:
                    choices.append(partial(process.hear, has.Ticked(self.now)))
            if node in self.orders:
                choices.append(partial(self.order, node))
            if node in self.statuses:
                choices.append(partial(self.report, node))
        choices += [
            partial(self.deliver, link)
            for link, messages in self.links.items()
            if messages and link[1] not in self.paused
        ]
        if self.stores:
            choices.append(self.store)
        if not choices or self.random.random() < 0.02:
            self.now += 10
            self.tell_coordinator(hears.Ticked(self.now))
            for node, process in self.processes.items():
                if process is not None and node not in self.paused:
                    process.hear(has.Ticked(self.now))
            return
        self.random.choice(choices)()
        for process in self.processes.values():
            if process is not None and isinstance(process.ended, cdo.Restart):
                self.kill(process.node)

    def start(self, node: str) -> None:
        self.processes[node] = Process(self, node)

    def order(self, node: str) -> None:
        process, order = self.processes[node], self.orders.pop(node)
        if process is not None:
            process.hear(chas.Ordered(self.now, order))

    def report(self, node: str) -> None:
        self.tell_coordinator(hears.Heard(self.now, self.statuses.pop(node)))

    def carry(self, process: Process, name: str) -> None:
        answer = process.carry_out(process.channels[name].popleft())
        if answer is not None:
            process.answers.append(answer)

    def deliver(self, link: tuple[str, str]) -> None:
        envelope = self.links[link].popleft()
        process = self.processes.get(link[1])
        if process is not None:
            process.hear(chas.PeerSent(self.now, envelope))

    def store(self) -> None:
        order = self.stores.popleft()
        self.kept = order.kept
        self.tell_coordinator(hears.Stored(self.now, order.ticket))

    # --- faults

    def kill(self, node: str) -> None:
        """The process ends; others notice."""
        self.kills += 1
        self.processes[node] = None
        self.paused.discard(node)
        self.statuses.pop(node, None)
        for link in self.links:
            if node in link:
                self.links[link].clear()
        self._miss(node)

    def pause(self, node: str) -> None:
        """The process stands still; others take it for dead. What it has sent is still on its way."""
        process = self.processes[node]
        if process is not None:
            self.paused.add(node)
            self._miss(node)

    def resume(self, node: str) -> None:
        """It goes on as if nothing had been; what it was sent meanwhile comes."""
        self.paused.discard(node)
        process = self.processes[node]
        if process is not None and process.status is not None:
            self.statuses[node] = process.status  # as connections are made anew

    def _miss(self, node: str) -> None:
        for other, process in self.processes.items():
            if process is not None and other != node:
                process.hear(chas.LinkLost(self.now, node))
        self.tell_coordinator(hears.WorkerLost(self.now, node))

    def break_link(self, sender: str, to: str) -> None:
        """A connection is reset: what was on its way is lost, and both ends notice."""
        self.links.get((sender, to), deque()).clear()
        self.links.get((to, sender), deque()).clear()
        for node, other in ((sender, to), (to, sender)):
            process = self.processes[node]
            if process is not None:
                process.hear(chas.LinkLost(self.now, other))

    def repeat(self, link: tuple[str, str]) -> None:
        """A message on its way comes twice, the second time after everything else."""
        messages = self.links.get(link)
        if messages:
            messages.append(self.random.choice(messages))

    def wipe(self, node: str) -> None:
        """The disk is gone for good; whoever starts there is another node."""
        self.kill(node)
        del self.processes[node]
        for epoch_rows in self.disks.pop(node).logs.items():
            self.keep_rows(*epoch_rows)
        name = f"{node}+"
        self.disks[name], self.processes[name] = Disk(), None

    def add(self, node: str) -> None:
        """A node that was never there."""
        self.disks[node], self.processes[node] = Disk(), None

    def start_again(self) -> None:
        """All processes have ended; another run begins."""
        for node in self.processes:
            self.processes[node] = None
        self.links.clear()
        self.statuses.clear()
        self.paused.clear()
        self.finish = None
        self.start_coordinator()


def channel_of(order: Any) -> str:
    match order:
        case do.OpenSource() | do.ReadSource():
            return f"source {order.partition}"
        case do.OpenSink() | do.Deliver() | do.TakeToken():
            return f"sink {order.sink}"
        case do.SyncSinks():
            return "sync"
        case do.ReadChunks() | do.StageChunks() | do.CompleteCheckpoint() | cdo.PrepareCheckpoint():
            return "state"
        case _:
            return "log"
