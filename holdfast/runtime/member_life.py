"""One life of a member of a cluster: carries out its effects on real stores, sources, sinks and links.

Everything here runs on the engine thread; other threads only put events into the inbox, which also reads the links. The
machine decides, on all that has happened at once. Invariant: effects are carried out in the order given; after `Quiet`
no answer to an earlier order comes. How messages travel is not known here: they are handed to `send`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.connectors.interface import OpenSink, OpenSource
from holdfast.connectors.send import Send
from holdfast.core.errors import HoldfastError, OutputHeldError
from holdfast.core.types import TypeRegistry
from holdfast.recovery.messages import Run, Status
from holdfast.replication.messages import Envelope
from holdfast.runtime.acknowledger import Acknowledger
from holdfast.runtime.clients import Clients
from holdfast.runtime.clock import now
from holdfast.runtime.deliveries import Delivery, open_delivery
from holdfast.runtime.desk import Knock
from holdfast.runtime.held import WaitingDelivery
from holdfast.runtime.intake import Intake, SentIntake, SourceFailed, open_intake
from holdfast.runtime.latencies import Latencies
from holdfast.runtime.mailbox import Mailbox
from holdfast.runtime.member_log_writer import MemberLogWriter
from holdfast.runtime.points import Probe
from holdfast.runtime.query import Question, Reply, Waiting
from holdfast.runtime.reopening import LostDelivery, boot_id, reopen
from holdfast.runtime.skips import Skips
from holdfast.runtime.state_writer import StateWriter
from holdfast.runtime.stranded import LineLost, ReleasedDelivery
from holdfast.runtime.transport.inbox import Inbox
from holdfast.storage.partition_log import PartitionLog
from holdfast.storage.state import State
from holdfast.worker import cluster_effects, cluster_events, effects, events
from holdfast.worker.cluster_effects import ClusterEffect
from holdfast.worker.cluster_events import Found
from holdfast.worker.member import Member

TICK_SECONDS = 0.005  # how long the machine may hear nothing while something is under way …
IDLE_SECONDS = 0.1  # … and at all: cuts, alarms and checkpoints become due by themselves


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for a state."""

    question: Question
    reply: Reply


# What comes from the inbox and is not for the machine.
NO_EVENTS = (BaseException, SourceFailed, Knock, LineLost, Asked)
# What waits in the inbox and is no answer to an order.
STAYING = (
    *(BaseException, SourceFailed, Asked, LineLost),
    *(cluster_events.PeerSent, cluster_events.Ordered, cluster_events.LinkLost, cluster_events.LineMade),
)


