"""Epochs as they are logged, and their rows in the epoch table.

An epoch is a batch of raw inputs cut for the whole cluster, numbered from 1: the unit of logging, exchange and
delivery. The epoch table keeps a row for every epoch for ever, because with live sources the cuts decide the order of
messages.
Nothing here knows how epochs are stored (storage) or cut (worker).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """One partition's part of one epoch, raw."""

    partition: int  # index in the recorded list of partitions
    first: int  # number of the first record in its partition, from 0
    count: int  # records in `raw`
    time: int  # Unix milliseconds, never less than in the partition's previous chunk
    offset: object  # opaque and packable: where the source resumes after this chunk
    ended: bool  # nothing follows in this partition
    raw: bytes


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What the epoch table keeps of an epoch after its records are trimmed."""

    number: int
    time: int
    parts: tuple[tuple[int, int, int, bool], ...]  # (partition, records, chunk time, ended)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch as it stands in the log."""

    number: int
    generation: int
    time: int  # the greatest chunk time up to here, over all partitions
    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        """Bytes of its records."""
        return sum(len(chunk.raw) for chunk in self.chunks)

    @property
    def row(self) -> EpochRow:
        """This epoch's row in the epoch table."""
        parts = tuple((c.partition, c.count, c.time, c.ended) for c in self.chunks)
        return EpochRow(self.number, self.time, parts)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a partition stands after an epoch: what its next record is, and how its source goes on."""

    epoch: int = 0
    number: int = 0  # records up to here
    offset: object = None  # opaque and packable; None: at the start
    ended: bool = False
    clock: int = 0  # time of the last chunk

    def after(self, entry: LogEntry) -> Cursor:
        """Where it stands after this entry."""
        chunk = entry.chunk
        return Cursor(entry.epoch, chunk.first + chunk.count, chunk.offset, chunk.ended, chunk.time)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One partition's part of an epoch as a member of a cluster logs it, by partition.

    An epoch in which a partition has nothing has no entry of it.
    """

    epoch: int
    generation: int  # that made it: two entries of one partition, epoch and generation are the same
    time: int  # the epoch's time is at least this: of the chunk, or of a timer that alone opened the epoch
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a disk holds of one partition's log, and from which generations.

    Of two logs with equal beginnings of their spans, the entries in these are the same.
    """

    adopted: int  # the latest generation in which this disk was a holder of the log
    base: Cursor  # what lies before is trimmed
    tail: int  # epoch of the last entry, or of the base
    spans: tuple[tuple[int, int], ...]  # (generation, its last epoch here) of the entries behind the base, in order
    ended: bool = False  # the last entry, or the base, ends the partition
