"""The log: the write-ahead log of inputs and the epoch table, as a Protocol.

Invariant: what `append` was given is on the disk when `append` returns, whole or not at all, and is given
back by `read` exactly, or `DamagedError` names the place. Epochs have no gaps: `base() < n <= tail()` are
held, 1 to `tail()` have rows. `storage.lmdb_log` keeps it on disk, `storage.memory` in memory;
tests/storage/conformance.py is the contract as tests. Every call is a whole transaction of its own, so each
may run on any thread; never two changing calls at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from holdfast.core.epochs import Chunk, Epoch, EpochRow


class LogOrderError(AssertionError):
    """Epochs were appended that don't follow the log's tail; nothing was written. A bug of the caller."""


class Log(Protocol):
    """The inputs, raw, by epoch; and the epoch table, for ever.

    Raises: `DamagedError` where something read is not what was written, `DiskFullError` and `StorageError`
    where something could not be written; after these two nothing more may be called but `close`.
    """

    def append(self, epochs: Sequence[Epoch]) -> None:
        """Make `epochs` durable in one transaction; they must follow `tail()` without a gap."""
        ...

    def tail(self) -> int:
        """Return the last epoch held or ever held; 0 where none was."""
        ...

    def base(self) -> int:
        """Return the last trimmed epoch: its records and those before it are gone."""
        ...

    def read(self, after: int, bytes_max: int) -> list[Epoch]:
        """Return consecutive epochs from `after` + 1: at least one if there is one, and no more once
        `bytes_max` is reached.

        Their size is that of their records plus something for each epoch. `after` must not lie before
        `base()`.
        """
        ...

    def trim_step(self, upto: int) -> bool:
        """Drop some records of epochs <= `upto` in one small transaction; return whether more of them are
        left.
        """
        ...

    def trim(self, upto: int) -> None:
        """Drop all records of epochs <= `upto`, in as many steps as it takes; the epoch table keeps their
        rows.
        """
        ...

    def rows(self) -> Iterator[EpochRow]:
        """Yield the epoch table, from epoch 1 to the tail."""
        ...

    def close(self) -> None:
        """Release what is held; nothing may be called afterwards."""
        ...


EPOCH_BYTES = 200  # counted for an epoch itself, so that epochs without records are not read without bound


def size_in_memory(chunks: Sequence[Chunk]) -> int:
    """Return what an epoch of these chunks counts in `Log.read`."""
    return EPOCH_BYTES + sum(len(chunk.raw) for chunk in chunks)


def check_order(tail: int, epochs: Sequence[Epoch]) -> None:
    """Raise LogOrderError unless `epochs` follow `tail` without a gap."""
    for expected, epoch in enumerate(epochs, tail + 1):
        if epoch.number != expected:
            raise LogOrderError(f"epoch {epoch.number} appended where {expected} was expected")
