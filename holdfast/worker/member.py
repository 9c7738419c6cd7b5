"""A member of a cluster: from the start of a process through all its generations.

| phase | what it does | leaves when |
|---|---|---|
| JOIN | tells its status, nothing else | Ask: FENCED |
| FENCED(n) | takes no part in generations before n; reports once its writers are idle | Announce: ADOPT; a higher Ask |
| ADOPT(n) | makes the generation durable, returns to its cut | returned: RUN; a higher Ask: FENCED |
| RUN(n) | works (`running`) | Ask: FENCED; Restart, or an Announce without it: the process starts anew |

Events in (`events`, `cluster_events`), effects out (`effects`, `cluster_effects`); no clock, no disk, no network.
Invariant: a promise is never taken back in this life; memory is offered only of the generation that it was last
returned in; nothing is written in a generation before that generation is on the own disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from holdfast.core.errors import HoldfastError, ProcessingError
from holdfast.core.images import unpack
from holdfast.core.pipeline import Pipeline
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.recovery.generation import Formation
from holdfast.recovery.lineages import EMPTY, kept
from holdfast.recovery.messages import Announce, Ask, Order, Phase, Report, Restart, Run, Status
from holdfast.replication.messages import Envelope, size_of
from holdfast.replication.routes import Routes
from holdfast.worker import cluster_effects, cluster_events, events
from holdfast.worker.checkpoint import SINK_STEP
from holdfast.worker.cluster_effects import AdoptFormation, ClusterEffect, Quiesce, SendStatus
from holdfast.worker.cluster_events import Found
from holdfast.worker.cuts import Cuts, Token
from holdfast.worker.effects import CompleteCheckpoint, Effect, Finish, ReadChunks
from holdfast.worker.holding import Holding
from holdfast.worker.member_record import MemberRecord
from holdfast.worker.news import news
from holdfast.worker.running import Running
from holdfast.worker.settings import Settings
from holdfast.worker.stages import Stages
from holdfast.worker.staging import Staging
from holdfast.worker.standing import Standing

Orders = list[Effect | ClusterEffect]
# How long it may be left unsaid how far a member has got: to members, which wait for it …
PATIENCE_MS: Final = 10
NUMBERS_MS: Final = 50  # … and to the coordinator, which decides by news
# Kept of a generation that is not adopted here yet; more, and its link breaks.
EARLY_MAX: Final = 10_000  # messages
EARLY_BYTES_MAX: Final = 1 << 28  # about


class Member:
    """One worker of a cluster."""

    def __init__(
        self, plan: Plan, partitions: Sequence[tuple[int, str]], settings: Settings, registry: TypeRegistry
    ) -> None:
        """`partitions` gives, for each partition of the cluster, (source step, name of the partition)."""
        self.plan = plan
        self.partitions = partitions
        self.settings = settings
        self.registry = registry
        self.node = ""
        self.incarnation = 0
        self.phase = Phase.JOIN
        self.promised = 0
        self.heard = 0  # number of the last order of this incarnation
        self.found: Found | None = None  # once the writers are idle
        self.formation: Formation | None = None  # adopted or being adopted
        self.running: Running | None = None
        self.holding: Holding | None = None
        self.routes: Routes | None = None
        self.tokens: dict[int, Token] = {}  # of the sinks at the cut returned to
        self.time = 0  # of the last turn at that cut
        self.cuts: Cuts | None = None  # of the generation that its memory was last returned in
        self.early: list[Envelope] = []
        self.kept: dict[int, int] = {}
        self.finished = False
        self.ended: Running | None = None  # as it stood when it was told to end, to look at
        self._status = Status("", 0, 0, Phase.JOIN, 0, 0)
        self._said = 0
        self._news: object = None  # in the last status
        self._told_numbers_at = 0
        self._told_at = 0
        self._owes = False  # perhaps there is something to say of how far it has got

    def handle(self, event: Any) -> Orders:
        """The only entrance. Returns orders to be carried out in their order."""
        return self.handle_all((event,))

    def handle_all(self, happened: Sequence[Any]) -> Orders:
        """The same for several events, in their order; what follows from them is looked at once, when all are known."""
        if self.finished:
            return []
        orders: Orders = []
        for event in happened:
            orders += self._dispatch(event)
            if any(isinstance(order, Finish | cluster_effects.Restart) for order in orders):
                return orders
        event = happened[-1]
        ticked = isinstance(event, events.Ticked)
        self._owes = self.running is not None
        if self.running is not None:
            orders += self.running.advance(event.now, ticked=ticked)
            # What only says how far it has got waits until nothing else has happened; but not for long: a member that
            # always has work would never tell that its part of a checkpoint is whole.
            patient = 0 <= event.now - self._told_at < PATIENCE_MS  # the clock may have been set back
            self._owes = patient and (not ticked or self.running.has_work)
            if not self._owes:
                self._told_at = event.now
            # Others wait for what is sent; a commit or a write of this member's own would hold it up.
            orders = [*self.running.flush(beats=not self._owes), *orders]
        return orders if self._owes and self.phase is self._status.phase else orders + self._tell(event.now)

    def _dispatch(self, event: Any) -> Orders:
        match event:
            case cluster_events.Booted():
                self.node, self.incarnation = event.node, event.incarnation
                self.found = event.found
                return []
            case cluster_events.Ordered():
                return self._ordered(event.order, event.now)
            case cluster_events.PeerSent():
                return self._peer_sent(event.envelope)
            case cluster_events.LinkLost():
                if self.running is not None:
                    self.running.links.lose(event.node)
                return []
            case cluster_events.LineMade():
                self._said += 1  # what was said on the line before may be lost, or not count any more
                return []
            case cluster_events.Quiet():
                if self.phase is Phase.FENCED:
                    self.found = event.found
                return []
        if self.phase is Phase.ADOPT:
            return self._adopting(event)
        return self.running.handle(event) if self.running is not None else []

    # --- the coordinator

    def _ordered(self, order: Order, now: int) -> Orders:
        if order.incarnation != self.incarnation:
            return []  # for an earlier life of this node
        if order.number < self.heard:
            return []  # an old one: the newest says all
        if order.number == self.heard:
            self._said += 1  # it is said again because the answer was lost
        self.heard = order.number
        match order.order:
            case Ask(promise):
                return self._fence(promise)
            case Announce(formation):
                return self._announced(formation)
            case Run() as run:
                if run.finish:
                    return self._finish(run)
                if self.running is None or run.generation != self.running.formation.number:
                    return []
                return self.running.ordered(run)
            case Restart():
                return self._restart()

    def _fence(self, promise: int) -> Orders:
        """From now on it takes no part in generations before `promise`: no append, no word to anyone, no delivery."""
        if promise <= self.promised:
            return []
        self.promised = promise
        idle = self.phase is Phase.JOIN or (self.phase is Phase.FENCED and self.found is not None)
        quiescing = self.phase is Phase.FENCED and self.found is None
        self.phase = Phase.FENCED
        self.running = None
        if idle or quiescing:
            return []
        self.found = None
        return [Quiesce()]

    def _announced(self, formation: Formation) -> Orders:
        if formation.number < self.promised:
            return []
        me = formation.member(self.node)
        if me is None or me.incarnation != self.incarnation:
            return self._restart()
        if self.phase not in (Phase.FENCED, Phase.JOIN):
            return []
        if self.found is None:
            return []  # the writers are not idle; it will be announced again
        self.promised = formation.number
        self.phase, self.formation = Phase.ADOPT, formation
        lineages = dict(self.found.logs)
        self.kept = {
            partition: kept(formation, self.node, partition, lineages.get(partition, EMPTY))
            for partition, holders in enumerate(formation.layout.partitions)
            if self.node in holders.all
        }
        return [AdoptFormation(formation, tuple(self.kept.items()))]

    def _restart(self) -> Orders:
        self.finished = True
        self.running = None
        return [cluster_effects.Restart()]

    def _finish(self, run: Run) -> Orders:
        error: HoldfastError | None = None
        if self.formation is not None and self.formation.stop_error is not None:
            error = ProcessingError(self.formation.stop_error)
        self.finished = True
        self.ended = self.running
        self.phase, self.running = Phase.OVER, None
        return [SendStatus(self._renewed()), Finish(error, ended=error is None and not run.stopping)]

    # --- adopting

    def _adopting(self, event: Any) -> Orders:
        assert self.formation is not None
        match event:
            case cluster_events.Adopted(_, generation) if generation == self.formation.number:
                return self._complete_prepared() or self._return(event.now)
            case events.CheckpointCompleted():
                return self._return(event.now)
            case events.ChunksRead():
                return self._chunks_read(event)
            case _:
                return []

    def _complete_prepared(self) -> Orders:
        """A checkpoint that was prepared here and has been made to count since."""
        assert self.formation is not None
        assert self.found is not None
        checkpoint, prepared = self.formation.checkpoint, self.found.prepared
        if prepared is None:
            return []
        self.found = replace(self.found, prepared=None)
        if checkpoint is None or checkpoint.number != prepared[0]:
            return []  # it never will count, and adopting has dropped it
        self.found = replace(self.found, complete=prepared)
        record = MemberRecord.unpack(prepared[1])
        if self.holding is not None:
            self.holding.written(record.epoch)
        return [CompleteCheckpoint(prepared[0], prepared[1], 0)]

    def _return(self, now: int) -> Orders:
        """Back to the generation's cut: in memory, or from the checkpoint on the disk."""
        formation = self.formation
        assert formation is not None
        if self.holding is None or self.routes is None or self.routes.ranges != len(formation.layout.ranges):
            self._make_holding(len(formation.layout.ranges))
        assert self.holding is not None
        self.tokens, self.time = {}, 0
        if formation.in_memory:
            if self._remembers(formation):
                assert self.cuts is not None
                self.holding.at(formation.cut)
                self.tokens, self.time = self.cuts.tokens[formation.cut], self.cuts.times[formation.cut]
            else:
                primaries = {holders.primary for holders in formation.layout.ranges}
                assert self.node not in primaries, "a primary of ranges that are not in its memory"
                self.holding.forget()
            return self._begin(now)
        self.holding.forget()
        checkpoint, complete = formation.checkpoint, self._complete
        if checkpoint is None or complete is None or complete.checkpoint != checkpoint.number:
            if checkpoint is None:
                self.tokens = dict.fromkeys(range(len(self.plan.sink_partitions)), (0, None))
            return self._begin(now)
        self.time = complete.time
        return [ReadChunks()]

    def _remembers(self, formation: Formation) -> bool:
        """Whether its memory is of the past that this generation goes on from, and reaches back so far.

        A member that was away for a generation may have made a cut of the same number with another content. One that
        was named in a generation that went back to the checkpoint, and ended before it got there, has later cuts alone.
        """
        me = formation.member(self.node)
        assert me is not None
        assert self.holding is not None
        reaches = self.cuts is not None and formation.cut in self.cuts.made
        return reaches and me.since <= self.holding.returned_in

    @property
    def _complete(self) -> MemberRecord | None:
        assert self.found is not None
        return MemberRecord.unpack(self.found.complete[1]) if self.found.complete is not None else None

    def _make_holding(self, ranges: int) -> None:
        self.routes = Routes(ranges)
        pipeline = Pipeline(self.plan, self.partitions, self.registry, exchanged=True)
        books = {self.plan.stored_names[step.name]: pipeline.books[step.index] for step in self.plan.stateful}
        books |= {name: senders.book for name, senders in pipeline.sender_steps.items()}
        self.holding = Holding(books, self.registry, self.routes, keeps_undo=self.settings.backups > 0)

    def _chunks_read(self, event: events.ChunksRead) -> Orders:
        assert self.holding is not None
        for chunk in event.chunks:
            images = unpack(chunk, self.registry)
            if images.step == SINK_STEP:
                stood = dict(zip(images.keys, images.states, strict=True))  # a new sink has no token yet
                self.tokens = {n: stood.get(own.name, (0, None)) for n, own in enumerate(self.plan.sink_partitions)}
            else:
                self.holding.restore(chunk)
        return self._begin(event.now) if event.last else []

    def _begin(self, now: int) -> Orders:
        """Everything stands at the cut: work in this generation."""
        formation, holding, routes = self.formation, self.holding, self.routes
        assert formation is not None
        assert holding is not None
        assert routes is not None
        assert self.found is not None
        pipeline = Pipeline(
            *(self.plan, self.partitions, self.registry), careful=frozenset(formation.careful), exchanged=True
        )
        for step in self.plan.stateful:
            pipeline.books[step.index] = holding.books[self.plan.stored_names[step.name]]
        for name, senders in pipeline.sender_steps.items():
            senders.book = holding.books[name]
        holding.begin(formation, self.node)
        stages = Stages(pipeline, routes, slice_records=self.settings.slice_records)
        staging = Staging(holding, [own.name for own in self.plan.sink_partitions], self.registry)
        staging.returned(self._complete)
        lineages = dict(self.found.logs)
        standing = Standing(self.node, self.incarnation, self.kept, lineages, self.tokens, self.time)
        self.running = Running(formation, standing, self.settings, holding, stages, staging, now)
        self.phase, self.cuts = Phase.RUN, self.running.cuts
        orders = self.running.begin()
        early, self.early = self.early, []
        for envelope in early:
            orders += self._peer_sent(envelope)
        return orders

    # --- other members

    def _peer_sent(self, envelope: Envelope) -> Orders:
        if self.running is not None and envelope.generation == self.running.formation.number:
            return self.running.peer_sent(envelope)
        # A member that is ahead has begun a generation that is not adopted here yet.
        self.early = [e for e in self.early if e.generation >= self.promised]
        has_room = len(self.early) < EARLY_MAX and sum(size_of(e.message) for e in self.early) < EARLY_BYTES_MAX
        if envelope.generation >= max(self.promised, 1) and has_room:
            self.early.append(envelope)
        return []

    # --- what it tells the coordinator

    def _tell(self, now: int) -> Orders:
        running = self.running
        told = (self.heard, news(running)) if running is not None else None
        is_early = 0 <= now - self._told_numbers_at < NUMBERS_MS  # the clock may have been set back
        if told is not None and told == self._news and self._said == self._status.number and is_early:
            return []
        if self._made_status(self._said) == self._status:
            return []
        self._news, self._told_numbers_at = told, now
        return [SendStatus(self._renewed())]

    def _renewed(self) -> Status:
        self._said += 1
        self._status = self._made_status(self._said)
        return self._status

    def _made_status(self, number: int) -> Status:
        running = self.running
        generation = self.formation.number if self.formation is not None else 0
        known = (self.node, self.incarnation, number, self.phase, generation, self.promised, self.heard)
        if running is None:
            reports = self.phase is Phase.FENCED and self.found is not None
            return Status(*known, report=self._report() if reports else None)
        last = running.staging.last
        return Status(
            *known,
            sealed=running.cuts.sealed,
            closed=running.flow.closed,
            applied=running.applied,
            changed=running.changed,
            resting=running.is_resting,
            located=running.replay.has_cursors,
            ended=not running.parts.unended and running.replay.has_cursors,
            caught_up=running.caught_up,
            prepared=running.staging.prepared,
            prepared_at=running.staging.prepared_at,
            completed=last.checkpoint if last is not None else 0,
            lost=running.links.lost,
            careful=running.careful,
            failure=running.told_failure,
            fatal=running.fatal,
            delivered=running.delivery.delivered,
            output_lost=running.output_lost,
        )

    def _report(self) -> Report:
        found, holding = self.found, self.holding
        assert found is not None
        complete = self._complete
        prepared = MemberRecord.unpack(found.prepared[1]) if found.prepared is not None else None
        return Report(
            promise=self.promised,
            adopted=found.adopted,
            sealed=self.cuts.sealed if self.cuts is not None else 0,
            remembers=holding.returned_in if holding is not None else 0,
            memory=holding.remembered if holding is not None else (),
            logs=found.logs,
            complete=complete.on_disk if complete is not None else None,
            prepared=prepared.on_disk if prepared is not None else None,
        )

    # --- looking at it

    @property
    def busy(self) -> bool:
        """Whether it has work that no answer will bring: events.Ticked is due as soon as nothing else has happened."""
        return self.running is not None and (self._owes or self.running.has_work)

    @property
    def has_worked(self) -> bool:
        """Whether it wants to hear the time, to know how long the work took that it has just done."""
        return self.running is not None and self.running.work_began is not None

    @property
    def alarm(self) -> int | None:
        """When it wants to hear the time again though nothing happens: timers open epochs at the first partition."""
        return self.running.next_due if self.running is not None else None

    def check_invariants(self) -> None:
        """Assert what must hold after every event."""
        if self.running is not None:
            self.running.check_invariants()

