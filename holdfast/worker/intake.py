"""Intake: what the sources give becomes epochs, cut and handed to the log.

Finite sources are asked for whole rounds, the same number of every partition, so that an epoch never splits a round.
Live ones give what has arrived: what came while the last commit ran is the next epoch (group commit without waiting).
Invariant: a partition's records enter epochs in order and exactly once; `number` is the count that stands in epochs.
Durability and order of work are decided elsewhere (progress, apply).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from holdfast.core.epochs import Chunk, Epoch
from holdfast.core.turns import ROUND
from holdfast.worker.effects import Effect, OpenSource, ReadSource
from holdfast.worker.events import SourceRead
from holdfast.worker.record import Record
from holdfast.worker.settings import Settings


@dataclass(slots=True)
class Partition:
    """One source partition, as far as its records stand in epochs."""

    index: int
    number: int = 0  # records in epochs
    offset: object = None  # where the source resumes after them
    ended: bool = False
    clock: int = 0  # time of its last chunk
    asked: bool = False
    waiting: list[SourceRead] = field(default_factory=list)  # read, not yet in an epoch


class Intake:
    """Cuts epochs of all partitions of this worker."""

    def __init__(
        self,
        count: int,
        settings: Settings,
        *,
        live: bool,
        times: Callable[[int, bytes], int | None],
        endless: Container[int] = (),
    ) -> None:
        """`times` gives the greatest record time of a block, or None where the source has no times of its own.

        Partitions that are `endless` have not ended, whatever was logged of them.
        """
        self.settings = settings
        self.endless = endless
        self.live = live
        self.times = times
        self.partitions = [Partition(index) for index in range(count)]
        self.closed = 0  # the last epoch cut
        self.time = 0  # of the last epoch
        self.bytes_wanted = settings.epoch_bytes_min
        self.bytes_per_record = 64.0  # a first guess, replaced by what is read
        self.opened = False
        self.stopping = False

    # --- where it stands

    def restore(self, partition: int, number: int, offset: object, *, ended: bool, clock: int) -> None:
        """As a checkpoint or a logged chunk left it."""
        own = self.partitions[partition]
        own.number, own.offset, own.clock = number, offset, clock
        own.ended = ended and partition not in self.endless

    def begin_after(self, record: Record) -> None:
        """The next epoch is the one after the checkpoint's."""
        self.closed, self.time = record.epoch, record.time

    def replayed(self, epoch: Epoch) -> None:
        """An epoch of the log is what this worker, in an earlier life, cut."""
        self.closed = epoch.number
        self.time = epoch.time
        for chunk in epoch.chunks:
            end = chunk.first + chunk.count
            self.restore(chunk.partition, end, chunk.offset, ended=chunk.ended, clock=chunk.time)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will ever follow."""
        return all(p.ended for p in self.partitions)

    # --- asking

    def open(self) -> list[Effect]:
        """Open what has not ended."""
        self.opened = True
        return [OpenSource(p.index, p.offset) for p in self.partitions if not p.ended]

    def ask(self) -> list[Effect]:
        """Ask every partition that has nothing waiting for the next epoch's records."""
        if self.stopping or not self.opened:
            return []
        if self.live:
            idle = [p for p in self.partitions if not (p.ended or p.asked or p.waiting)]
            most = max(ROUND, int(self.bytes_wanted / self.bytes_per_record))
        else:
            if any(p.asked or p.waiting for p in self.partitions):
                return []
            idle = [p for p in self.partitions if not p.ended]
            most = self._rounds(len(idle)) * ROUND
        for partition in idle:
            partition.asked = True
        return [ReadSource(p.index, most) for p in idle]

    def _rounds(self, partitions: int) -> int:
        per_round = self.bytes_per_record * ROUND * max(partitions, 1)
        return max(1, int(self.bytes_wanted / per_round))

    def stop(self) -> None:
        """Ask for no more. Rounds that are not complete yet are given up: the next life reads them again."""
        self.stopping = True
        if not self.live and any(p.asked for p in self.partitions):
            for partition in self.partitions:
                partition.waiting.clear()

    def read(self, event: SourceRead) -> None:
        """Records have come."""
        partition = self.partitions[event.partition]
        assert partition.asked, "a block that nobody asked for"
        partition.asked = False
        if self.stopping and not self.live:
            return
        partition.waiting.append(event)
        if event.count:
            self.bytes_per_record += (len(event.raw) / event.count - self.bytes_per_record) * 0.5

    # --- cutting

    @property
    def is_ready(self) -> bool:
        """Whether an epoch can be cut. With finite sources all answers must be in: all take the same rounds."""
        waiting = any(p.waiting for p in self.partitions)
        return waiting and (self.live or not any(p.asked for p in self.partitions))

    def cut(self, now: int, *, alarm: bool = False) -> Epoch:
        """The next epoch, of all that waits; with `alarm` possibly of nothing but its time."""
        assert self.is_ready or alarm
        chunks = []
        for partition in self.partitions:
            chunks += [self._chunk(partition, event, now) for event in partition.waiting]
            partition.waiting.clear()
        self.closed += 1
        self.time = max([self.time, now if alarm else 0, *(c.time for c in chunks)])
        return Epoch(self.closed, self.settings.generation, self.time, tuple(chunks))

    def _chunk(self, partition: Partition, event: SourceRead, now: int) -> Chunk:
        own = self.times(partition.index, event.raw)
        partition.clock = max(partition.clock, now if own is None else own)
        chunk = Chunk(
            partition.index,
            partition.number,
            event.count,
            partition.clock,
            event.offset,
            event.ended,
            event.raw,
        )
        partition.number += event.count
        partition.offset = event.offset
        partition.ended = event.ended
        return chunk

    # --- size of epochs

    def waited(self) -> None:
        """The work waited for a commit: larger epochs have the commit paid by more of it."""
        self.bytes_wanted = min(self.bytes_wanted * 2, self.settings.epoch_bytes_max)

    def worked(self, size: int, milliseconds: int) -> None:
        """An epoch of `size` bytes took this long: latency bounds its size, and what a commit costs asks for more.

        Only one that was as large as wanted says that larger ones are worth it: a source that trickles gives none.
        """
        if milliseconds > self.settings.epoch_ms_max:
            self.bytes_wanted = max(self.bytes_wanted // 2, self.settings.epoch_bytes_min // 16)
        elif milliseconds < self.settings.epoch_ms_min and 2 * size >= self.bytes_wanted:
            self.bytes_wanted = min(self.bytes_wanted * 2, self.settings.epoch_bytes_max)
