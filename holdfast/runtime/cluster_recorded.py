"""The epoch table of a cluster that has ended, and its logs, gathered from the directories of its workers.

Every worker keeps the rows of the partitions whose logs it held. What was trimmed anywhere was durable everywhere; rows
of entries that are still held count only where the disk was a holder to the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.core.epochs import EpochRow
from holdfast.storage.directory import DataDirectory
from holdfast.storage.partition_log import EntryRow, PartitionLog

READ_BYTES = 16 << 20
LOST = "lost-*"  # folders in a rehearsal's scratch folder: what was on disks that were wiped


def epoch_table(data: Path, partitions: int, lost: Sequence[Path] = ()) -> list[EpochRow]:
    """The epochs of a cluster, those that are no turns left out; `lost` are directories of workers that it has lost."""
    found: list[dict[int, EntryRow]] = [{} for _ in range(partitions)]
    directories = [DataDirectory.open(path, create=False) for path in [*lost, *sorted(data.glob("worker-*"))]]
    try:
        logs = [directory.partitions() for directory in directories]
        latest = max((log.adopted()[0] for log in logs), default=0)
        for partition, rows in enumerate(found):
            for log in logs:
                rows.update(_rows(log, partition, latest))
    finally:
        for directory in directories:
            directory.close()
    return _merged(found)


def logged(data: Path, partition: int) -> Iterator[bytes]:
    """What was logged of a partition, piece by piece, from a log that was never trimmed."""
    directories = [DataDirectory.open(path, create=False) for path in sorted(data.glob("worker-*"))]
    try:
        logs = [directory.partitions() for directory in directories]
        latest = max((log.adopted()[0] for log in logs), default=0)
        found = [(log.lineages().get(partition), log) for log in logs]
        holders = [(own.tail, log) for own, log in found if own is not None and own.adopted == latest]
        if holders:
            _, log = max(holders, key=lambda holder: holder[0])
            after = 0
            while entries := log.read(partition, after, READ_BYTES):
                after = entries[-1].epoch
                yield from (entry.chunk.raw for entry in entries)
    finally:
        for directory in directories:
            directory.close()


def _rows(log: PartitionLog, partition: int, latest: int) -> dict[int, EntryRow]:
    lineage = log.lineages().get(partition)
    held = lineage is not None and lineage.adopted == latest
    base = lineage.base.epoch if lineage is not None else 0
    return {row.epoch: row for row in log.rows(partition) if held or lineage is None or row.epoch <= base}


def _merged(found: list[dict[int, EntryRow]]) -> list[EpochRow]:
    table, time = [], 0
    for epoch in sorted({epoch for rows in found for epoch in rows}):
        parts = [(partition, rows[epoch]) for partition, rows in enumerate(found) if epoch in rows]
        time = max([time, *(row.time for _, row in parts)])
        table.append(EpochRow(epoch, time, tuple((p, row.records, row.clock, row.ended) for p, row in parts)))
    return table
