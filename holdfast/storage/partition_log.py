"""The partition log: one worker's logs of a cluster's inputs, by source partition, primary or backup alike.

Invariant: what a call was given is on the disk when it returns, whole or not at all, and is given back exactly, or
`DamagedError` names the place. In each log epochs rise, with gaps where a partition had nothing, and the records of
an entry follow those of the entry before it. A cursor's epoch is that of an entry (or the installed base's), never
one in which the partition had nothing: so two holders of equal logs say the same, however far each has trimmed.
`storage.lmdb_partition_log` keeps it on disk, `storage.memory_partition_log` in memory; the contract as tests is
tests/storage/partition_conformance.py. Which of two logs is right is not known here. Every call is a whole
transaction of its own, so each may run on any thread; never two changing calls at a time, but `read`, `cursor` and
`rows` beside one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from holdfast.core.epochs import Cursor, Lineage, LogEntry


class EntryRow(NamedTuple):
    """A partition's row in its epoch table: what is kept of an entry after its records are trimmed."""

    epoch: int
    time: int  # of the entry: the epoch's time is at least this
    records: int
    clock: int  # time of its chunk
    ended: bool


@dataclass(frozen=True, slots=True)
class PartitionLogSize:
    """How much is held."""

    logs: int
    entries: int
    entry_bytes: int  # of their raw records


class PartitionLog(Protocol):
    """The logs of one worker, and the epoch tables of their partitions, for ever.

    Raises: `LogOrderError` (log) where a call is a bug of the caller, and then nothing was written; `DamagedError`
    where something read is not what was written; `DiskFullError` and `StorageError` where something could not be
    written; after these two nothing more may be called but `close`.
    """

    def adopted(self) -> tuple[int, bytes | None]:
        """Return the latest generation adopted and its formation; 0 and None before the first."""
        ...

    def lineages(self) -> dict[int, Lineage]:
        """Return what is held, by partition."""
        ...

    def adopt(self, formation: bytes, generation: int, logs: Iterable[tuple[int, int]]) -> None:
        """Make `generation` the latest one; all in one transaction.

        `logs` is (partition, keep) of the partitions to hold: each takes the generation's number and loses its entries
        behind epoch `keep`; what is trimmed stays trimmed. One that has no log begins empty, at the start. Logs of
        other partitions stay as they are, with the number that they have.
        """
        ...

    def install(self, partition: int, base: Cursor, generation: int) -> None:
        """Begin a partition's log anew, empty, behind `base`, in the generation that was adopted."""
        ...

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Make entries of any partitions held durable, in one transaction.

        In each partition epochs rise strictly, generations don't fall, and the records follow those before them.
        """
        ...

    def read(self, partition: int, after: int, bytes_max: int) -> list[LogEntry]:
        """Return consecutive entries of epochs behind `after`: at least one if there is one, and no more once
        `bytes_max` is reached.

        Their size is that of their records plus something for each entry. `after` must not lie before the base.
        """
        ...

    def cursor(self, partition: int, epoch: int) -> Cursor:
        """Return where a partition stands after an epoch, which must not lie before the base."""
        ...

    def trim_step(self, upto: int, keep: Collection[int]) -> bool:
        """Drop the records of some entries of epochs <= `upto` in one small transaction; return whether more is left.

        The bases move in the same transaction. Logs of partitions that are not in `keep` are dropped whole.
        """
        ...

    def trim(self, upto: int, keep: Collection[int]) -> None:
        """Drop the records of all entries of epochs <= `upto`, in as many steps as it takes."""
        ...

    def rows(self, partition: int) -> Iterator[EntryRow]:
        """Yield a partition's epoch table as far as it is known here.

        A row is kept for ever once its entry was trimmed here, whatever becomes of the log; rows of entries that are
        held come and go with them. An installed log brings no rows: who wants all of them merges the tables of all
        workers, and what was trimmed anywhere is in one of them.
        """
        ...

    def size(self) -> PartitionLogSize:
        """Return how much is held."""
        ...

    def close(self) -> None:
        """Release what is held; nothing may be called afterwards."""
        ...
