"""The contract of PartitionLog as a test: a model of plain lists against whatever implements it.

As tests/storage/conformance.py for Log and State; tests/storage/test_partition_log.py binds it to the memory twin and
to LMDB and adds the cases worth a name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.core.epochs import Chunk, Cursor, Lineage, LogEntry
from holdfast.storage.directory import DataDirectory
from holdfast.storage.log import EPOCH_BYTES
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.storage.partition_log import EntryRow, PartitionLog
from tests.storage.conformance import OFFSETS, RAW

PARTITIONS = range(4)


class PartitionWorld(Protocol):
    """One implementation of the partition log."""

    log: PartitionLog

    def restart(self) -> None:
        """End the process in any way that keeps what was answered, and open again."""
        ...

    def close(self) -> None: ...


class MemoryPartitionWorld:
    """The twin; every restart is a power loss, because a promise of durability is what it gives."""

    def __init__(self, seed: int = 0) -> None:
        self.disk = MemoryDisk()
        self._random = Random(seed)
        self.log: PartitionLog = MemoryPartitionLog(self.disk)

    def restart(self) -> None:
        self.disk.power_loss(self._random)
        self.log = MemoryPartitionLog(self.disk)

    def close(self) -> None:
        self.log.close()


class LmdbPartitionWorld:
    """A data directory on the real disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open(create=True)

    def _open(self, *, create: bool) -> None:
        self.directory = DataDirectory.open(self.path, create=create, wait=0)
        self.log: PartitionLog = self.directory.partitions()

    def restart(self) -> None:
        self.directory.close()
        self._open(create=False)

    def close(self) -> None:
        self.directory.close()


@dataclass(slots=True)
class Model:
    """What one partition's log is to hold."""

    adopted: int
    base: Cursor = field(default_factory=Cursor)
    entries: list[LogEntry] = field(default_factory=list)

    def cursor(self, epoch: int) -> Cursor:
        cursor = self.base
        for entry in self.entries:
            if entry.epoch <= epoch:
                cursor = cursor.after(entry)
        return cursor

    def lineage(self) -> Lineage:
        end = self.cursor(2**60)
        generations = sorted({entry.generation for entry in self.entries})
        spans = [(g, max(e.epoch for e in self.entries if e.generation == g)) for g in generations]
        return Lineage(self.adopted, self.base, end.epoch, tuple(spans), end.ended)


def row_of(entry: LogEntry) -> EntryRow:
    return EntryRow(entry.epoch, entry.time, entry.chunk.count, entry.chunk.time, entry.chunk.ended)


# What an entry adds to the one before it: epochs, records, time, offset, ended, raw records.
ADDED = st.tuples(
    st.integers(1, 3), st.integers(0, 300), st.integers(0, 2**42), OFFSETS, st.booleans(), RAW, st.sampled_from(PARTITIONS)
)


