"""The contract of PartitionLog as a test: a model of plain lists against whatever implements it.

As tests/storage/conformance.py for Log and State; tests/storage/test_partition_log.py binds it to the memory twin and
to LMDB and adds the cases worth a name.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
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
from tests.storage.killing import Killer, kill_twin

PARTITIONS = range(4)
END = 2**60  # an epoch behind all that there are


class PartitionWorld(Protocol):
    """One implementation of the partition log."""

    log: PartitionLog

    def restart(self) -> None:
        """End the process in any way that keeps what was answered, and open again."""
        ...

    def killed(self, call: Callable[[], object], random: Random) -> None:
        """End the process in the middle of a call, and open again."""
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

    def killed(self, call: Callable[[], object], random: Random) -> None:
        kill_twin(self.log, self.disk, call, random)
        self.log = MemoryPartitionLog(self.disk)

    def close(self) -> None:
        self.log.close()


class LmdbPartitionWorld:
    """A data directory on the real disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._killer = Killer()
        self._open(create=True)

    def _open(self, *, create: bool) -> None:
        self.directory = DataDirectory.open(self.path, create=create, wait=0, reached=self._killer.reached)
        self.log: PartitionLog = self.directory.partitions()

    def restart(self) -> None:
        self.directory.close()
        self._open(create=False)

    def killed(self, call: Callable[[], object], random: Random) -> None:
        self._killer.kill(call, random)
        self.restart()

    def close(self) -> None:
        self.directory.close()


def row_of(entry: LogEntry) -> EntryRow:
    return EntryRow(entry.epoch, entry.time, entry.chunk.count, entry.chunk.time, entry.chunk.ended)


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
        end = self.cursor(END)
        generations = sorted({entry.generation for entry in self.entries})
        spans = [(g, max(e.epoch for e in self.entries if e.generation == g)) for g in generations]
        return Lineage(self.adopted, self.base, end.epoch, tuple(spans), end.ended)


# What an entry adds to the one before it: epochs, records, time, offset, ended, raw records; and of which partition.
Added = tuple[int, int, int, object, bool, bytes, int]
ADDED = st.tuples(
    st.integers(1, 3),
    st.integers(0, 300),
    st.integers(0, 2**42),
    OFFSETS,
    st.booleans(),
    RAW,
    st.sampled_from(PARTITIONS),
)


@dataclass(slots=True)
class Models:
    """What all logs are to hold. Each call changes this and returns the same call for an implementation."""

    generation: int = 0
    formation: bytes | None = None
    logs: dict[int, Model] = field(default_factory=dict)
    trimmed: dict[int, dict[int, EntryRow]] = field(default_factory=dict)

    def adopt(self, formation: bytes, ahead: int, held: dict[int, int]) -> Callable[[PartitionLog], object]:
        generation = self.generation = max(1, self.generation + ahead)
        keeps = {p: self.logs[p].base.epoch + n if p in self.logs else n for p, n in held.items()}
        self.formation = formation
        for partition, keep in keeps.items():
            log = self.logs.setdefault(partition, Model(0))
            log.adopted = generation
            log.entries = [entry for entry in log.entries if entry.epoch <= keep]
        return lambda log: log.adopt(formation, generation, keeps.items())

    def install(self, partition: int, base: Cursor) -> Callable[[PartitionLog], object]:
        generation = self.generation
        self.logs[partition] = Model(generation, base)
        return lambda log: log.install(partition, base, generation)

    def append(self, added: list[Added]) -> Callable[[PartitionLog], object]:
        entries = []
        for epochs, records, time, offset, ended, raw, partition in added:
            if partition in self.logs:
                log = self.logs[partition]
                end = log.cursor(END)
                chunk = Chunk(partition, end.number, records, time, offset, ended, raw)
                entries.append(LogEntry(end.epoch + epochs, self.generation, time + epochs, chunk))
                log.entries.append(entries[-1])
        return lambda log: log.append(entries)

    def trim(self, upto: int, dropped: set[int]) -> Callable[[PartitionLog], object]:
        for partition in dropped & self.logs.keys():
            del self.logs[partition]
        for partition, log in self.logs.items():
            rows = self.trimmed.setdefault(partition, {})
            for entry in log.entries:
                if entry.epoch <= upto:
                    rows.setdefault(entry.epoch, row_of(entry))
            log.base, log.entries = log.cursor(upto), [entry for entry in log.entries if entry.epoch > upto]
        keep = set(PARTITIONS) - dropped
        return lambda log: log.trim(upto, keep)

    def rows(self, partition: int) -> list[EntryRow]:
        held = self.logs[partition].entries if partition in self.logs else []
        rows = {entry.epoch: row_of(entry) for entry in held} | self.trimmed.get(partition, {})
        return [rows[epoch] for epoch in sorted(rows)]

    def differs(self, log: PartitionLog) -> str:
        """What of all that can be asked is not as it is to be; empty if nothing."""
        size = log.size()
        entries = [entry for model in self.logs.values() for entry in model.entries]
        answers: dict[str, tuple[object, object]] = {
            "adopted": (log.adopted(), (self.generation, self.formation)),
            "lineages": (log.lineages(), {partition: model.lineage() for partition, model in self.logs.items()}),
            "rows": ([list(log.rows(p)) for p in PARTITIONS], [self.rows(p) for p in PARTITIONS]),
            "size": (
                (size.logs, size.entries, size.entry_bytes),
                (len(self.logs), len(entries), sum(len(entry.chunk.raw) for entry in entries)),
            ),
        }
        for partition, model in self.logs.items():
            if log.lineages().get(partition) == model.lineage():
                answers[f"log {partition}"] = (log.read(partition, model.base.epoch, 2**40), model.entries)
        return "; ".join(f"{what}: {is_} is not {to_be}" for what, (is_, to_be) in answers.items() if is_ != to_be)


