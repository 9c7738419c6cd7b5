"""Flow: the epochs of one generation at one member, from closing to delivery.

    close ─ log ─ compute, send ─ exchange ─ apply, send ─ collect ─ hand out
Invariants: epochs are closed, computed, applied, collected and handed out in order, each once; an epoch is computed
only when its entries are on the own disk, applied only when all members' first stages are here (so it is logged
everywhere), handed out only when it is durable everywhere. A message of an epoch not closed here closes it here,
because somebody waits for this member's part of it.
When cuts are wanted and what follows from them is decided by the parent.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.epochs import LogEntry
from holdfast.core.pipeline import StopBeforeError
from holdfast.core.plan import SOURCES
from holdfast.core.positions import TIMER
from holdfast.recovery.generation import Formation, Limit
from holdfast.recovery.messages import Failure
from holdfast.replication.exchange import Exchange
from holdfast.replication.messages import Opening, Records, Stage
from holdfast.worker.cluster_effects import ClusterEffect
from holdfast.worker.deliver import Delivery
from holdfast.worker.effects import Effect
from holdfast.worker.logs import Logs
from holdfast.worker.parts import Parts
from holdfast.worker.replay import Replay
from holdfast.worker.settings import Settings
from holdfast.worker.stages import OpenEpoch, Outgoing, Stages

Orders = list[Effect | ClusterEffect]


class Flow:
    """Epochs in work."""

    def __init__(
        self,
        formation: Formation,
        settings: Settings,
        *,
        logs: Logs,
        replay: Replay,
        parts: Parts,
        stages: Stages,
        delivery: Delivery,
    ) -> None:
        self.formation = formation
        self.settings = settings
        self.logs = logs
        self.replay = replay
        self.parts = parts
        self.stages = stages
        self.delivery = delivery
        self.live = stages.live
        self.members = tuple(member.node for member in formation.members)
        self.closed = self.computed = self.applied = self.collected = self.handed_out = formation.cut
        self.epochs: dict[int, OpenEpoch] = {}  # closed here, not yet handed out
        self.exchanges: dict[int, Exchange] = {}  # of which some member has said something, until they are collected
        self.opened_to = formation.cut  # the last epoch that some member has opened
        self.outgoing: Outgoing = []  # not asked for by a call
        self.rounds: dict[int, int] = {}  # epoch -> rounds that finite partitions give to it

    # --- closing

    def stage_came(self, sender: str, stage: Stage) -> None:
        """Another member's part of a stage."""
        assert stage.epoch > self.collected, "a stage of an epoch that is over"
        self._exchange(stage.epoch).put(sender, stage)
        self.opened_to = max(self.opened_to, stage.epoch)
        if stage.feeder == SOURCES:
            self._agree(stage.epoch)

    def records_came(self, sender: str, records: Records) -> None:
        """Another member's records, whose senders this one keeps."""
        assert records.epoch > self.collected, "records of an epoch that is over"
        self._exchange(records.epoch).put_records(sender, records)
        self.opened_to = max(self.opened_to, records.epoch)

    def _exchange(self, number: int) -> Exchange:
        found = self.exchanges.get(number)
        if found is None:
            found = self.exchanges[number] = Exchange(self.members)
        return found

    def _agree(self, number: int) -> None:
        """Once all have opened an epoch, everyone knows how many rounds the one after the next has."""
        exchange = self.exchanges[number]
        if not self.live and exchange.is_open:
            proposals = [o.rounds for o in exchange.openings.values() if o.rounds is not None]
            self.rounds[number + 2] = min(proposals, default=1)

    def rounds_of(self, number: int) -> int | None:
        """Rounds of a new epoch; None while not everyone has said. Equal at all members, whatever they know else."""
        if number - 2 <= self.formation.cut:
            return 1
        return self.rounds.get(number)

    @property
    def is_replaying(self) -> bool:
        """Whether the own logs may have more to be worked on again."""
        return self.closed < self.formation.level

    @property
    def is_last(self) -> bool:
        """Whether the epoch that ends early was closed: nothing comes behind it."""
        limit = self.formation.limit
        return limit is not None and self.closed >= limit.epoch

    def close_replayed(self) -> None:
        """Close what the own logs hold, as far as the window allows."""
        while self.is_replaying and not self.is_last and self.replay.is_ready(self.closed + 1):
            if self.closed + 1 > self.opened_to and not self.has_room:
                break
            entries = self.replay.take(self.closed + 1)
            for entry in entries:
                self.parts.replayed(entry)
            self._close(entries, synced=True)

    def close_new(self, entries: list[LogEntry]) -> Orders:
        """Close the next epoch with new entries of the own partitions, or none."""
        self._close(entries, synced=not entries)
        return [*self.logs.append(self.closed, entries)]

    def _close(self, entries: list[LogEntry], *, synced: bool) -> None:
        self.closed += 1
        self.opened_to = max(self.opened_to, self.closed)
        self.logs.copies.closes(self.closed, entries)
        self.stages.keeping.closed(self.closed, entries)
        self.epochs[self.closed] = OpenEpoch(self.closed, entries, self._exchange(self.closed), synced=synced)
        self._note_synced()

    def synced(self, number: int) -> None:
        """An epoch's entries are on the own disk."""
        self.epochs[number].synced = True
        self._note_synced()

    def _note_synced(self) -> None:
        copies = self.logs.copies
        while copies.synced < self.closed and self._is_synced(copies.synced + 1):
            copies.synced += 1
            epoch = self.epochs.get(copies.synced)
            if epoch is not None:
                self.outgoing += self.stages.keeping.passed_on(epoch.number, epoch.entries)

    def _is_synced(self, number: int) -> bool:
        return number not in self.epochs or self.epochs[number].synced

    @property
    def has_room(self) -> bool:
        """Whether one more epoch may be in flight."""
        return (
            self.closed - self.applied < self.settings.epochs_in_flight
            and self.applied - self.delivery.delivered <= self.settings.undelivered_max
        )

    @property
    def may_overlap(self) -> bool:
        """Whether an epoch of live sources may be begun now: before the one in work is applied only under load.

        What comes meanwhile costs less in one larger epoch than in another small one, and is delivered earlier than
        from behind several that share the processors.
        """
        return self.applied == self.closed or self.parts.is_pressed

    @property
    def cut_is_coming(self) -> bool:
        """Whether somebody has asked for a cut at the end of an epoch that is not applied yet."""
        coming = [exchange for number, exchange in self.exchanges.items() if number > self.applied]
        return any(own.cut or own.checkpoint for exchange in coming for own in exchange.openings.values())

    # --- work, one piece at a time

    @property
    def may_compute(self) -> bool:
        """Whether the next epoch's first stage can be computed."""
        following = self.epochs.get(self.computed + 1)
        return following is not None and self.stages.may_compute(following, self.applied)

    def compute(self, opening: Opening) -> Outgoing:
        """Compute it; `opening` says what this member asks for."""
        epoch = self.epochs[self.computed + 1]
        self.computed += 1
        times = [entry.time for entry in epoch.entries]
        opening = replace(opening, logged=bool(times), time=max(times, default=0))
        outgoing = self.stages.compute(epoch, opening)
        self._agree(epoch.number)
        return outgoing

    @property
    def may_apply(self) -> bool:
        """Whether the epoch that is next to be applied can go on by a step."""
        epoch = self.epochs.get(self.applied + 1)
        return epoch is not None and self.stages.can_advance(epoch)

    def failure(self, stop: StopBeforeError) -> Failure:
        """The record, or the timers, before which work ends: of the epoch in hand, which is applied or computed."""
        epoch = self.applied + 1 if self.may_apply else self.computed
        turn, partition, number = stop.position[:3]
        return Failure(Limit(epoch, turn, partition, 0 if partition == TIMER else number), str(stop.error))

    @property
    def is_half_applied(self) -> bool:
        """Whether some steps of an epoch are applied and others are not."""
        epoch = self.epochs.get(self.applied + 1)
        return epoch is not None and epoch.next_step > 0

    def apply(self) -> tuple[OpenEpoch, Outgoing]:
        """Go on with it, perhaps to its end."""
        epoch = self.epochs[self.applied + 1]
        outgoing = self.stages.advance(epoch)
        if epoch.applied:
            self.applied += 1
        return epoch, outgoing

    # --- outputs

    def collect(self) -> None:
        """Gather the outputs of epochs that are applied here, once all members have given theirs."""
        while self.collected < self.applied and self.stages.collect(self.epochs[self.collected + 1]):
            self.collected += 1
            del self.exchanges[self.collected]
            self.rounds.pop(self.collected, None)

    def next_to_hand_out(self, durable: int) -> OpenEpoch | None:
        """The next epoch whose outputs may leave: it is durable at every member."""
        if self.handed_out >= min(self.collected, durable):
            return None
        self.handed_out += 1
        return self.epochs.pop(self.handed_out)

    def limit_at(self, number: int) -> Limit | None:
        """Where this epoch ends early, if it does."""
        limit = self.formation.limit
        return limit if limit is not None and limit.epoch == number else None