class PartitionLogMachine(RuleBasedStateMachine):
    """A partition log against lists. A subclass says in `world_of` which implementation."""

    def world_of(self) -> PartitionWorld:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.world = self.world_of()
        self.generation = 0
        self.formation: bytes | None = None
        self.logs: dict[int, Model] = {}
        self.rows: dict[int, dict[int, EntryRow]] = {}

    @rule(
        formation=st.binary(max_size=9),
        ahead=st.integers(0, 2),
        held=st.dictionaries(st.sampled_from(PARTITIONS), st.integers(-1, 12), max_size=4),
    )
    def adopt(self, formation: bytes, ahead: int, held: dict[int, int]) -> None:
        self.generation = max(1, self.generation + ahead)
        keeps = {p: self.logs[p].base.epoch + n if p in self.logs else n for p, n in held.items()}
        self.world.log.adopt(formation, self.generation, keeps.items())
        self.formation = formation
        for partition, keep in keeps.items():
            log = self.logs.setdefault(partition, Model(0))
            log.adopted = self.generation
            log.entries = [entry for entry in log.entries if entry.epoch <= keep]

    @precondition(lambda self: self.generation)
    @rule(
        partition=st.sampled_from(PARTITIONS),
        ahead=st.integers(0, 9),
        number=st.integers(0, 2**40),
        offset=OFFSETS,
        ended=st.booleans(),
    )
    def install(self, partition: int, ahead: int, number: int, offset: object, ended: bool) -> None:
        behind = self.logs[partition].base.epoch if partition in self.logs else 0
        base = Cursor(behind + ahead, number, offset, ended, ahead)
        self.world.log.install(partition, base, self.generation)
        self.logs[partition] = Model(self.generation, base)

    @rule(added=st.lists(ADDED, max_size=6))
    def append(self, added: list[tuple[int, int, int, object, bool, bytes, int]]) -> None:
        entries = []
        for epochs, records, time, offset, ended, raw, partition in added:
            if partition in self.logs:
                log = self.logs[partition]
                end = log.cursor(2**60)
                chunk = Chunk(partition, end.number, records, time, offset, ended, raw)
                entries.append(LogEntry(end.epoch + epochs, self.generation, time + epochs, chunk))
                log.entries.append(entries[-1])
        self.world.log.append(entries)

    @rule(upto=st.integers(0, 40), dropped=st.sets(st.sampled_from(PARTITIONS), max_size=1))
    def trim(self, upto: int, dropped: set[int]) -> None:
        self.world.log.trim(upto, set(PARTITIONS) - dropped)
        for partition in dropped & self.logs.keys():
            del self.logs[partition]
        self._trimmed(upto)

    def _trimmed(self, upto: int) -> None:
        for partition, log in self.logs.items():
            rows = self.rows.setdefault(partition, {})
            last = max(rows, default=-1)
            for entry in log.entries:
                if last < entry.epoch <= upto:
                    rows[entry.epoch] = row_of(entry)
            if any(entry.epoch <= upto for entry in log.entries):
                log.base, log.entries = log.cursor(upto), [entry for entry in log.entries if entry.epoch > upto]

    @rule(upto=st.integers(0, 40))
    def trim_step_by_step(self, upto: int) -> None:
        """Whatever a step leaves is a state of its own: nothing is lost that is not trimmed."""
        more = True
        while more:
            before = {partition: lineage.base.epoch for partition, lineage in self.world.log.lineages().items()}
            more = self.world.log.trim_step(upto, PARTITIONS)
            lineages = self.world.log.lineages()
            assert all(before[partition] <= lineages[partition].base.epoch for partition in before)
            assert {p: lineage.tail for p, lineage in lineages.items()} == {
                p: log.cursor(2**60).epoch for p, log in self.logs.items()
            }
        self._trimmed(upto)

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @precondition(lambda self: self.logs)
    @rule(data=st.data(), ahead=st.integers(0, 30), bytes_max=st.integers(0, 20_000))
    def read(self, data: st.DataObject, ahead: int, bytes_max: int) -> None:
        partition = data.draw(st.sampled_from(sorted(self.logs)))
        log = self.logs[partition]
        after = log.base.epoch + ahead
        found = self.world.log.read(partition, after, bytes_max)
        behind = [entry for entry in log.entries if entry.epoch > after]
        assert found == behind[: len(found)]
        assert found or not behind
        sizes = [EPOCH_BYTES + len(entry.chunk.raw) for entry in found]
        assert sum(sizes[:-1]) < max(bytes_max, 1)
        assert len(found) == len(behind) or sum(sizes) >= bytes_max
        assert self.world.log.cursor(partition, after) == log.cursor(after)

    @rule()
    def read_the_tables(self) -> None:
        for partition in PARTITIONS:
            rows = dict(self.rows.get(partition, {}))
            last = max(rows, default=-1)
            held = self.logs[partition].entries if partition in self.logs else []
            rows |= {entry.epoch: row_of(entry) for entry in held if entry.epoch > last}
            assert list(self.world.log.rows(partition)) == [rows[epoch] for epoch in sorted(rows)]

    @invariant()
    def what_is_held_agrees(self) -> None:
        if hasattr(self, "world"):
            log = self.world.log
            assert log.adopted() == (self.generation, self.formation)
            assert log.lineages() == {partition: model.lineage() for partition, model in self.logs.items()}
            entries = [entry for model in self.logs.values() for entry in model.entries]
            size = log.size()
            assert (size.logs, size.entries) == (len(self.logs), len(entries))
            assert size.entry_bytes == sum(len(entry.chunk.raw) for entry in entries)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.read_the_tables()
            for partition, log in self.logs.items():
                assert self.world.log.read(partition, log.base.epoch, 2**40) == log.entries
            self.world.close()
