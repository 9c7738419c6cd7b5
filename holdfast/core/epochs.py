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
