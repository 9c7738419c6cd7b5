"""Replay: the own partitions' logs, from the generation's cut to its level, epoch by epoch.

Invariant: entries are handed out in the order of their epochs, each once; an epoch is ready when every own partition's
log has been read up to it, so that "nothing here" means that the log has nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from holdfast.core.epochs import Cursor, LogEntry
from holdfast.worker.cluster_effects import ClusterEffect, ReadCursor, ReadEntries


class Replay:
    """Reads what is to be worked on again."""

    def __init__(self, cut: int, level: int, partitions: Iterable[int], bytes_max: int) -> None:
        self.cut = cut
        self.level = level
        self.bytes_max = bytes_max
        self.cursors: dict[int, Cursor] = {}
        self._missing = set(partitions)  # whose cursors have not come
        self._entries: dict[int, deque[LogEntry]] = {partition: deque() for partition in sorted(self._missing)}
        self._read_to = dict.fromkeys(self._entries, cut)  # nothing up to here is still to be read
        self._asked: set[int] = set()

    def begin(self) -> list[ClusterEffect]:
        """Find where the partitions stand at the cut."""
        return [ReadCursor(partition, self.cut) for partition in self._entries]

    def cursor_read(self, partition: int, cursor: Cursor) -> None:
        """One of them is known."""
        self.cursors[partition] = cursor
        self._missing.discard(partition)

    @property
    def has_cursors(self) -> bool:
        """Whether it is known where every own partition stands at the cut."""
        return not self._missing

    def ask(self) -> list[ClusterEffect]:
        """Read on in logs of which nothing is in hand."""
        orders: list[ClusterEffect] = []
        for partition, entries in self._entries.items():
            if not entries and self._read_to[partition] < self.level and partition not in self._asked:
                self._asked.add(partition)
                orders.append(ReadEntries(partition, self._read_to[partition], self.bytes_max, ""))
        return orders

    def entries_read(self, partition: int, entries: tuple[LogEntry, ...]) -> None:
        """The next of a partition; none: its log ends."""
        self._asked.discard(partition)
        self._entries[partition].extend(entry for entry in entries if entry.epoch <= self.level)
        self._read_to[partition] = entries[-1].epoch if entries else self.level

    def is_ready(self, epoch: int) -> bool:
        """Whether all is in hand that the own logs have of this epoch."""
        return all(epoch <= self._read_to[p] or self._entries[p] for p in self._entries)

    def take(self, epoch: int) -> list[LogEntry]:
        """The epoch's entries."""
        found = []
        for entries in self._entries.values():
            if entries and entries[0].epoch == epoch:
                found.append(entries.popleft())
            assert not entries or entries[0].epoch > epoch, "entries are taken in the order of their epochs"
        return found