class PartitionLogMachine(RuleBasedStateMachine):
    """A partition log against lists. A subclass says in `world_of` which implementation."""

    def world_of(self) -> PartitionWorld:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.world = self.world_of()
        self.models = Models()

    def do(self, change: Callable[[Models], Callable[[PartitionLog], object]], fate: int) -> None:
        """Make a call, or, by its fate, only begin it: then it has happened as a whole or not at all."""
        before = deepcopy(self.models)
        call = change(self.models)
        if fate < 3:
            call(self.world.log)
            return
        self.world.killed(lambda: call(self.world.log), Random(fate))
        if self.models.differs(self.world.log):
            self.models = before

    @rule(
        formation=st.binary(max_size=9),
        ahead=st.integers(0, 2),
        held=st.dictionaries(st.sampled_from(PARTITIONS), st.integers(-1, 12), max_size=4),
        fate=st.integers(0, 5),
    )
    def adopt(self, formation: bytes, ahead: int, held: dict[int, int], fate: int) -> None:
        self.do(lambda models: models.adopt(formation, ahead, held), fate)

    @precondition(lambda self: self.models.generation)
    @rule(
        partition=st.sampled_from(PARTITIONS),
        epoch=st.integers(0, 40),
        number=st.integers(0, 2**40),
        offset=OFFSETS,
        ended=st.booleans(),
        fate=st.integers(0, 5),
    )
    def install(self, partition: int, epoch: int, number: int, offset: object, ended: bool, fate: int) -> None:
        self.do(lambda models: models.install(partition, Cursor(epoch, number, offset, ended, epoch)), fate)

    @rule(added=st.lists(ADDED, max_size=6), fate=st.integers(0, 5))
    def append(self, added: list[Added], fate: int) -> None:
        self.do(lambda models: models.append(added), fate)

    @rule(added=st.lists(ADDED, min_size=2, max_size=6))
    def append_more(self, added: list[Added]) -> None:
        self.do(lambda models: models.append(added), 0)

    @rule(upto=st.integers(0, 40), dropped=st.sets(st.sampled_from(PARTITIONS), max_size=1))
    def trim(self, upto: int, dropped: set[int]) -> None:
        self.do(lambda models: models.trim(upto, dropped), 0)

    @rule(upto=st.integers(0, 40), fate=st.integers(0, 3))
    def trim_step_by_step(self, upto: int, fate: int) -> None:
        """Whatever a step leaves is a state of its own, also where a life ends: nothing is lost that is not trimmed."""
        more = True
        while more:
            before = {partition: lineage.base.epoch for partition, lineage in self.world.log.lineages().items()}
            if fate == 3:
                self.world.killed(lambda: self.world.log.trim_step(upto, PARTITIONS), Random(upto))
            more = self.world.log.trim_step(upto, PARTITIONS)
            lineages = self.world.log.lineages()
            assert all(before[partition] <= lineages[partition].base.epoch for partition in before)
            assert {p: lineage.tail for p, lineage in lineages.items()} == {
                p: log.cursor(END).epoch for p, log in self.models.logs.items()
            }
        self.models.trim(upto, set())

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @precondition(lambda self: self.models.logs)
    @rule(data=st.data(), ahead=st.integers(0, 30), bytes_max=st.integers(0, 20_000))
    def read(self, data: st.DataObject, ahead: int, bytes_max: int) -> None:
        partition = data.draw(st.sampled_from(sorted(self.models.logs)))
        log = self.models.logs[partition]
        after = log.base.epoch + ahead
        found = self.world.log.read(partition, after, bytes_max)
        behind = [entry for entry in log.entries if entry.epoch > after]
        assert found == behind[: len(found)]
        assert found or not behind
        sizes = [EPOCH_BYTES + len(entry.chunk.raw) for entry in found]
        assert sum(sizes[:-1]) < max(bytes_max, 1)
        assert len(found) == len(behind) or sum(sizes) >= bytes_max
        assert self.world.log.cursor(partition, after) == log.cursor(after)

    @invariant()
    def what_is_held_agrees(self) -> None:
        if hasattr(self, "world"):
            assert self.models.differs(self.world.log) == ""

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.restart()
            self.what_is_held_agrees()
            self.world.close()