class MemberLife:
    """From `Booted` to `Restart` or `Finish`."""

    def __init__(
        self,
        member: Member,
        *,
        node: str,
        log: PartitionLog,
        state: State,
        sources: list[tuple[str, OpenSource, str]],
        clients: Clients,
        sinks: list[OpenSink],
        registry: TypeRegistry,
        probe: Probe,
        inbox: Inbox,
        send: Callable[[str, Sequence[Envelope]], None],
        tell: Callable[[Status], None],
        is_crowded: Callable[[], bool] = lambda: False,
        report: Callable[[str], None] = lambda line: None,
        keep_log: bool = False,
    ) -> None:
        """`send` takes what goes to a peer, `tell` what goes to the coordinator, `report` lines for people.

        While `is_crowded` no more is read from sources. With `keep_log` nothing is ever trimmed: the logs then hold all
        input, for a comparison afterwards.
        """
        self._is_crowded = is_crowded
        self.member = member
        self.inbox = inbox
        self.failure: HoldfastError | None = None  # of a source
        self.latencies = Latencies()
        self._questions = Waiting()
        self._skips = Skips()
        self._node = node
        self._log = log
        self._state = state
        self._sources = sources  # (name of the source, source, partition) by number of the partition
        self._clients = clients
        self._mailboxes: dict[int, Mailbox] = {}  # of own partitions that take what is sent
        self._sinks = sinks
        self._probe = probe
        self._boot = boot_id()
        self._send = send
        self._report = report
        self._keep_log = keep_log
        self._log_writer = MemberLogWriter(log, self.inbox.put)
        self._state_writer = StateWriter(state, registry, self.inbox.put, probe)
        self._acknowledger = Acknowledger([(source, name) for _, source, name in sources], self.inbox.put)
        self._intakes: dict[int, Intake] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._happened: deque[Any] = deque()  # events that came about here; handled before the inbox
        self._held_back: list[effects.ReadSource] = []
        self._life = 0  # answers of sources and sinks that were opened before the last Quiesce are void
        self._has_line = False  # to the coordinator
        self._end: effects.Finish | cluster_effects.Restart | None = None
        self._carry_out: dict[type, Callable[[Any], None]] = {
            cluster_effects.SendStatus: lambda order: tell(order.status),
            cluster_effects.Quiesce: self._quiesce,
            cluster_effects.AdoptFormation: self._log_writer.give,
            cluster_effects.InstallLog: self._log_writer.give,
            cluster_effects.AppendEntries: self._append,
            cluster_effects.TrimEntries: self._trim,
            cluster_effects.ReadEntries: self._read_entries,
            cluster_effects.ReadCursor: self._read_cursor,
            cluster_effects.PrepareCheckpoint: self._prepare,
            cluster_effects.Restart: self._finish,
            effects.TellSource: lambda order: self._acknowledger.tell(order.partition, order.offset),
            effects.ReadChunks: self._read_chunks,
            effects.OpenSource: self._open_source,
            effects.ReadSource: self._read_source,
            effects.Acknowledge: self._acknowledge,
            effects.Answer: self._answer,
            effects.OpenSink: self._open_sink,
            effects.Deliver: self._deliver,
            effects.TakeToken: self._take_token,
            effects.StageChunks: self._stage_chunks,
            effects.SyncSinks: self._sync_sinks,
            effects.CompleteCheckpoint: self._complete_checkpoint,
            effects.Finish: self._finish,
        }

    def run(self) -> effects.Finish | cluster_effects.Restart:
        """Live until the machine ends it; raises what a store, a source or a sink raised."""
        identity = self._state.identity()
        self._happened.append(cluster_events.Booted(now(), self._node, identity.incarnation, self._found()))
        while self._end is None:
            batch: list[Any] = []
            for event in self._happenings():
                if not isinstance(event, NO_EVENTS):
                    batch.append(event)
                    continue
                # Each has its place among the events: what came before it is handled before.
                self._handle(batch)
                batch = []
                if self._end is None:
                    self._note(event)
            self._handle(batch)
        return self._end

    def _handle(self, batch: list[Any]) -> None:
        """Let the machine know, and do what it wants."""
        if not batch or self._end is not None:
            return
        for event in batch:
            if isinstance(event, cluster_events.Ordered):
                self._note_stop(event.order.order)
        orders = self.member.handle_all(batch)
        if any(isinstance(event, cluster_events.LinkLost | cluster_events.LineMade) for event in batch):
            self._has_line |= any(isinstance(event, cluster_events.LineMade) for event in batch)
            self._let_go_where_stranded()
        self._carry_out_all(orders)
        self._read_on()
        self._measure()
        if self._questions:
            self._questions.serve(self.member.running)

    def _note(self, happened: Any) -> None:
        """What is no business of the machine."""
        match happened:
            case SourceFailed():
                raise happened.error
            case BaseException():
                raise happened
            case Knock():
                for intake in self._intakes.values():
                    if isinstance(intake, SentIntake):
                        self._happen(intake.heard())
            case LineLost():
                self._has_line = False
                self._let_go_where_stranded()
            case Asked():  # the machine is only looked at
                self._questions.hear(happened.question, happened.reply, self.member.running)
                self._questions.serve(self.member.running)

    def _measure(self) -> None:
        """What people are told: whether what was waited for is delivered by now, and what was skipped."""
        awaited, running = self.latencies.next_epoch, self.member.running
        if running is not None and running.stages.pipeline.skipped.untold:
            self._skips.tell(now(), running.plan.steps, running.stages.pipeline.skipped)
        if awaited is not None and running is not None and running.progress.delivered >= awaited:
            self.latencies.delivered(running.progress.delivered)

    def _let_go_where_stranded(self) -> None:
        """Let go of the sinks where this member neither can go on in its generation nor hears of the next."""
        running = self.member.running
        if self._has_line or running is None or not running.links.lost:
            return
        held = {n: own for n, own in self._deliveries.items() if not isinstance(own, ReleasedDelivery)}
        released = {sink: ReleasedDelivery(delivery) for sink, delivery in held.items()}
        self._deliveries |= released
        self._state_writer.let_go([delivery.release for delivery in released.values()])

    def _note_stop(self, wish: object) -> None:
        if isinstance(wish, Run) and wish.stopping:
            for delivery in self._deliveries.values():
                delivery.hurry()

    def _carry_out_all(self, ordered: Sequence[effects.Effect | ClusterEffect]) -> None:
        """In their order; what goes to one peer goes together."""
        outgoing: dict[str, list[Envelope]] = {}
        for effect in ordered:
            if isinstance(effect, cluster_effects.SendPeer):
                outgoing.setdefault(effect.to, []).append(effect.envelope)
                continue
            self._send_all(outgoing)
            self._carry_out[type(effect)](effect)
        self._send_all(outgoing)

    def _send_all(self, outgoing: dict[str, list[Envelope]]) -> None:
        for node, envelopes in outgoing.items():
            self._send(node, envelopes)
        outgoing.clear()

    def close(self) -> None:
        """Let go of everything but the stores, after what was ordered of them is done."""
        self._close_edges()
        self._log_writer.close()
        self._state_writer.close()
        self._acknowledger.close()
        if self._acknowledger.failure is not None:
            raise self._acknowledger.failure

    # --- events

    def _happenings(self) -> list[Any]:
        """All that has happened, or that time has passed; what came about here is known already."""
        if self._happened or self.member.busy or self.member.has_worked:
            moment = now()  # before sockets are read: that is no part of the work that the machine measures
            came = self.inbox.take()
        else:
            came = self.inbox.take(self._patience())
            moment = now()
        happened = [_heard(event, moment) for event in (*self._happened, *came)]
        self._happened.clear()
        return happened or [events.Ticked(moment)]

    def _patience(self) -> float:
        """How long nothing needs to be done if nothing happens."""
        if self._held_back or not self._quiet():
            return TICK_SECONDS
        due = self.member.alarm
        return IDLE_SECONDS if due is None else min(IDLE_SECONDS, max(TICK_SECONDS, (due - now()) / 1000))

    def _quiet(self) -> bool:
        return (
            self._log_writer.idle
            and self._state_writer.idle
            and all(delivery.idle for delivery in self._deliveries.values())
        )

    def _happen(self, event: Any) -> None:
        if event is not None:
            self._happened.append(event)

    def _post_of(self, life: int) -> Callable[[Any], None]:
        """What a thread of a source or sink posts with: nothing once it was closed."""
        return lambda event: self.inbox.put(event) if life == self._life else None

    # --- the promise

    def _quiesce(self, order: cluster_effects.Quiesce) -> None:
        """Let what was ordered end, close the edges, then look at what the disk holds."""
        # The others wait for the report: what a checkpoint lacks is done by the next one. No sink is closed while the
        # state's thread syncs it.
        self._state_writer.close(hurried=True)
        self._close_edges()
        self._life += 1
        self._log_writer.close(hurried=True)
        self._drop_answers()
        self._log_writer = MemberLogWriter(self._log, self.inbox.put)
        self._state_writer = self._state_writer.renewed()
        for kind in (cluster_effects.AdoptFormation, cluster_effects.InstallLog):
            self._carry_out[kind] = self._log_writer.give
        self._happened.append(cluster_events.Quiet(now(), self._found()))

    def _drop_answers(self) -> None:
        """Answers to orders given before are void; what others said, and what went wrong, is not."""
        kept = [event for event in self.inbox.take() if isinstance(event, STAYING)]
        self._happened.clear()
        self._happened.extend(kept)

    def _close_edges(self) -> None:
        for intake in self._intakes.values():
            intake.close()
        for delivery in self._deliveries.values():
            delivery.close()
        self._intakes.clear()
        self._held_back.clear()
        self._deliveries.clear()
        self._mailboxes.clear()
        self._clients.close()

    def _found(self) -> Found:
        checkpoint, record = self._state.checkpoint(), self._state.record()
        complete = None if record is None else (checkpoint, record)
        logs = tuple(sorted(self._log.lineages().items()))
        return Found(self._log.adopted()[0], logs, complete, self._state.prepared())

    # --- logs

    def _trim(self, order: cluster_effects.TrimEntries) -> None:
        if not self._keep_log:
            self._log_writer.give(order)

    def _append(self, order: cluster_effects.AppendEntries) -> None:
        assert self.member.running is not None
        own = self.member.running.logs.own
        records = sum(entry.chunk.count for entry in order.entries if entry.chunk.partition in own)
        if records:
            self.latencies.closed(order.entries[0].epoch, records)
        alone = self._log_writer.idle and not self.member.busy and not self._happened and self.inbox.empty()
        if alone and order.entries:  # handing it to another thread costs more than the commit
            self._log_writer.append_here(order)
            self._happened.append(cluster_events.EntriesSynced(now(), order.ticket))
        else:
            self._log_writer.give(order)

    def _read_entries(self, order: cluster_effects.ReadEntries) -> None:
        entries = tuple(self._log.read(order.partition, order.after, order.bytes_max))
        self._happened.append(cluster_events.EntriesRead(now(), order.partition, order.reader, entries))

    def _read_cursor(self, order: cluster_effects.ReadCursor) -> None:
        cursor = self._log.cursor(order.partition, order.epoch)
        self._happened.append(cluster_events.CursorRead(now(), order.partition, cursor))

    # --- state

    def _read_chunks(self, order: effects.ReadChunks) -> None:
        chunks = [chunk for _, chunk in self._state.chunks()]
        self._happened.append(events.ChunksRead(now(), tuple(chunks), last=True))

    def _stage_chunks(self, order: effects.StageChunks) -> None:
        self._state_writer.stage(order.checkpoint, order.chunks)

    def _sync_sinks(self, order: effects.SyncSinks) -> None:
        self._state_writer.sync(order.checkpoint, [delivery.sync for delivery in self._deliveries.values()])

    def _prepare(self, order: cluster_effects.PrepareCheckpoint) -> None:
        self._state_writer.prepare(order.checkpoint, order.record)

    def _complete_checkpoint(self, order: effects.CompleteCheckpoint) -> None:
        self._state_writer.complete(order.checkpoint, order.record, order.drop_before)

    # --- sources and sinks

    def _open_source(self, order: effects.OpenSource) -> None:
        name, source, partition = self._sources[order.partition]
        post = self._post_of(self._life)
        if isinstance(source, Send):
            mailbox = self._mailboxes[order.partition] = self._clients.open(name)
            self._intakes[order.partition] = SentIntake(order.partition, mailbox, order.offset)
            mailbox.arrived = lambda: post(Knock())
            return
        reader = source.open(partition, order.offset)
        self._intakes[order.partition] = open_intake(source, order.partition, partition, reader, post)

    def _read_on(self) -> None:
        """Ask the sources for what was not asked for while others were slow."""
        if self._held_back and not self._is_crowded():
            orders, self._held_back = self._held_back, []
            for order in orders:
                self._read_source(order)

    def _read_source(self, order: effects.ReadSource) -> None:
        if self._is_crowded():  # more input would only wait for those who are slow, in memory
            self._held_back.append(order)
            return
        event = self._intakes[order.partition].ask(order.records_max)
        pause = self._probe.pause()
        if event is not None and pause:
            threading.Timer(pause, self._post_of(self._life), [event]).start()
        else:
            self._happen(event)

    def _acknowledge(self, order: effects.Acknowledge) -> None:
        if order.partition in self._mailboxes:
            self._mailboxes[order.partition].acknowledge(order.upto)

    def _answer(self, order: effects.Answer) -> None:
        if order.partition in self._mailboxes:
            self._mailboxes[order.partition].answer(order.first + order.count, order.answers)

    def _open_sink(self, order: effects.OpenSink) -> None:
        sink, post = self._sinks[order.sink], self._post_of(self._life)

        def opened() -> Delivery:
            writer = reopen(sink, order, self._boot)
            if writer is None:
                return LostDelivery(order.sink, post)
            return open_delivery(sink, order.sink, writer, self._probe, post)

        try:
            self._deliveries[order.sink] = opened()
        except OutputHeldError:
            self._deliveries[order.sink] = WaitingDelivery(opened, post, self._report)

    def _deliver(self, order: effects.Deliver) -> None:
        self._happen(self._deliveries[order.sink].deliver(order))

    def _take_token(self, order: effects.TakeToken) -> None:
        self._happen(self._deliveries[order.sink].take_token(order))

    def _finish(self, order: effects.Finish | cluster_effects.Restart) -> None:
        self._end = order


def _heard(event: Any, moment: int) -> Any:
    """Happened now: other threads put their time into an event, and it may have waited for the end of some work."""
    return event if getattr(event, "now", moment) == moment else replace(event, now=moment)
