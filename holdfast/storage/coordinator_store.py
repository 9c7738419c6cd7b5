"""What a coordinator must not forget, as a Protocol: one record, and the number of its life.

Invariant: the record is the one that `put` last was given when it returned, or of a call under way the new one or the
one before it, whole; every life has a greater number than all before it. `storage.lmdb_coordinator_store` keeps it on
disk, `storage.memory_coordinator_store` in memory. What the record means is not known here.
"""

from __future__ import annotations

from typing import Protocol


class CoordinatorStore(Protocol):
    """The store of one coordinator.

    Raises: `DamagedError` where something read is not what was written, `DiskFullError` and `StorageError` where
    something could not be written; after these two nothing more may be called but `close`.
    """

    def life(self) -> int:
        """Return the number of this life, from 1: it was made durable when the store was opened."""
        ...

    def record(self) -> bytes | None:
        """Return the record, None before the first."""
        ...

    def put(self, record: bytes) -> None:
        """Make `record` the record, durably and in one step."""
        ...

    def close(self) -> None:
        """Release what is held; nothing may be called afterwards."""
        ...
