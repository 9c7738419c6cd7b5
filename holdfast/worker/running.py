"""Running: one member's life in one generation, from its return to the cut until the next generation is asked for.

    return ─ replay ─┬─ epochs in work (flow) ─┬─ cut ─ seal ─ stage, complete, trim
                     └─ read sources ──────────┘
Invariants (`check_invariants`): applied <= closed, delivered <= min(collected, durable everywhere), sealed <=
delivered; entities stand at the end of `applied`, except while the epoch after it is half applied. Once a call has
failed nothing more is worked on: the next generation begins at a cut before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from holdfast.core.epochs import Cursor
from holdfast.core.errors import ValueTypeError
from holdfast.core.pipeline import ReturnNeededError, StopBeforeError
from holdfast.core.values import decode, encode
from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Failure, Run
from holdfast.replication import messages
from holdfast.replication.links import Links
from holdfast.replication.messages import Envelope, Message, Opening, Reached
from holdfast.replication.progress import Progress
from holdfast.worker import cluster_events, events
from holdfast.worker.cluster_effects import ClusterEffect, SendPeer, TrimEntries
from holdfast.worker.cuts import Cuts, Token
from holdfast.worker.deliver import Delivery
from holdfast.worker.effects import Effect, TakeToken
from holdfast.worker.flow import Flow
from holdfast.worker.holding import Holding
from holdfast.worker.logs import Logs
from holdfast.worker.parts import parts_of
from holdfast.worker.replay import Replay
from holdfast.worker.settings import Settings
from holdfast.worker.stages import OpenEpoch, Stages
from holdfast.worker.staging import Staging
from holdfast.worker.standing import Standing

Orders = list[Effect | ClusterEffect]
UNHEARD: Final = Run(0)  # until the coordinator, which knows whether all sources have ended, has said something


class Running:
    """One member in one generation."""

    def __init__(
        self,
        formation: Formation,
        standing: Standing,
        settings: Settings,
        holding: Holding,
        stages: Stages,
        staging: Staging,
        now: int,
    ) -> None:
        self.formation = formation
        self.node = standing.node
        self.settings = settings
        self.holding = holding
        self.stages = stages
        self.staging = staging
        self.plan = stages.plan
        self.live = self.plan.live
        self.members = tuple(member.node for member in formation.members)
        others = [(m.node, m.incarnation) for m in formation.members if m.node != self.node]
        self.links = Links(formation.number, self.node, standing.incarnation, others)
        self.progress = Progress(self.members, formation.cut)
        self.dues: dict[str, int | None] = {}
        self.logs = Logs(formation, self.node, standing.kept, standing.lineages, bytes_max=settings.replay_bytes)
        self.replay = Replay(formation.cut, formation.level, self.logs.own, settings.replay_bytes)
        self.parts = parts_of(stages.pipeline, settings)
        self.cuts = Cuts(formation.cut, len(self.plan.sink_partitions), standing.tokens, standing.time)
        self.delivery = Delivery(len(self.plan.sink_partitions), synced=not formation.in_memory)
        self.own_sinks = [s for s, owner in enumerate(formation.layout.sinks) if owner == self.node]
        self.flow = Flow(
            *(formation, settings),
            logs=self.logs,
            replay=self.replay,
            parts=self.parts,
            stages=stages,
            delivery=self.delivery,
        )
        self.numbers_at: dict[int, list[int]] = {}  # cut -> numbers of all sinks' last outputs, until tokens are told
        self.run: Run = UNHEARD
        self.now = now
        self.cut_due = now + settings.cut_ms
        self.work_began: int | None = None  # when the epoch just applied was begun
        self.changed_since_cut = False
        # Whether an epoch with records was applied since the cut of the last checkpoint.
        self.changed = formation.cut > (formation.checkpoint.epoch if formation.checkpoint is not None else 0)
        self.flagged = 0  # the last checkpoint that this member has begun, or asked for as the first member
        self.careful: tuple[int, ...] = ()
        self.failure: Failure | None = None
        self.fatal: str | None = None
        self.output_lost = False  # an own sink has lost what it had at the cut
        self.outbox: list[tuple[str, Message]] = []
        self.told: dict[str, Reached] = {}
        stages.begin(formation, self.node, standing.time)

    def begin(self) -> Orders:
        """The generation begins."""
        tokens = self.cuts.tokens[self.formation.cut]
        for sink, (number, token) in tokens.items():
            self.delivery.restore(sink, number, token)
        known = [sink for sink in self.own_sinks if sink in tokens]
        orders: Orders = [*self.delivery.open(self.formation.cut, known), *self.replay.begin()]
        self.logs.begin()
        # Before any images: who holds those can be the only one that is left, and must know where the sinks stood.
        packed = tuple((sink, number, self._pack(token)) for sink, (number, token) in sorted(tokens.items()))
        self._tell_all(messages.Tokens(self.formation.cut, self.stages.time, packed))
        backups, lacking = sorted({b for r in self.holding.primaries for b in self.holding.holders[r].backups}), []
        for node in backups:
            wanted = [r for r in self.formation.lacks(node) if self.holding.holders[r].primary == self.node]
            if wanted:
                lacking.append(node)
                for part, last in self.holding.snapshot_parts(wanted):
                    self._send(node, messages.Snapshot(tuple(wanted), part, last))
        self.cuts.expect(backups, lacking)
        return orders

    # --- what it sends

    def _send(self, node: str, message: Message) -> None:
        self.outbox.append((node, message))

    def _tell_all(self, message: Message) -> None:
        for node in self.links.peers:
            self._send(node, message)

    def _pack(self, token: object) -> bytes:
        return encode(token, self.stages.pipeline.registry)

    @property
    def reached(self) -> Reached:
        """What this member has reached."""
        due = self.stages.pipeline.next_due() if self.live else None
        copies = self.logs.copies
        return Reached(copies.durable, self.cuts.replicated, self.delivery.delivered, copies.closed, due)

    def flush(self, *, beats: bool) -> Orders:
        """All that is to be sent, with what is reached by now; with `beats` that alone to who gets nothing else."""
        self.outbox += self.logs.outbox + self.flow.outgoing
        self.logs.outbox, self.flow.outgoing = [], []
        reached = self.reached
        self._note_reached(self.node, reached)
        orders: Orders = []
        for node, message in self.outbox:
            orders.append(SendPeer(node, self.links.wrap(node, reached, message)))
            self.told[node] = reached
        self.outbox = []
        for node in self.links.peers:
            if beats and self.told.get(node) != reached:
                self.told[node] = reached
                orders.append(SendPeer(node, self.links.wrap(node, reached, messages.Beat())))
        return orders

    def _note_reached(self, node: str, reached: Reached) -> None:
        self.progress.advance(node, durable=reached.durable, replicated=reached.replicated, delivered=reached.delivered)
        self.dues[node] = reached.due
        self.flow.opened_to = max(self.flow.opened_to, reached.closed)

    # --- what it hears

    def peer_sent(self, envelope: Envelope) -> Orders:
        """A message on one of the generation's links."""
        if not self.links.accept(envelope):
            return []
        sender, message = envelope.sender, envelope.message
        self._note_reached(sender, envelope.reached)
        match message:
            case messages.Stage():
                self.flow.stage_came(sender, message)
            case messages.Records():
                self.flow.records_came(sender, message)
            case messages.Answered():
                return [self.stages.keeping.answer_of(message)]
            case messages.LogHeld():
                return [*self.logs.log_held(sender, message)]
            case messages.LogInstalled():
                return [*self.logs.installed(message)]
            case messages.LogCopied():
                return [*self.logs.copied(message)]
            case messages.Snapshot():
                self.holding.take_snapshot(self.formation.cut, message.ranges, message.chunks, last=message.last)
                if message.last:
                    self._send(sender, messages.ImagesHeld(self.formation.cut))
            case messages.UpdateSet():
                self.holding.take(sender, message.cut, message.chunks, last=message.last)
                if message.last:
                    self._send(sender, messages.ImagesHeld(message.cut))
            case messages.ImagesHeld():
                self.cuts.hold(sender, message.cut)
            case messages.Tokens():
                return self._tokens_came(message)
        return []

    def handle(self, event: Any) -> Orders:
        """An answer of the own stores, sources and sinks."""
        match event:
            case cluster_events.CursorRead():
                return self._cursor_read(event.partition, event.cursor)
            case cluster_events.EntriesRead():
                if event.reader:
                    return [*self.logs.entries_read(event.reader, event.partition, event.entries)]
                self.replay.entries_read(event.partition, event.entries)
            case cluster_events.EntriesSynced():
                for number in self.logs.synced(event.ticket):
                    self.flow.synced(number)
            case events.SourceRead():
                self.parts.read(event)
            case events.Delivered():
                self.delivery.acknowledged(event.sink, event.last)
            case events.TokenTaken():
                self._token_taken(event)
            case events.ChunksStaged():
                return self.staging.chunks_staged(event.checkpoint)
            case events.SinksSynced():
                return self.staging.sinks_synced(event.checkpoint)
            case cluster_events.CheckpointPrepared():
                self.staging.checkpoint_prepared(event.checkpoint)
            case events.CheckpointCompleted():
                return self._completed(event.checkpoint)
            case cluster_events.OutputLost():
                self.output_lost = True
        return []

    def _tokens_came(self, message: messages.Tokens) -> Orders:
        tokens = [(s, (number, decode(t, self.stages.pipeline.registry))) for s, number, t in message.sinks]
        orders = self._learn(message.time, tokens) if message.cut == self.formation.cut else []
        for sink, token in tokens:
            self.cuts.note(message.cut, sink, token)
        return orders

    def _learn(self, time: int, tokens: Sequence[tuple[int, Token]]) -> Orders:
        """Someone who was there knows when the last turn was, and where the sinks stood that this member has got.

        Everyone says so before anything else, so nothing is applied before it is known.
        """
        cut = self.formation.cut
        assert self.flow.applied == cut
        self.stages.time = self.cuts.times[cut] = max(self.stages.time, time)
        orders: Orders = []
        for sink, (number, token) in tokens:
            if sink in self.own_sinks and sink not in self.cuts.tokens[cut]:
                self.delivery.restore(sink, number, token)
                orders += self.delivery.open(cut, [sink])
        return orders

    def _cursor_read(self, partition: int, cursor: Cursor) -> Orders:
        self.replay.cursor_read(partition, cursor)
        if not self.replay.has_cursors:
            return []
        cursors = sorted(self.replay.cursors.items())
        self.parts.begin(cursors)
        self.stages.clocks = {index: own.clock for index, own in cursors}
        return [*self.replay.ask()]

    def _token_taken(self, event: events.TokenTaken) -> None:
        """An own sink has said where it stands at a cut (whose epoch is what the order called its checkpoint)."""
        number = self.numbers_at[event.checkpoint][event.sink]
        self.cuts.note(event.checkpoint, event.sink, (number, event.token))
        tokens = self.cuts.tokens.get(event.checkpoint, {})
        if all(sink in tokens for sink in self.own_sinks):
            own = tuple((s, tokens[s][0], self._pack(tokens[s][1])) for s in self.own_sinks)
            self._tell_all(messages.Tokens(event.checkpoint, 0, own))
            del self.numbers_at[event.checkpoint]

    def _completed(self, checkpoint: int) -> Orders:
        """It counts here as well: what the logs hold up to it is not needed any more."""
        record = self.staging.completed(checkpoint)
        if record is None:
            return []
        return [TrimEntries(record.epoch, self.logs.held)]

    # --- orders

    def ordered(self, run: Run) -> Orders:
        """The coordinator's wishes; level-triggered."""
        self.run = run
        self.parts.stopping = run.stopping
        return self.staging.complete(run.complete) if run.complete else []

    # --- the way forward, after every event

    def advance(self, now: int, *, ticked: bool) -> Orders:
        """What can be done now. Work is done a piece at a time, when all that has happened was heard: on Ticked."""
        if self.work_began is not None:
            self.parts.worked(now - self.work_began)
            self.work_began = None
        self.now = now
        if self.is_halted:
            return []
        orders: Orders = [*self._close(), *self.parts.telling.upto(self.progress.durable)]
        if ticked:
            self._work()
        self.flow.collect()
        orders += [*self._hand_out(), *self._seal()]
        self._begin_checkpoint_at_limit()
        return orders

    @property
    def is_halted(self) -> bool:
        """Whether a call has failed, or a sink can't go on from the cut: only another generation can."""
        return bool(self.careful) or self.failure is not None or self.fatal is not None or self.output_lost

    @property
    def has_work(self) -> bool:
        """Whether there is work that no answer will bring."""
        return not self.is_halted and (self.flow.may_compute or self.flow.may_apply)

    # --- closing epochs

    def _close(self) -> Orders:
        if not self.replay.has_cursors:
            return []
        orders: Orders = []
        self.flow.close_replayed()
        if self.flow.is_replaying:
            return [*self.replay.ask()]
        if not self.parts.opened and not self.flow.is_last:
            orders += self.parts.open()
        while self._may_close():
            orders += self._close_next()
        if not self.flow.is_last and self._wants_records():
            orders += self.parts.ask(self.flow.rounds_of(self.flow.closed + 1))
        return orders

    def _wants_records(self) -> bool:
        if not self.run.stopping:
            return not self.live or self.flow.may_overlap
        return not self.live and (self.flow.opened_to > self.flow.closed or self._flag_waits())

    def _may_close(self) -> bool:
        flow = self.flow
        if flow.is_last or not self.logs.caught_up:
            return False  # new entries go behind the adopted log, at the backups as well
        if not self.live and self.parts.unended and not self.parts.is_ready:
            return False
        if flow.opened_to > flow.closed:
            return True  # somebody waits for this member's part
        if not flow.has_room or flow.closed - self.cuts.sealed > self.settings.unsealed_max:
            return False
        if self._flag_waits() or self._alarm_is_due():
            return True
        if self.run.stopping:
            return False
        if self.live:  # what comes while the last commit runs is the next epoch
            return self.parts.has_waiting and self.logs.copies.synced == flow.closed and flow.may_overlap
        return bool(self.parts.unended)

    def _close_next(self) -> Orders:
        number = self.flow.closed + 1
        entries = self.parts.close(number, self.formation.number, self.now)
        if self._alarm_is_due() and not any(entry.chunk.partition == 0 for entry in entries):
            entries.insert(0, self.parts.alarm(0, number, self.formation.number, self.now))
        return self.flow.close_new(entries)

    def _flag_waits(self) -> bool:
        """Whether this member, the first, is to carry a checkpoint and has no epoch that could."""
        return self._flag_may_ride() and self.flow.computed == self.flow.closed

    def _alarm_is_due(self) -> bool:
        """With live sources a due timer alone opens an epoch; not once all have ended, which is a stop as well."""
        if not self.live or self.run is UNHEARD or self.run.stopping:
            return False
        if min(self.progress.delivered, self.delivery.delivered) < self.flow.closed:
            return False
        return (due := self.next_due) is not None and due <= self.now

    # --- work

    def _work(self) -> None:
        try:
            if self.flow.may_apply:
                self.work_began = self.now
                epoch, outgoing = self.flow.apply()
                self.outbox += outgoing
                if epoch.applied:
                    self._applied(epoch)
            elif self.flow.may_compute:
                self.outbox += self.flow.compute(self._opening())
        except ReturnNeededError as needed:
            self.careful = (needed.step,)
        except StopBeforeError as stop:
            self.failure = self.flow.failure(stop)
        except ValueTypeError as error:
            self.fatal = str(error)

    def _opening(self) -> Opening:
        """What this member asks for with the epoch that it computes next."""
        checkpoint = 0
        if self._flag_may_ride():
            checkpoint = self.flagged = self.run.checkpoint
        is_due = self.changed_since_cut and self.now >= self.cut_due
        cut = is_due and not self.flow.cut_is_coming
        # However fast epochs follow one another: no more are opened when too many are not sealed, and without another
        # epoch nobody could ask for the cut that seals them.
        cut |= self.flow.computed + 1 - self.cuts.made[-1] >= max(1, self.settings.unsealed_max // 2)
        return Opening(False, 0, (), self.parts.proposal, cut, checkpoint)

    def _flag_may_ride(self) -> bool:
        first = self.node == self.members[0] and self.formation.limit is None
        return first and self.run.checkpoint > self.flagged

    def _applied(self, epoch: OpenEpoch) -> None:
        """An epoch is over here: entities stand at its end."""
        if epoch.logged:
            self.changed = self.changed_since_cut = True
        limit = self.flow.limit_at(epoch.number)
        if not epoch.cut and limit is None:
            return
        self.changed_since_cut = False
        chunks = self.holding.cut(epoch.number)
        self.cut_due = self.now + self.settings.cut_ms_after(chunks.rows)
        self.cuts.make(epoch.number, self.stages.time)
        self.outbox += [(node, part) for node in self.cuts.held for part in chunks.update_sets(epoch.number, node)]
        epoch.cut = True
        if epoch.checkpoint and limit is None:
            self.changed = False
            self.staging.begin(epoch.checkpoint, epoch.number, self.stages.time, None)

    # --- outputs, sealing, checkpoints

    def _hand_out(self) -> Orders:
        orders: Orders = [*self.stages.keeping.acknowledged(self.progress.durable)]
        while True:
            epoch = self.flow.next_to_hand_out(self.progress.durable)
            if epoch is None:
                return orders
            orders += self.delivery.hand_out(epoch.number, epoch.outputs, durable=self.progress.durable)
            if epoch.cut and self.own_sinks:
                self.numbers_at[epoch.number] = [own.number for own in self.delivery.sinks]
                orders += [TakeToken(sink, epoch.number) for sink in self.own_sinks]
            orders += self.stages.keeping.hand_out(epoch.answers, self.outbox)

    def _seal(self) -> Orders:
        """What is sealed by now, and what waited for that."""
        self._note_reached(self.node, self.reached)
        limit = self.formation.limit
        pending = self.staging.pending
        orders: Orders = []
        if pending is not None and pending.record is None and self.progress.sealed >= pending.cut:
            ended = self.parts.had_ended(pending.cut)
            tokens = self.cuts.tokens[pending.cut]
            orders = self.staging.sealed(tokens, len(self.own_sinks), generation=self.formation.number, ended=ended)
        if self.cuts.seal(self.progress, limit.epoch if limit is not None else None):
            self.holding.sealed(self.cuts.sealed)
        return orders

    def _begin_checkpoint_at_limit(self) -> None:
        """The last checkpoint of all stands inside the epoch that ends early: no other epoch could carry it."""
        limit, wanted = self.formation.limit, self.run.checkpoint
        if limit is not None and wanted > self.flagged and self.flow.applied >= limit.epoch:
            self.flagged = wanted
            self.staging.begin(wanted, limit.epoch, self.stages.time, limit)

    # --- looking at it

    @property
    def applied(self) -> int:
        """The last epoch applied whole."""
        limit = self.formation.limit
        return self.flow.applied if limit is None else min(self.flow.applied, limit.epoch - 1)

    @property
    def caught_up(self) -> bool:
        """Whether the backups have all that they must have."""
        return self.cuts.caught_up and self.logs.caught_up

    @property
    def told_failure(self) -> Failure | None:
        """The failure, once its epoch can't be lost: the place would name another record in another epoch."""
        failure = self.failure
        return failure if failure is not None and self.progress.durable >= failure.limit.epoch else None

    @property
    def next_due(self) -> int | None:
        """When the first timer of all members is due, where it can open an epoch: whose log keeps the time."""
        return min((due for due in self.dues.values() if due is not None), default=None) if 0 in self.logs.own else None

    @property
    def is_resting(self) -> bool:
        """Whether nothing will happen here by itself any more."""
        flow = self.flow
        if self.is_halted or (flow.is_replaying and not flow.is_last) or not self.replay.has_cursors:
            return False
        if flow.opened_to > flow.closed or self.delivery.waiting:
            return False
        if min(flow.applied, self.progress.durable, self.progress.delivered) < flow.closed:
            return False
        return flow.is_last or self.run.stopping or not self.parts.unended

    def check_invariants(self) -> None:
        """Assert what must hold after every event."""
        flow = self.flow
        assert flow.collected <= flow.applied <= flow.computed <= flow.closed
        assert self.delivery.delivered <= flow.handed_out <= max(self.progress.durable, self.formation.cut)
        assert self.cuts.sealed <= max(self.delivery.delivered, self.formation.cut)
