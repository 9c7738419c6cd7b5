"""The memory twin of the partition log, on a `MemoryDisk`: see storage.memory for what a twin is.

Every changing call is `begin_…` (written) and then `finish_sync` (durable and visible), so that a kill can fall
between. Not here: what is held of a log (held_log).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import cast

from holdfast.core.epochs import Cursor, Lineage, LogEntry
from holdfast.core.errors import DamagedError
from holdfast.storage.held_log import (
    Described,
    HeldLog,
    check_entries,
    check_generation,
    check_held,
    check_install,
)
from holdfast.storage.memory_disk import MemoryDisk, Operations
from holdfast.storage.packing import pack, unpack
from holdfast.storage.partition_log import EntryRow, PartitionLogSize

STORE = "partitions"
TRIM_STEP_ENTRIES = 16  # few, so that a simulated kill often falls between two steps


class MemoryPartitionLog:
    """The partition log in memory.

    Keys: ("adopted",) -> (generation, formation), ("log", partition) -> (adopted, base, number of entries),
    ("entry", partition, epoch) -> entry, ("row", partition, epoch) -> row of a trimmed entry, ("commits",).
    """

    def __init__(self, disk: MemoryDisk) -> None:
        self._store = disk.store(STORE)
        self._after: Callable[[], None] = lambda: None
        self._logs: dict[int, HeldLog] = {}
        self._rows: dict[int, list[EntryRow]] = {}
        contents = self._store.contents
        if self._store.mark is not None and self._store.mark[0] > self._commits:
            raise DamagedError(STORE, f"it held {self._store.mark[0]} commits once and holds {self._commits}")
        for key in sorted(contents, key=repr):
            if key[0] == "log":
                partition = cast("int", key[1])
                adopted, base, _ = cast("tuple[int, Cursor, int]", contents[key])
                self._logs[partition] = HeldLog(adopted, base)
        self._find_entries()
        self._store.sync_mark()

    def _find_entries(self) -> None:
        contents = self._store.contents
        for key, value in contents.items():
            if key[0] == "entry":
                if key[1] not in self._logs:
                    raise DamagedError(f"{STORE}, partition {key[1]}", "its log is missing")
                self._logs[key[1]].entries.append(Described.of(cast("LogEntry", value)))
            elif key[0] == "row":
                self._rows.setdefault(cast("int", key[1]), []).append(cast("EntryRow", value))
        for rows in self._rows.values():
            rows.sort()
        for partition, log in self._logs.items():
            log.entries.sort(key=lambda each: each.epoch)
            check_held(STORE, partition, log)
            _, _, expected = cast("tuple[int, Cursor, int]", contents["log", partition])
            if len(log.entries) != expected:
                what = f"{len(log.entries)} entries are there instead of {expected}"
                raise DamagedError(f"{STORE}, partition {partition}", what)

    @property
    def _commits(self) -> int:
        return cast("int", self._store.contents.get(("commits",), 0))

    @property
    def busy(self) -> bool:
        """Whether something has begun that is not finished."""
        return self._store.busy

    def _begin(self, operations: Operations, changed: dict[int, HeldLog], after: Callable[[], None]) -> None:
        """Write a transaction; `changed` are the logs as they then are."""
        for partition, log in changed.items():
            operations["log", partition] = (log.adopted, log.base, len(log.entries))
        operations[("commits",)] = self._commits + 1

        def settle() -> None:
            self._logs |= changed
            after()

        self._after = settle
        self._store.begin(operations, (self._commits + 1,))

    def finish_sync(self) -> None:
        """Make durable and visible what has begun."""
        self._store.finish_sync()
        self._after()

    def begin_adopt(self, formation: bytes, generation: int, logs: Iterable[tuple[int, int]]) -> None:
        """Write a generation and what becomes of its logs."""
        check_generation(self.adopted()[0], generation)
        operations: Operations = {("adopted",): (generation, bytes(formation))}
        changed = {}
        for partition, keep in logs:
            log = _copy(self._logs.get(partition, HeldLog(0, Cursor())))
            log.adopted = generation
            at = log.upto(keep)
            operations |= {("entry", partition, each.epoch): None for each in log.entries[at:]}
            del log.entries[at:]
            changed[partition] = log
        self._begin(operations, changed, lambda: None)

    def begin_install(self, partition: int, base: Cursor, generation: int) -> None:
        """Write an empty log."""
        check_install(self.adopted()[0], generation)
        operations = self._dropped(partition)
        base = replace(base, offset=unpack(pack(base.offset)))
        self._begin(operations, {partition: HeldLog(generation, base)}, lambda: None)

    def _dropped(self, partition: int) -> Operations:
        """Return the deletion of a log."""
        entries = self._logs[partition].entries if partition in self._logs else []
        operations: Operations = {("entry", partition, each.epoch): None for each in entries}
        return operations | {("log", partition): None}

    def begin_append(self, entries: Sequence[LogEntry]) -> None:
        """Write entries; they are held after `finish_sync`."""
        check_entries(self._logs.get, entries)
        operations: Operations = {}
        changed: dict[int, HeldLog] = {}
        for entry in entries:
            partition = entry.chunk.partition
            kept = replace(entry, chunk=replace(entry.chunk, offset=unpack(pack(entry.chunk.offset))))
            operations["entry", partition, entry.epoch] = kept
            log = changed.get(partition) or _copy(self._logs[partition])
            log.entries.append(Described.of(kept))
            changed[partition] = log
        self._begin(operations, changed, lambda: None)

    def begin_trim(self, upto: int, keep: Collection[int]) -> bool:
        """Write one step of trimming; return whether more is left after it."""
        operations: Operations = {}
        changed: dict[int, HeldLog] = {}
        dropped = [partition for partition in self._logs if partition not in keep]
        for partition in dropped:
            operations |= self._dropped(partition)
        rows: dict[int, list[EntryRow]] = {}
        left, more = TRIM_STEP_ENTRIES, False
        for partition in sorted(self._logs.keys() - dropped):
            log = _copy(self._logs[partition])
            wanted = log.upto(upto)
            more |= wanted > left
            trimmed = log.trim(min(wanted, left))
            left -= len(trimmed)
            known = {row.epoch for row in self._rows.get(partition, ())}
            rows[partition] = [each.row for each in trimmed if each.epoch not in known]
            operations |= {("entry", partition, each.epoch): None for each in trimmed}
            operations |= {("row", partition, row.epoch): row for row in rows[partition]}
            if trimmed:
                changed[partition] = log

        def after() -> None:
            for partition in dropped:
                del self._logs[partition]
            for partition, added in rows.items():
                self._rows[partition] = sorted([*self._rows.get(partition, ()), *added])

        self._begin(operations, changed, after)
        return more

    def adopted(self) -> tuple[int, bytes | None]:
        return cast("tuple[int, bytes | None]", self._store.contents.get(("adopted",), (0, None)))

    def lineages(self) -> dict[int, Lineage]:
        return {partition: log.lineage() for partition, log in sorted(self._logs.items())}

    def adopt(self, formation: bytes, generation: int, logs: Iterable[tuple[int, int]]) -> None:
        self.begin_adopt(formation, generation, logs)
        self.finish_sync()

    def install(self, partition: int, base: Cursor, generation: int) -> None:
        self.begin_install(partition, base, generation)
        self.finish_sync()

    def append(self, entries: Sequence[LogEntry]) -> None:
        self.begin_append(entries)
        self.finish_sync()

    def read(self, partition: int, after: int, bytes_max: int) -> list[LogEntry]:
        wanted = self._logs[partition].wanted(after, bytes_max)
        return [self._entry(partition, each.epoch) for each in wanted]

    def _entry(self, partition: int, epoch: int) -> LogEntry:
        return cast("LogEntry", self._store.contents["entry", partition, epoch])

    def cursor(self, partition: int, epoch: int) -> Cursor:
        return self._logs[partition].cursor(epoch)

    def trim_step(self, upto: int, keep: Collection[int]) -> bool:
        more = self.begin_trim(upto, keep)
        self.finish_sync()
        return more

    def trim(self, upto: int, keep: Collection[int]) -> None:
        while self.trim_step(upto, keep):
            pass

    def rows(self, partition: int) -> Iterator[EntryRow]:
        held = self._logs[partition].entries if partition in self._logs else []
        rows = {each.epoch: each.row for each in held} | {row.epoch: row for row in self._rows.get(partition, ())}
        yield from sorted(rows.values())

    def size(self) -> PartitionLogSize:
        entries = [each for log in self._logs.values() for each in log.entries]
        return PartitionLogSize(len(self._logs), len(entries), sum(each.size for each in entries))

    def close(self) -> None:
        """Nothing is held."""


def _copy(log: HeldLog) -> HeldLog:
    """Return a copy that can be changed without the other."""
    copied = copy(log)
    copied.entries = list(log.entries)
    return copied
