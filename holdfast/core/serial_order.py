"""The serial order of records, as the reference goes through them, and the times they get.

Finite partitions interleave in rounds of ROUND records; with any live source, partitions go one after the
other within each epoch. Time starts at 0 and never goes back, neither a partition's own nor that of the turns
(rounds or epochs). This is the definition, over records that are all in hand; the engine has its own way over
epochs as they are logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from holdfast.core.application import Application
from holdfast.core.epochs import EpochRow
from holdfast.core.errors import UsageError
from holdfast.core.steps import Step

ROUND = 64  # records of each finite partition in a round
ONLY_PARTITION = "0"  # the name of a source's partition where a plain list is given

Inputs: TypeAlias = Mapping[str, "Iterable[Any] | Mapping[str, Iterable[Any]]"]


@dataclass(frozen=True, slots=True)
class At:
    """A record with a time (Unix milliseconds), as a source with `time=` gives it."""

    time: int
    record: Any


@dataclass(slots=True)
class Partition:
    """One partition of a source, with how far it was taken."""

    step: Step
    ordinal: int  # in its source
    name: str
    records: list[Any]
    timed: bool
    position: int = 0  # records taken so far
    clock: int = 0  # time of its last chunk


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition that stand together in a turn."""

    partition: Partition
    first: int
    records: list[Any]
    time: int


def partitions_of(application: Application, inputs: Inputs) -> list[Partition]:
    """In order: sources as they were defined, each one's partitions as they were given."""
    names = [step.name for step in application.sources]
    unknown = [name for name in inputs if name not in names]
    if unknown:
        raise UsageError(
            f"application {application.name!r} has no source {unknown[0]!r}; its sources are {', '.join(names)}"
        )
    partitions = []
    for step in application.sources:
        given = inputs.get(step.name, ())
        by_name = given if isinstance(given, Mapping) else {ONLY_PARTITION: given}
        lists = {str(name): list(records) for name, records in by_name.items()}
        timed = any(isinstance(record, At) for records in lists.values() for record in records)
        for ordinal, (name, records) in enumerate(lists.items()):
            partitions.append(Partition(step, ordinal, name, records, timed))
    return partitions


def turns(
    partitions: list[Partition], epochs: Sequence[EpochRow] | None, *, live: bool
) -> Iterator[tuple[int, list[Chunk]]]:
    """Rounds, or with any live source epochs: (time, records of each partition in order).

    Without an epoch table all records are one epoch; its rounds are the same however it is cut. A round has records; an
    epoch of live sources may have none, but a time at which timers are due.
    """
    if epochs is None:
        epochs = [EpochRow(1, 0, tuple((i, len(p.records), 0, True) for i, p in enumerate(partitions)))]
    time = 0
    for row in epochs:
        left = {index: count for index, count, _, _ in sorted(row.parts)}
        logged = {index: chunk_time for index, _, chunk_time, _ in row.parts}
        if live:
            time = max(time, row.time)
        begun = False
        while any(left.values()) or (live and not begun):
            chunks = []
            for index, count in left.items():
                if not live and not count:
                    continue
                chunk = _next_chunk(partitions[index], count if live else min(count, ROUND), logged[index])
                chunks.append(chunk)
                time = max(time, chunk.time)
                left[index] -= len(chunk.records)
            begun = True
            yield time, chunks


def _next_chunk(partition: Partition, count: int, logged_time: int) -> Chunk:
    first = partition.position
    taken = partition.records[first : first + count]
    if len(taken) < count:
        raise UsageError(
            f"source {partition.step.name!r}, partition {partition.name!r}: the epoch table "
            f"holds more than the {len(partition.records)} records that were given"
        )
    times = [record.time for record in taken if isinstance(record, At)]
    partition.clock = max(partition.clock, max(times, default=0) if partition.timed else logged_time)
    partition.position += count
    records = [record.record if isinstance(record, At) else record for record in taken]
    return Chunk(partition, first, records, partition.clock)
