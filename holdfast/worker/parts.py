"""Parts: what this member's own source partitions give to each epoch of the cluster.

Finite partitions give whole rounds, the same number at every member, agreed two epochs ahead; live ones give what has
come. Invariant: a partition's records enter epochs in order and exactly once; `Cursor` says how many stand in epochs.
Which epoch is closed when is decided by the parent.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.core.epochs import Chunk, Cursor, LogEntry
from holdfast.core.pipeline import Pipeline
from holdfast.core.turns import ROUND
from holdfast.worker.effects import Effect, OpenSource, ReadSource
from holdfast.worker.events import SourceRead
from holdfast.worker.settings import Settings
from holdfast.worker.telling import Telling, endless, wanting

# Of live sources. The work on so many takes longer than all that an epoch costs beside it: waiting for disks and peers.
LARGE_RECORDS: Final = 1000


@dataclass(slots=True)
class OwnPartition:
    """One source partition that this member reads, as far as its records stand in epochs."""

    index: int
    cursor: Cursor
    asked: int = 0  # for how many records at most; 0 while nobody waits for any
    is_pressed: bool = False  # the last block was a large one, or all that was asked for: more waits, or soon will
    waiting: list[SourceRead] = field(default_factory=list)  # read, not yet in an epoch


class Parts:
    """The own partitions of one member in one generation."""

    def __init__(
        self,
        settings: Settings,
        *,
        live: bool,
        times: Callable[[int, bytes], int | None],
        telling: Telling | None = None,
        endless: Container[int] = (),
    ) -> None:
        """`times` gives the greatest record time of a block, or None where the source has no times of its own.

        Partitions that are `endless` have not ended, whatever was logged of them.
        """
        self.settings = settings
        self.telling = telling or Telling(())
        self.endless = endless
        self.live = live
        self.times = times
        self.partitions: dict[int, OwnPartition] = {}
        self.bytes_wanted = settings.epoch_bytes_min
        self.bytes_per_record = 64.0  # a first guess, replaced by what is read
        self.opened = False
        self.stopping = False

    def begin(self, cursors: Iterable[tuple[int, Cursor]]) -> None:
        """The own partitions, where they stand at the generation's cut."""
        for index, cursor in cursors:
            self.partitions[index] = OwnPartition(index, self._going_on(index, cursor))
            self.telling.stands(index, cursor.epoch, cursor.offset)

    def _going_on(self, index: int, cursor: Cursor) -> Cursor:
        return replace(cursor, ended=False) if cursor.ended and index in self.endless else cursor

    def replayed(self, entry: LogEntry) -> None:
        """An entry of the log is part of an epoch again."""
        own = self.partitions[entry.chunk.partition]
        own.cursor = self._going_on(own.index, own.cursor.after(entry))
        self.telling.logged(entry.epoch, [entry.chunk])

    @property
    def unended(self) -> list[OwnPartition]:
        """Those that may give more."""
        return [own for own in self.partitions.values() if not own.cursor.ended]

    def had_ended(self, epoch: int) -> bool:
        """Whether all of them had ended with this epoch; they may have since."""
        return all(own.cursor.ended and own.cursor.epoch <= epoch for own in self.partitions.values())

    @property
    def has_waiting(self) -> bool:
        """Whether anything was read that stands in no epoch."""
        return any(own.waiting for own in self.partitions.values())

    @property
    def is_pressed(self) -> bool:
        """Whether a source gives so much that epochs should overlap."""
        return any(own.is_pressed for own in self.partitions.values())

    # --- reading

    def open(self) -> list[Effect]:
        """The log is worked off: read on from where it ends."""
        self.opened = True
        return [OpenSource(own.index, own.cursor.offset) for own in self.unended]

    def ask(self, rounds: int | None) -> list[Effect]:
        """Ask for the next epoch's records: of finite partitions so many rounds, None where that is not known yet."""
        if not self.opened:
            return []
        if self.live:
            if self.stopping:
                return []
            most = max(ROUND, int(self.bytes_wanted / self.bytes_per_record))
        elif rounds is None:
            return []
        else:
            most = rounds * ROUND
        idle = [own for own in self.unended if not own.asked and not own.waiting]
        for own in idle:
            own.asked = most
        return [ReadSource(own.index, most) for own in idle]

    def read(self, event: SourceRead) -> None:
        """Records have come."""
        own = self.partitions[event.partition]
        assert own.asked, "a block that nobody asked for"
        own.is_pressed = event.count >= min(own.asked, LARGE_RECORDS)
        own.asked = 0
        own.waiting.append(event)
        if event.count:
            self.bytes_per_record += (len(event.raw) / event.count - self.bytes_per_record) * 0.5

    @property
    def proposal(self) -> int | None:
        """Rounds for the epoch after the next; None where nothing more will be read here."""
        count = len(self.unended)
        if self.live or not count:
            return None
        return max(1, int(self.bytes_wanted / (self.bytes_per_record * ROUND * count)))

    def worked(self, milliseconds: int) -> None:
        """An epoch took this long: they grow until latency bounds them."""
        if milliseconds > self.settings.epoch_ms_max:
            self.bytes_wanted = max(self.bytes_wanted // 2, self.settings.epoch_bytes_min // 16)
        else:
            self.bytes_wanted = min(self.bytes_wanted * 2, self.settings.epoch_bytes_max)

    # --- closing

    @property
    def is_ready(self) -> bool:
        """Whether an epoch can be closed with all that must be in it: finite partitions must all have answered."""
        return self.live or all(own.waiting for own in self.unended)

    def close(self, epoch: int, generation: int, now: int) -> list[LogEntry]:
        """What the own partitions give to this epoch."""
        assert self.is_ready
        entries = []
        for own in self.partitions.values():
            assert len(own.waiting) <= 1, "a partition gives one block to an epoch"
            entries += [self._entry(own, event, epoch, generation, now) for event in own.waiting]
            own.waiting.clear()
        return entries

    def _entry(self, own: OwnPartition, event: SourceRead, epoch: int, generation: int, now: int) -> LogEntry:
        time = self.times(own.index, event.raw)
        clock = max(own.cursor.clock, now if time is None else time)
        chunk = Chunk(own.index, own.cursor.number, event.count, clock, event.offset, event.ended, event.raw)
        entry = LogEntry(epoch, generation, clock, chunk)
        self.telling.logged(epoch, [chunk])
        own.cursor = own.cursor.after(entry)
        return entry

    def alarm(self, index: int, epoch: int, generation: int, now: int) -> LogEntry:
        """An entry of no records: a timer that is due opened the epoch, and its time must be in the log."""
        own = self.partitions[index]
        cursor = own.cursor
        chunk = Chunk(index, cursor.number, 0, cursor.clock, cursor.offset, cursor.ended, b"")
        entry = LogEntry(epoch, generation, now, chunk)
        own.cursor = cursor.after(entry)
        return entry


def parts_of(pipeline: Pipeline, settings: Settings) -> Parts:
    """The partitions of a pipeline's application, before any of them is a member's own."""
    plan, sources = pipeline.plan, [source for source, _ in pipeline.partitions]
    telling = Telling(wanting(plan, sources))
    times = pipeline.block_time
    return Parts(settings, live=plan.live, times=times, telling=telling, endless=endless(plan, sources))
