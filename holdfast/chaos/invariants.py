"""Rules that must hold after every event, checked against what the disk holds; and rare situations.

I1 nothing of an epoch is delivered, applied, acknowledged, answered or told its source before the log has it, and no
record is answered in two ways · I3 the log covers (checkpoint, tail] · I7 a start goes to exactly the last complete
checkpoint · a checkpoint completes only when its chunks are staged and its sinks synced. I6, that outputs are a
prefix of the reference's, needs the reference and is the verdict's.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.chaos.counters import Counters
from holdfast.chaos.inputs import records_before
from holdfast.chaos.life import Life
from holdfast.chaos.outputs import Violation
from holdfast.core.replies import Answer
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.worker import effects, events
from holdfast.worker.checkpoint import Record
from holdfast.worker.effects import Effect
from holdfast.worker.events import Event


class Invariants:
    """What one node's history must never show."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._log: MemoryLog | None = None
        self._state: MemoryState | None = None
        self._completed = 0  # epoch of the last complete checkpoint
        self._staged: dict[int, int] = {}  # checkpoint -> chunks that were ordered and are not on disk
        self._chunks: dict[int, int] = {}  # checkpoint -> chunks that this life ordered
        self._synced = 0  # the last checkpoint whose sinks are durable
        self._logged = 0  # the last epoch that is in the log
        self._appended = 0  # the last epoch that was ordered to be logged
        self._ended_badly = 0  # ends of the process since the last delivery
        self._stopped_cleanly = False
        self._clock = 0
        self._records: dict[int, int] = {}  # partition -> records in the log
        self._answers: dict[tuple[int, int], Answer] = {}  # (partition, record) -> what its sender was told

    # --- starts and ends

    def opened(self, log: MemoryLog, state: MemoryState) -> None:
        """A process has opened the stores."""
        self._log, self._state = log, state
        record = state.record()
        epoch = Record.unpack(record).epoch if record is not None else 0
        if epoch < self._completed:
            raise Violation(f"the checkpoint at {self._completed} was complete, now it is the one at {epoch}")
        if log.base() > epoch:
            raise Violation(f"I3: the log begins after {log.base()}, the checkpoint is at {epoch}")
        if log.tail() < self._logged:
            raise Violation(f"the log held epochs up to {self._logged}, now up to {log.tail()}")
        if log.tail() > self._logged:
            self._counters.meet("commit survived a kill unheard")
        if log.base() < epoch:
            self._counters.meet("kill between completing and trimming")
        if self._stopped_cleanly and log.tail() == epoch:
            self._counters.meet("start with nothing to replay")
        self._completed, self._logged, self._appended = epoch, log.tail(), log.tail()
        self._forget_staged()
        self._synced = 0
        self._stopped_cleanly = False
        self._count_records()

    def returned(self) -> None:
        """The machine was replaced in its process; the stores were left as they are."""
        assert self._log is not None
        self._logged = self._appended = self._log.tail()
        self._forget_staged()
        self._synced = 0
        self._count_records()

    def killed(self, life: Life) -> None:
        """The process ended without being asked."""
        if life.in_recovery:
            self._counters.meet("kill during recovery")
            if life.worker.apply.applied > self._completed:
                self._counters.meet("kill during replay")
        if self._staged:
            self._counters.meet("kill between staging and completing")
        self._ended_badly += 1
        if self._ended_badly > 1:
            self._counters.meet("crash on crash")

    # --- boundaries

    def ordered(self, effect: Effect, life: Life) -> None:
        """The machine has given an order."""
        match effect:
            case effects.AppendLog():
                if effect.epoch.number != self._appended + 1:
                    raise Violation(f"epoch {effect.epoch.number} is logged after {self._appended}")
                self._appended += 1
                if not effect.epoch.chunks:
                    self._counters.meet("timer alone opened an epoch")
            case effects.Deliver():
                if effect.epoch > self._logged:
                    raise Violation(f"I1: epoch {effect.epoch} is delivered, the log has {self._logged}")
                if self._staged:
                    self._counters.meet("delivery while a checkpoint was staged")
            case effects.StageChunks():
                self._staged[effect.checkpoint] = self._staged.get(effect.checkpoint, 0) + len(effect.chunks)
                self._chunks[effect.checkpoint] = self._chunks.get(effect.checkpoint, 0) + len(effect.chunks)
            case effects.CompleteCheckpoint():
                self._complete(effect)
            case effects.TrimLog():
                if effect.upto > self._completed:
                    raise Violation(
                        f"I3: the log is trimmed to {effect.upto}, the checkpoint is at {self._completed}"
                    )
            case effects.ReadLog():
                if effect.after < self._completed:
                    raise Violation(
                        f"I7: a start from {effect.after}, the checkpoint is at {self._completed}"
                    )
            case effects.Acknowledge():
                self._check_told(effect.partition, effect.upto)
            case effects.Answer():
                self._check_told(effect.partition, effect.first + effect.count)
                self._check_answers(effect)
            case effects.FoldRows():
                if life.in_recovery:
                    self._counters.meet("fold repeated")
            case effects.Finish():
                self._finish(effect, life)
            case _:
                pass

    def done(self, order: object) -> None:
        """An order was carried out."""
        match order:
            case effects.AppendLog():
                assert self._log is not None
                self._logged = self._log.tail()
                self._count_records()  # a commit may hold several epochs
            case effects.StageChunks():
                self._staged[order.checkpoint] -= len(order.chunks)
            case effects.SyncSinks():
                self._synced = max(self._synced, order.checkpoint)
            case effects.CompleteCheckpoint():
                self._completed = Record.unpack(order.record).epoch
                self._check_manifest(order.checkpoint)
                self._forget_staged()
                if order.drop_before:
                    self._counters.meet("chunks dropped")
                if 0 < order.drop_before < order.checkpoint:
                    self._counters.meet("sweep over")
            case effects.TrimLog():
                self._counters.meet("log trimmed")
            case effects.Deliver():
                self._ended_badly = 0
            case _:
                pass

    def handled(self, event: Event, given: Sequence[Effect], life: Life) -> None:
        """The machine has handled an event."""
        applied = life.worker.apply.applied
        if applied > self._logged:
            raise Violation(f"I1: epoch {applied} is applied, the log has {self._logged}")
        if isinstance(event, events.LogSynced) and self._appended > event.epoch and applied < event.epoch:
            self._counters.meet("several epochs in flight")
        if event.now < self._clock:
            self._counters.meet("clock set back")
        self._clock = event.now

    # --- what senders and sources are told

    def told(self, order: effects.TellSource) -> None:
        """A source is told that what lies before an offset is durable."""
        self._check_told(order.partition, records_before(order.offset))

    def _count_records(self) -> None:
        assert self._log is not None
        self._records = {}
        for row in self._log.rows():
            for partition, count, _, _ in row.parts:
                self._records[partition] = self._records.get(partition, 0) + count

    def _check_told(self, partition: int, upto: int) -> None:
        if upto > self._records.get(partition, 0):
            raise Violation(f"I1: records up to {upto} are told of, the log has {self._records.get(partition, 0)}")

    def _check_answers(self, order: effects.Answer) -> None:
        for number in range(order.first, order.first + order.count):
            answer = order.answers.get(number)
            known = self._answers.setdefault((order.partition, number), answer)
            if known != answer:
                raise Violation(f"record {number} was answered {known!r}, and now {answer!r}")

    # --- checkpoints and ends

    def _forget_staged(self) -> None:
        self._staged.clear()
        self._chunks.clear()

    def _check_manifest(self, checkpoint: int) -> None:
        assert self._state is not None
        counted = dict(self._state.manifest())[checkpoint]
        if counted != self._chunks.get(checkpoint, 0):
            raise Violation(
                f"checkpoint {checkpoint} counts {counted} chunks, {self._chunks} were staged for it"
            )

    def _complete(self, order: effects.CompleteCheckpoint) -> None:
        if self._staged.get(order.checkpoint, 0):
            raise Violation(f"checkpoint {order.checkpoint} completes before its chunks are on disk")
        if self._synced < order.checkpoint:
            raise Violation(f"checkpoint {order.checkpoint} completes before its sinks are synced")
        if Record.unpack(order.record).epoch > self._logged:
            raise Violation(f"checkpoint {order.checkpoint} lies beyond the log")

    def _finish(self, order: effects.Finish, life: Life) -> None:
        if order.error is not None:
            self._counters.meet("stopped at a failing record")
        elif self._completed != self._logged:
            raise Violation(f"a clean end at checkpoint {self._completed}, the log goes on to {self._logged}")
        self._stopped_cleanly = True
