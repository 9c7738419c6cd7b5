"""The worker: one parent that dispatches, one file per phase of its life.

    Started ─ return ─ replay ─┬─ intake ─ log ─ apply ─ deliver ─┬─ Finish
                               └──── cut, checkpoint, trim ───────┘
Events in (`events`), effects out (`effects`); no clock, no disk, no thread. Per epoch, in this order: its records are
cut and logged (intake), the log has synced, it is applied, its outputs are delivered. A cut after it may become a
checkpoint.
Invariants (`check_invariants`): durable <= closed, applied <= durable, delivered <= applied, checkpoint <= applied; at
most `epochs_in_flight` epochs are closed and not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from holdfast.core.cache import CachedBook
from holdfast.core.epochs import Epoch
from holdfast.core.errors import DataDirectoryError, HoldfastError, ProcessingError, ValueTypeError
from holdfast.core.pipeline import Pipeline, ReturnNeededError
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.replication.progress import Progress
from holdfast.worker import events
from holdfast.worker.apply import Apply, Stopped
from holdfast.worker.checkpoint import Checkpoints, Phase, Record
from holdfast.worker.cut import CutPolicy
from holdfast.worker.deliver import Delivery
from holdfast.worker.effects import Acknowledge, AppendLog, Effect, Finish, Return
from holdfast.worker.fold import Folding
from holdfast.worker.gathering import Gathering
from holdfast.worker.intake import Intake
from holdfast.worker.invariants import check_invariants
from holdfast.worker.returning import Returning
from holdfast.worker.settings import Settings as Settings
from holdfast.worker.statistics import Statistics as Statistics
from holdfast.worker.statistics import statistics_of
from holdfast.worker.telling import Telling, endless, wanting
from holdfast.worker.wake import Wake
from holdfast.worker.work import Work

SELF = 0  # the only member


class Worker:
    """One worker's machine. A return in the same process makes a new one."""

    def __init__(
        self, plan: Plan, partitions: Sequence[tuple[int, str]], settings: Settings, registry: TypeRegistry
    ) -> None:
        self.plan = plan
        self.partitions = partitions  # (source step, name), by number
        self.settings = settings
        limit = settings.entities_in_memory
        self.pipeline = Pipeline(plan, partitions, registry, careful=settings.careful, entities_in_memory=limit)
        books = {plan.stored_names[step.name]: self.pipeline.books[step.index] for step in plan.stateful}
        books |= {name: senders.book for name, senders in self.pipeline.sender_steps.items()}
        self.sink_names = [own.name for own in plan.sink_partitions]
        cached = {name: book for name, book in books.items() if isinstance(book, CachedBook)}
        self.folding = Folding(cached, registry)
        self.gathering = Gathering(self.folding)
        self.returning = Returning(books, registry, settings, self.folding)
        sources = [source for source, _ in partitions]
        times = self.pipeline.block_time
        self.intake = Intake(len(partitions), settings, live=plan.live, times=times, endless=endless(plan, sources))
        self.telling = Telling(wanting(plan, sources))
        self.apply = Apply(self.pipeline, live=plan.live, slice_records=settings.slice_records)
        self.delivery = Delivery(len(plan.sink_partitions))
        self.checkpoints = Checkpoints(books, self.sink_names, registry, settings, self.folding)
        self.cuts = CutPolicy(settings, 0)
        self.progress = Progress([SELF], 0)
        self.work = Work(self.apply, self.folding, settings)
        self.logged = self.work.logged
        self.stopped: Stopped | None = None
        self.stopping = False
        self.running = False  # the return is over
        self.finished = False
        self.now = 0
        self.work_began: tuple[int, int] | None = None  # size of the epoch just applied, and when it was begun
        self.wake = Wake()
        self.first_output = [0] * len(plan.sink_partitions)
        self.made = 0  # checkpoints
        self.final: Record | None = None  # the last checkpoint of this life, once it is under way
        self._handlers: dict[type, Callable[[Any], list[Effect]]] = {
            events.Started: self._started,
            events.ChunksRead: self._chunks_read,
            events.LogRead: self._log_read,
            events.SourceRead: self._source_read,
            events.LogSynced: self._log_synced,
            events.Delivered: self._delivered,
            events.TokenTaken: self.checkpoints.token_taken,
            events.ChunksStaged: lambda e: self.checkpoints.chunks_staged(e.checkpoint, e.chunks),
            events.SinksSynced: lambda e: self.checkpoints.sinks_synced(e.checkpoint),
            events.CheckpointCompleted: self._completed,
            events.RowsLoaded: self.work.rows_loaded,
            events.RowsRead: self._rows_read,
            events.RowsFolded: self._rows_folded,
            events.Ticked: lambda e: [],
            events.StopAsked: lambda e: self._stop(),
        }

    def handle(self, event: events.Event) -> list[Effect]:
        """The only entrance. Returns orders to be carried out in their order."""
        if self.finished:
            return []
        self._note_time(event.now)
        try:
            effects = self._handlers[type(event)](event)
            if self.running:
                effects += self._advance(event)
        except ReturnNeededError as needed:
            return self._return(Return(self.settings.careful | {needed.step}, None, None))
        except ValueTypeError as error:
            return self._finish(ProcessingError(str(error)), ended=False)
        return effects

    def _note_time(self, now: int) -> None:
        if self.work_began is not None:
            size, began = self.work_began
            self.intake.worked(size, now - began)
            self.work_began = None
        self.now = now

    # --- return

    def _started(self, event: events.Started) -> list[Effect]:
        self.cuts.last = event.now
        try:
            return self.returning.started(event) or self._returned()
        except DataDirectoryError as error:
            return self._finish(error, ended=False)

    def _chunks_read(self, event: events.ChunksRead) -> list[Effect]:
        for chunk in event.chunks:
            self.returning.restore(chunk)
        if not event.last:
            return []
        assert self.returning.record is not None
        return self.folding.begin(self.returning.record.checkpoint) or self._folded()

    def _rows_folded(self, event: events.RowsFolded) -> list[Effect]:
        if not self.folding.awaits(event):
            return []
        effects = self.folding.go_on()
        return effects if effects or self.running else self._folded()

    def _folded(self) -> list[Effect]:
        assert self.returning.record is not None
        return self.gathering.begin(self.returning.record.time) or self._returned()

    def _rows_read(self, event: events.RowsRead) -> list[Effect]:
        effects = self.gathering.rows_read(event)
        return self._returned() if self.gathering.is_over else effects

    def _returned(self) -> list[Effect]:
        """The state of the checkpoint is restored: everything starts at its epoch."""
        returning = self.returning
        for senders in self.pipeline.sender_steps.values():
            senders.restore()
        for index, (number, offset, ended, clock) in returning.partitions.items():
            self.intake.restore(index, number, offset, ended=ended, clock=clock)
            self.apply.positions[index] = (number, offset, ended, clock)
        for sink, name in enumerate(self.sink_names):
            self.delivery.restore(sink, *returning.sinks.get(name, (0, None)))
        self.first_output = [own.number for own in self.delivery.sinks]
        self.progress = Progress([SELF], returning.epoch)
        self.progress.advance(SELF, durable=returning.tail)
        if returning.record is not None:
            self.checkpoints.restore(returning.record)
            self.apply.begin_after(returning.record)
            self.intake.begin_after(returning.record)
            if returning.record.ended and returning.tail == returning.epoch and self.intake.has_ended:
                return [*self._tell_offsets(), *self._finish(None, ended=True)]
        self.running = True
        return [*self.delivery.open(returning.epoch), *returning.ask()]

    def _log_read(self, event: events.LogRead) -> list[Effect]:
        for epoch in self.returning.log_read(event):
            self.intake.replayed(epoch)
            self.logged.append(epoch)
        return []

    # --- intake and log

    def _source_read(self, event: events.SourceRead) -> list[Effect]:
        if self.final is None:  # what comes after the last cut is read again in the next life
            self.intake.read(event)
        return []

    def _log_synced(self, event: events.LogSynced) -> list[Effect]:
        assert event.epoch <= self.intake.closed, "the log has synced what it was never given"
        before = self.progress.durable
        self.progress.advance(SELF, durable=event.epoch)
        acknowledged = [
            Acknowledge(chunk.partition, chunk.first + chunk.count)
            for epoch in self.logged
            if before < epoch.number <= event.epoch
            for chunk in epoch.chunks
            if chunk.partition in self.pipeline.senders
        ]
        return [*acknowledged, *self.telling.upto(event.epoch)]

    def _tell_offsets(self) -> list[Effect]:
        """Every start says it again: the process may have been killed before it did."""
        for own in self.intake.partitions:
            self.telling.stands(own.index, self.intake.closed, own.offset)
        return [*self.telling.upto(self.intake.closed)]

    def _delivered(self, event: events.Delivered) -> list[Effect]:
        self.delivery.acknowledged(event.sink, event.last)
        self._note_delivered()
        return []

    def _note_delivered(self) -> None:
        self.progress.advance(SELF, replicated=self.apply.applied, delivered=self.delivery.delivered)

    def _stop(self) -> list[Effect]:
        self.stopping = True
        self.intake.stop()
        return []

    # --- the way forward, after every event

    def _advance(self, event: events.Event) -> list[Effect]:
        """What can be done now. Epochs are applied only when all that has happened was heard: then comes Ticked."""
        effects = self._close_epochs()
        if isinstance(event, events.Ticked | events.RowsLoaded):
            effects += self._apply_epoch()
            if self.finished:
                return effects
            effects += self._close_epochs()
        effects += self._checkpoint()
        effects += self._end()
        if not self.finished:
            effects += self._set_wake(event)
        return effects

    def _close_epochs(self) -> list[Effect]:
        """Cut epochs from what was read, and ask for more."""
        if self.stopped is not None:
            return []
        if not self.returning.is_over:
            return [] if self.logged else self.returning.ask()
        effects: list[Effect] = []
        if not self.intake.opened and not self.stopping:
            effects += [*self.intake.open(), *self._tell_offsets()]
        while self._may_close():
            if self.intake.is_ready:
                epoch = self.intake.cut(self.now)
            elif self._alarm_is_due():
                epoch = self.intake.cut(self.now, alarm=True)
            else:
                return [*effects, *self.intake.ask()]
            self.logged.append(epoch)
            self.telling.logged(epoch.number, epoch.chunks)
            effects.append(AppendLog(epoch))
        return effects

    def _may_close(self) -> bool:
        if len(self.logged) >= self.settings.epochs_in_flight:
            return False
        if self.apply.applied - self.progress.delivered > self.settings.undelivered_max:
            return False
        # Live records wait for the commit under way: what comes meanwhile is the next epoch.
        return not self.plan.live or self.progress.durable == self.intake.closed

    def _alarm_is_due(self) -> bool:
        """With live sources a due timer alone opens an epoch."""
        if not self.plan.live or self.stopping or self.intake.has_ended or self.logged:
            return False
        for book in self.folding.books.values():
            book.agenda.reach(self.now)
        due = self.pipeline.next_due()
        return due is not None and due <= self.now

    def _apply_epoch(self) -> list[Effect]:
        """Apply what is durable: one epoch, so that nothing waits for more than one; `busy` says if there are more."""
        if self.work.meets_commit(self.progress.durable):
            self.intake.waited()
        if not self._may_apply():
            return []
        epoch = self.logged[0]
        effects = self.work.go_on()
        if self.work.under_way is not None:
            return effects
        self.work_began = epoch.size, self.now
        effects += self._applied(epoch, self.work.stopped)
        return effects + self.checkpoints.slice() if self.running else effects

    def _may_apply(self) -> bool:
        if self.stopped is not None or not self.logged or self.work.loading is not None:
            return False
        if self.work.under_way is not None:
            return True
        if any(book.is_crowded for book in self.folding.books.values()) and self._is_writing():
            return False
        if self.logged[0].number > self.progress.durable:
            return False
        return self.apply.applied - self.progress.delivered <= self.settings.undelivered_max

    def _applied(self, epoch: Epoch, stopped: Stopped | None) -> list[Effect]:
        """An epoch was worked off, or as much of it as can be."""
        if stopped is not None and stopped.touched:
            return self._return(Return(self.settings.careful, (epoch.number, *stopped.skip), stopped.error))
        if stopped is None:
            self.logged.popleft()
        else:
            self.stopped = replace(stopped, error=stopped.error or self.settings.stop_error)
            self._stop()
        self.cuts.applied(epoch.size)
        effects = self.delivery.hand_out(epoch.number, self.pipeline.take_outputs(), durable=self.progress.durable)
        self._note_delivered()
        return effects if stopped is not None else effects + self.apply.answers(epoch)

    # --- cut and checkpoint

    def _is_writing(self) -> bool:
        """Whether the last checkpoint is not over, the folding of its rows included."""
        return self.checkpoints.phase is not Phase.IDLE or not self.folding.is_over

    def _begin_checkpoint_if_due(self) -> list[Effect]:
        if self._is_writing() or self.stopped is not None:
            return []
        crowded = any(book.is_crowded for book in self.folding.books.values())
        if not self.cuts.is_due(self.now, crowded=crowded):
            return []
        return self._begin_checkpoint(ended=False, clean=False)

    def _begin_checkpoint(self, *, ended: bool, clean: bool) -> list[Effect]:
        record = self.checkpoints.next_record(self.apply, ended=ended, clean=clean)
        self.cuts.made(self.now)
        self.made += 1
        if clean:
            self.final = record
        return self.checkpoints.begin(record, self.apply.source_rows(), self.delivery.numbers())

    def _checkpoint(self) -> list[Effect]:
        effects: list[Effect] = []
        if self.checkpoints.phase is Phase.WRITING:
            # Nothing waits for this worker while no epoch is in flight: then a checkpoint may take its time at once.
            # With live sources something may come, and then it is to wait for one slice and no more.
            waited_for = bool(self.logged) or (self.plan.live and not self._is_ending())
            effects += self.checkpoints.slice(all_of_it=not waited_for)
        elif self.work.under_way is None and not self._is_ending():
            effects += self._begin_checkpoint_if_due()
        return effects

    def _completed(self, event: events.CheckpointCompleted) -> list[Effect]:
        effects = self.checkpoints.completed(event.checkpoint)
        return [*effects, *self.folding.begin(event.checkpoint)] if effects else []

    # --- the end

    def _is_ending(self) -> bool:
        """Whether all that will be applied in this life is applied."""
        if self.stopped is not None:
            return True
        if self.logged or not self.returning.is_over:
            return False
        if self.stopping:
            return not any(p.waiting for p in self.intake.partitions)
        return self.intake.opened and self.intake.has_ended

    def _end(self) -> list[Effect]:
        """Seal, checkpoint, finish."""
        if not self._is_ending() or self._is_writing():
            return []
        if self.delivery.delivered < self.apply.applied or self.delivery.waiting:
            return []
        if self.final is None:
            ended = self.intake.has_ended and self.stopped is None
            begun = self._begin_checkpoint(ended=ended, clean=True)
            return [*begun, *self.checkpoints.slice(all_of_it=True)]
        if self.stopped is None:
            return self._finish(None, ended=self.final.ended)
        # All that comes before the failure is kept: it is safe to find out what a single thread would have met first.
        return self.work.examine() or self._finish_stopped(self.stopped)

    def _finish_stopped(self, stopped: Stopped) -> list[Effect]:
        if self.work.loading is not None:
            return []
        return self._finish(self.work.first_failure or stopped.error, ended=False)

    def _finish(self, error: HoldfastError | None, *, ended: bool) -> list[Effect]:
        self.finished, self.running = True, False
        return [Finish(error, ended)]

    def _return(self, order: Return) -> list[Effect]:
        self.finished, self.running = True, False
        return [order]

    def _set_wake(self, event: events.Event) -> list[Effect]:
        """When there is something to do although nothing happens. What is under way brings an answer before."""
        times: list[int | None] = []
        if not self.logged and self.returning.is_over and not self._is_ending():
            times.append(None if self._is_writing() else self.cuts.due_at())
            if self.plan.live and not self.stopping and self._may_close():
                times.append(self.pipeline.next_due())
        return self.wake.order(times, again=isinstance(event, events.Ticked))

    # --- looking at it

    @property
    def busy(self) -> bool:
        """Whether it has work that no answer will bring: events.Ticked is due as soon as nothing else has happened."""
        return self.running and (self._may_apply() or self.checkpoints.has_slices)

    @property
    def statistics(self) -> Statistics:
        """What was done in this life."""
        return statistics_of(self)

    def check_invariants(self) -> None:
        """Assert what must hold after every event."""
        check_invariants(self)
