"""One life of a worker machine: carries out its effects on real stores, sources and sinks, and feeds it what happens.

Everything here runs on the engine thread; other threads only put events into the inbox. The machine decides.
Invariant: effects are carried out in the order given, and each that has an answer leads to exactly one event.
An epoch that arrives while nothing else is to be done is committed right here, because handing it to another thread
costs more than the commit; otherwise the log's own thread commits all that has gathered in one transaction.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import Any

from holdfast.connectors.interface import OpenSink, OpenSource
from holdfast.core.epochs import Epoch
from holdfast.core.types import TypeRegistry
from holdfast.runtime.acknowledger import Acknowledger
from holdfast.runtime.clock import WAIT_SECONDS_MAX, now
from holdfast.runtime.deliveries import Delivery, open_delivery
from holdfast.runtime.desk import Desk, Knock
from holdfast.runtime.held import opened
from holdfast.runtime.intake import Intake, SentIntake, SourceFailed, open_intake
from holdfast.runtime.latencies import Latencies
from holdfast.runtime.log_writer import LogWriter
from holdfast.runtime.mailbox import Mailbox
from holdfast.runtime.points import APPLIED, INTAKE, RECOVERING, SYNCED, TRIMMING, WAITING, Probe
from holdfast.runtime.skips import Skips
from holdfast.runtime.state_writer import StateWriter
from holdfast.storage.log import Log
from holdfast.storage.state import State
from holdfast.worker import effects, events
from holdfast.worker.machine import Worker

# How long the machine may hear nothing while something is under way.
TICK_SECONDS = 0.005
# A start hands the machine checkpoint chunks in pieces of about this size, so that few of them are in memory twice.
CHUNKS_BYTES_MAX = 16 << 20
ROWS_AT_ONCE = 1024


class Life:
    """From `Started` to `Return` or `Finish`."""

    def __init__(
        self,
        worker: Worker,
        *,
        log: Log,
        state: State,
        sources: list[tuple[OpenSource, str]],
        sinks: list[OpenSink],
        registry: TypeRegistry,
        probe: Probe,
        keep_log: bool,
        on_ready: Callable[[], None],
        desk: Desk,
        mailboxes: dict[int, Mailbox],
        skips: Skips,
    ) -> None:
        """`mailboxes` are those of the desk, by number of the partition."""
        self.worker = worker
        self.latencies = Latencies()
        self.failure: Exception | None = None  # of a source: what to end with after a clean stop
        self._log = log
        self._state = state
        self._sources = sources  # (source, partition) by number of the partition
        self._sinks = sinks
        self._probe = probe
        self._keep_log = keep_log
        self._on_ready: Callable[[], None] | None = on_ready
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._log_writer = LogWriter(log, self.inbox.put, probe)
        self._state_writer = StateWriter(state, registry, self.inbox.put, probe)
        self._acknowledger = Acknowledger(sources, self.inbox.put)
        self._intakes: dict[int, Intake] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._happened: deque[Any] = (
            deque()
        )  # events, or iterators of them, that came about here; handled before the inbox
        self._appends: list[Epoch] = []  # ordered, not yet handed to anybody
        self._registry = registry
        self._desk = desk
        self._mailboxes = mailboxes
        self._skips = skips
        self._stop_asked = False  # because the desk closes
        self._wake_at: int | None = None
        self._end: effects.Return | effects.Finish | None = None
        self._carry_out: dict[type, Callable[[Any], None]] = {
            effects.ReadChunks: self._read_chunks,
            effects.ReadLog: self._read_log,
            effects.OpenSource: self._open_source,
            effects.ReadSource: self._read_source,
            effects.AppendLog: self._append_log,
            effects.Acknowledge: self._acknowledge,
            effects.TellSource: lambda order: self._acknowledger.tell(order.partition, order.offset),
            effects.Answer: self._answer,
            effects.OpenSink: self._open_sink,
            effects.Deliver: self._deliver,
            effects.TakeToken: self._take_token,
            effects.StageChunks: self._stage_chunks,
            effects.SyncSinks: self._sync_sinks,
            effects.CompleteCheckpoint: self._complete_checkpoint,
            effects.TrimLog: self._trim_log,
            effects.LoadRows: self._load_rows,
            effects.ReadRows: self._read_rows,
            effects.FoldRows: self._fold_rows,
            effects.WakeAt: self._wake,
            effects.Return: self._finish,
            effects.Finish: self._finish,
        }

    def run(self) -> effects.Return | effects.Finish:
        """Live until the machine ends it; raises what a store, a source or a sink raised."""
        worker, handle = self.worker, self.worker.handle
        self._desk.attach(self.inbox.put)
        self._happened.append(events.Started(now(), self._state.record(), self._log.tail()))
        while self._end is None:
            event = self._next_event()
            if type(event) is events.LogSynced:
                self._probe.passed(SYNCED)
            elif type(event) is events.StopAsked:
                for delivery in self._deliveries.values():
                    delivery.hurry()
            for effect in handle(event):
                self._carry_out[type(effect)](effect)
            if self._appends:
                self._commit()
            if worker.pipeline.skipped.untold:
                self._skips.tell(event.now, worker.plan.steps, worker.pipeline.skipped)
            if self._desk.has_questions or self._desk.is_closing:
                self._serve_desk()
            awaited = self.latencies.next_epoch
            if awaited is not None and worker.progress.delivered >= awaited:
                self.latencies.delivered(worker.progress.delivered)
            self._probe.handled(worker)
        return self._end

    def close(self) -> None:
        """Let go of everything but the stores, after what was ordered of them is done."""
        for intake in self._intakes.values():
            intake.close()
        self._log_writer.close()
        self._state_writer.close()
        for delivery in self._deliveries.values():
            delivery.close()
        self._acknowledger.close()

    def raise_late(self) -> None:
        """After `close`: raise what went wrong in a thread when the machine had ended already."""
        while not self.inbox.empty():
            late = self.inbox.get_nowait()
            if isinstance(late, BaseException):
                raise late
        if self._acknowledger.failure is not None:
            raise self._acknowledger.failure

    def finish(self) -> None:
        """All is written: nothing may stand behind the last output. What this life did not open is looked at now."""
        for number, sink in enumerate(self._sinks):
            if number in self._deliveries:
                self._deliveries[number].finish()
            else:
                stands = self.worker.delivery.sinks[number]
                sink.open(stands.token, stands.number, owned=True).close()
        self.check_inputs(but=self._intakes)

    def check_inputs(self, but: Container[int] = ()) -> None:
        """What was read must still be what it was: who mends a record that is logged already would wait in vain."""
        for number, (source, name) in enumerate(self._sources):
            if number not in but:
                source.open(name, self.worker.intake.partitions[number].offset).close()

    # --- events

    def _next_event(self) -> Any:
        while self._happened:
            event = self._happened.popleft()
            if not isinstance(event, Iterator):
                return event
            part = next(event, None)
            if part is not None:
                self._happened.appendleft(event)
                return part
        while True:
            event = self._take()
            if isinstance(event, SourceFailed):
                self.failure = event.error
                return events.StopAsked(now())
            if isinstance(event, BaseException):
                raise event
            if type(event) is not Knock:
                return event
            self._hear_knock()
            if self._happened:
                return self._happened.popleft()

    def _take(self) -> Any:
        if self.worker.busy:
            return self.inbox.get_nowait() if not self.inbox.empty() else events.Ticked(now())
        quiet = self._quiet()
        if quiet and self.inbox.empty():
            self._probe.passed(WAITING)
        timeout = None if quiet else TICK_SECONDS
        if self._wake_at is not None:
            until = min(WAIT_SECONDS_MAX, max(0.0, (self._wake_at - now()) / 1000))
            timeout = until if timeout is None else min(timeout, until)
        try:
            return self.inbox.get(timeout=timeout)
        except queue.Empty:
            return events.Ticked(now())

    def _quiet(self) -> bool:
        """Whether nothing is under way that will be answered by itself; live sources may stay silent for ever."""
        return (
            self._log_writer.idle
            and self._state_writer.idle
            and all(delivery.idle for delivery in self._deliveries.values())
        )

    def _commit(self) -> None:
        epochs, self._appends = self._appends, []
        self._state_writer.keep_hints_here()
        alone = (
            not self.worker.busy
            and not self._happened
            and self.inbox.empty()
            and self._log_writer.idle
        )
        if not alone:
            self._log_writer.append(epochs)
            return
        self._log_writer.append_here(epochs)
        self._happened.append(events.LogSynced(now(), epochs[-1].number))

    # --- log

    def _append_log(self, order: effects.AppendLog) -> None:
        self._appends.append(order.epoch)
        self.latencies.closed(order.epoch.number, sum(chunk.count for chunk in order.epoch.chunks))

    def _read_log(self, order: effects.ReadLog) -> None:
        self._probe.passed(RECOVERING)
        epochs = self._log.read(order.after, order.bytes_max)
        self._happened.append(events.LogRead(now(), tuple(epochs)))

    def _trim_log(self, order: effects.TrimLog) -> None:
        if self._keep_log:
            self._probe.passed(TRIMMING)
        else:
            self._log_writer.trim(order.upto)

    # --- state

    def _read_chunks(self, order: effects.ReadChunks) -> None:
        self._probe.passed(RECOVERING)
        self._happened.append(self._chunks())

    def _chunks(self) -> Iterator[events.ChunksRead]:
        """The checkpoint in pieces, each read when the machine is done with the one before."""
        chunks: list[bytes] = []
        size = 0
        for _, chunk in self._state.chunks():
            if chunks and size + len(chunk) > CHUNKS_BYTES_MAX:
                yield events.ChunksRead(now(), tuple(chunks), last=False)
                chunks, size = [], 0
            chunks.append(chunk)
            size += len(chunk)
        yield events.ChunksRead(now(), tuple(chunks), last=True)

    def _stage_chunks(self, order: effects.StageChunks) -> None:
        self._state_writer.stage(order.checkpoint, order.chunks)

    def _sync_sinks(self, order: effects.SyncSinks) -> None:
        self._state_writer.sync(order.checkpoint, [delivery.sync for delivery in self._deliveries.values()])

    def _complete_checkpoint(self, order: effects.CompleteCheckpoint) -> None:
        self._state_writer.complete(order.checkpoint, order.record, order.drop_before)

    def _load_rows(self, order: effects.LoadRows) -> None:
        self._happened.append(events.RowsLoaded(now(), tuple(self._state.load(order.step, order.keys))))

    def _read_rows(self, order: effects.ReadRows) -> None:
        self._probe.passed(RECOVERING)
        self._happened.append(self._rows_of(order.step))

    def _rows_of(self, step: int) -> Iterator[events.RowsRead]:
        """In pieces, each read when the machine is done with the one before."""
        rows = self._state.rows_of(step)
        while piece := tuple(islice(rows, ROWS_AT_ONCE)):
            yield events.RowsRead(now(), piece, last=False)
        yield events.RowsRead(now(), (), last=True)

    def _fold_rows(self, order: effects.FoldRows) -> None:
        self._happened.append(self._state_writer.fold_here(order.rows, (order.checkpoint, order.chunk)))

    # --- sources

    def _open_source(self, order: effects.OpenSource) -> None:
        source, partition = self._sources[order.partition]
        if order.partition in self._mailboxes:
            self._intakes[order.partition] = SentIntake(
                order.partition, self._mailboxes[order.partition], order.offset
            )
            return
        reader = source.open(partition, order.offset)
        self._intakes[order.partition] = open_intake(source, order.partition, partition, reader, self.inbox.put)

    def _read_source(self, order: effects.ReadSource) -> None:
        if self._on_ready is not None:
            self._on_ready()
            self._on_ready = None
        self._probe.passed(INTAKE)
        event = self._intakes[order.partition].ask(order.records_max)
        pause = self._probe.pause()
        if event is not None and pause:
            threading.Timer(pause, self.inbox.put, [event]).start()
        else:
            self._happen(event)

    # --- callers in this process

    def _hear_knock(self) -> None:
        for intake in self._intakes.values():
            if isinstance(intake, SentIntake):
                self._happen(intake.heard())
        self._serve_desk()

    def _serve_desk(self) -> None:
        self._desk.answer_questions(self.worker, self._state, self._registry)
        if self._desk.is_closing and self._desk.is_empty and not self._stop_asked:
            self._stop_asked = True
            self._happened.append(events.StopAsked(now()))

    def _acknowledge(self, order: effects.Acknowledge) -> None:
        if order.partition in self._mailboxes:
            self._mailboxes[order.partition].acknowledge(order.upto)

    def _answer(self, order: effects.Answer) -> None:
        if order.partition in self._mailboxes:
            self._probe.passed(APPLIED)
            self._mailboxes[order.partition].answer(order.first + order.count, order.answers)

    # --- sinks

    def _open_sink(self, order: effects.OpenSink) -> None:
        sink = self._sinks[order.sink]
        writer = opened(lambda: sink.open(order.token, order.number, owned=True))
        self._deliveries[order.sink] = open_delivery(sink, order.sink, writer, self._probe, self.inbox.put)

    def _deliver(self, order: effects.Deliver) -> None:
        self._probe.passed(APPLIED)
        self._happen(self._deliveries[order.sink].deliver(order))

    def _take_token(self, order: effects.TakeToken) -> None:
        self._happen(self._deliveries[order.sink].take_token(order))

    # --- the rest

    def _happen(self, event: Any) -> None:
        if event is not None:
            self._happened.append(event)

    def _wake(self, order: effects.WakeAt) -> None:
        self._wake_at = order.time

    def _finish(self, order: effects.Return | effects.Finish) -> None:
        self._end = order
