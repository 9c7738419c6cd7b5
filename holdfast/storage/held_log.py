"""What is held of one partition's log, without the records: everything but reading is answered from this.

Invariant: `entries` are those behind `base`, by epoch, rising, and each begins with the record at which the one
before it ends. Shared by the forms of the partition log (storage.partition_log); where records are kept is theirs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from holdfast.core.epochs import Chunk, Cursor, Lineage, LogEntry
from holdfast.core.errors import DamagedError
from holdfast.storage.log import EPOCH_BYTES, LogOrderError
from holdfast.storage.partition_log import EntryRow


class Described(NamedTuple):
    """An entry of a known partition without its records."""

    epoch: int
    generation: int
    time: int
    first: int
    records: int
    clock: int  # time of the chunk
    offset: object
    ended: bool
    size: int  # of the raw records
    batch: int = 0  # the transaction that appended it …
    start: int = 0  # … and where in its raw records those of this entry begin

    @classmethod
    def of(cls, entry: LogEntry) -> Described:
        """Describe an entry, of which it is not said where it is kept."""
        chunk = entry.chunk
        return cls(
            entry.epoch,
            entry.generation,
            entry.time,
            chunk.first,
            chunk.count,
            chunk.time,
            chunk.offset,
            chunk.ended,
            len(chunk.raw),
        )

    @property
    def row(self) -> EntryRow:
        """This entry's row in the epoch table."""
        return EntryRow(self.epoch, self.time, self.records, self.clock, self.ended)

    @property
    def cursor(self) -> Cursor:
        """Where the partition stands after this entry."""
        return Cursor(self.epoch, self.first + self.records, self.offset, self.ended, self.clock)

    def entry(self, partition: int, raw: bytes) -> LogEntry:
        """The entry with its records."""
        chunk = Chunk(partition, self.first, self.records, self.clock, self.offset, self.ended, raw)
        return LogEntry(self.epoch, self.generation, self.time, chunk)


_epoch = attrgetter("epoch")


@dataclass(slots=True)
class HeldLog:
    """One partition's log."""

    adopted: int
    base: Cursor
    entries: list[Described] = field(default_factory=list)

    @property
    def tail(self) -> Cursor:
        """Where the partition stands after the last entry."""
        return self.entries[-1].cursor if self.entries else self.base

    @property
    def end(self) -> tuple[int, int, int]:
        """Epoch and generation of the last entry, and the number of the record that follows it."""
        if not self.entries:
            return self.base.epoch, 0, self.base.number
        last = self.entries[-1]
        return last.epoch, last.generation, last.first + last.records

    def upto(self, epoch: int) -> int:
        """Return how many entries are of epochs <= `epoch`."""
        return bisect_right(self.entries, epoch, key=_epoch)

    def cursor(self, epoch: int) -> Cursor:
        """Return where the partition stands after an epoch."""
        assert epoch >= self.base.epoch, "these epochs are trimmed"
        at = self.upto(epoch)
        return self.entries[at - 1].cursor if at else self.base

    def wanted(self, after: int, bytes_max: int) -> list[Described]:
        """Return the entries behind `after` that a read of about `bytes_max` gives."""
        assert after >= self.base.epoch, "these epochs are trimmed"
        at = end = self.upto(after)
        held = 0
        while end < len(self.entries) and (end == at or held < bytes_max):
            held += EPOCH_BYTES + self.entries[end].size
            end += 1
        return self.entries[at:end]

    def trim(self, count: int) -> list[Described]:
        """Take the first `count` entries off, move the base behind them and return them."""
        trimmed = self.entries[:count]
        if trimmed:
            self.base = trimmed[-1].cursor
            del self.entries[:count]
        return trimmed

    def lineage(self) -> Lineage:
        """Return what is held."""
        spans: dict[int, int] = {each.generation: each.epoch for each in self.entries}
        tail = self.tail
        return Lineage(self.adopted, self.base, tail.epoch, tuple(spans.items()), tail.ended)


def check_entries(held: Callable[[int], HeldLog | None], entries: Sequence[LogEntry]) -> None:
    """Raise LogOrderError unless `entries` go on where the logs end."""
    ends: dict[int, tuple[int, int, int]] = {}  # by partition
    for entry in entries:
        partition = entry.chunk.partition
        if partition not in ends:
            log = held(partition)
            if log is None:
                raise LogOrderError(f"epoch {entry.epoch} of partition {partition} appended, whose log is not held")
            ends[partition] = log.end
        epoch, generation, number = ends[partition]
        if entry.epoch <= epoch or entry.generation < generation:
            what = f"epoch {entry.epoch} of generation {entry.generation} appended behind {epoch} of {generation}"
            raise LogOrderError(f"partition {partition}: {what}")
        if entry.chunk.first != number:
            what = f"record {entry.chunk.first} appended in epoch {entry.epoch} where {number} was expected"
            raise LogOrderError(f"partition {partition}: {what}")
        ends[partition] = (entry.epoch, entry.generation, number + entry.chunk.count)


def check_held(name: str, partition: int, log: HeldLog) -> None:
    """Raise DamagedError unless the entries read from a disk follow each other and the base."""
    end = log.base
    for each in log.entries:
        if each.epoch <= end.epoch or each.first != end.number:
            what = f"epoch {each.epoch} begins with record {each.first}, epoch {end.epoch} ends before {end.number}"
            raise DamagedError(f"{name}, partition {partition}", what)
        end = each.cursor


def check_generation(latest: int, generation: int) -> None:
    """Raise LogOrderError if a generation older than the latest is to be adopted."""
    if generation < max(latest, 1):
        raise LogOrderError(f"generation {generation} adopted behind {latest}")


def check_install(latest: int, generation: int) -> None:
    """Raise LogOrderError if a log is installed in another generation than the adopted one."""
    if generation != latest or not generation:
        raise LogOrderError(f"a log of generation {generation} installed in generation {latest}")
