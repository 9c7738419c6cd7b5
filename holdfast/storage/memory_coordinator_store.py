"""The memory twin of the coordinator's store, on a `MemoryDisk`: see storage.memory for what a twin is.

`begin_put` (written) and `finish_sync` (durable and visible) are `put` in two, so that a kill can fall between.
"""

from __future__ import annotations

from typing import cast

from holdfast.core.errors import DamagedError
from holdfast.storage.memory_disk import MemoryDisk, Operations

STORE = "coordinator"


class MemoryCoordinatorStore:
    """The store in memory. Keys: ("life",), ("record",), ("commits",)."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._store = disk.store(STORE)
        if self._store.mark is not None and self._store.mark[0] > self._number("commits"):
            raise DamagedError(STORE, f"it held {self._store.mark[0]} commits once and holds {self._number('commits')}")
        self._begin({("life",): self._number("life") + 1})
        self.finish_sync()
        self._store.sync_mark()

    def _number(self, name: str) -> int:
        return cast("int", self._store.contents.get((name,), 0))

    def _begin(self, operations: Operations) -> None:
        commits = self._number("commits") + 1
        operations[("commits",)] = commits
        self._store.begin(operations, (commits,))

    @property
    def busy(self) -> bool:
        """Whether a record has begun that is not finished."""
        return self._store.busy

    def begin_put(self, record: bytes) -> None:
        """Write a record."""
        self._begin({("record",): bytes(record)})

    def finish_sync(self) -> None:
        """Make durable and visible what has begun."""
        self._store.finish_sync()

    def life(self) -> int:
        return self._number("life")

    def record(self) -> bytes | None:
        return cast("bytes | None", self._store.contents.get(("record",)))

    def put(self, record: bytes) -> None:
        self.begin_put(record)
        self.finish_sync()

    def close(self) -> None:
        """Nothing is held."""
