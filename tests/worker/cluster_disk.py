"""What a node of the driven cluster keeps over its lives, over plain lists."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from holdfast.core.epochs import Cursor, Lineage, LogEntry
from holdfast.worker import cluster_events as chas


@dataclass
class PartitionLog:
    """One partition's log on one disk."""

    adopted: int = 0
    base: Cursor = field(default_factory=Cursor)
    entries: list[LogEntry] = field(default_factory=list)
    rows: dict[int, tuple[int, int, int, bool]] = field(default_factory=dict)

    def cursor(self, epoch: int) -> Cursor:
        assert epoch >= self.base.epoch
        found = self.base
        for entry in self.entries:
            if entry.epoch <= epoch:
                found = found.after(entry)
        return replace(found, epoch=epoch)

    def cut_off(self, upto: int) -> None:
        self.entries = [e for e in self.entries if e.epoch <= upto]
        self.rows = {e: row for e, row in self.rows.items() if e <= upto}

    def append(self, entry: LogEntry) -> None:
        assert entry.epoch > (self.entries[-1].epoch if self.entries else self.base.epoch)
        self.entries.append(entry)
        chunk = entry.chunk
        self.rows[entry.epoch] = (entry.time, chunk.count, chunk.time, chunk.ended)

    def lineage(self) -> Lineage:
        spans: dict[int, int] = {}
        for entry in self.entries:
            spans[entry.generation] = entry.epoch
        last = self.cursor(1 << 60)
        tail = self.entries[-1].epoch if self.entries else self.base.epoch
        return Lineage(self.adopted, self.base, tail, tuple(spans.items()), last.ended)


@dataclass
class Disk:
    """What a node keeps over its lives."""

    incarnation: int = 0
    adopted: int = 0
    logs: dict[int, PartitionLog] = field(default_factory=dict)
    complete: tuple[int, bytes] | None = None
    prepared: tuple[int, bytes] | None = None
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    staged: list[tuple[int, bytes]] = field(default_factory=list)

    def chunks_of(self, number: int) -> list[bytes]:
        """What it has of this checkpoint, complete or prepared."""
        chunks = [chunk for _, chunk in self.chunks]
        if self.complete is not None and self.complete[0] == number:
            return chunks
        assert self.prepared is not None
        assert self.prepared[0] == number
        return chunks + [chunk for _, chunk in self.staged]

    def found(self) -> chas.Found:
        logs = tuple((p, log.lineage()) for p, log in sorted(self.logs.items()))
        return chas.Found(self.adopted, logs, self.complete, self.prepared)
