"""The memory twin and LMDB keep the contract of the partition log (tests/storage/partition_conformance.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from holdfast.core.epochs import Chunk, Cursor, Lineage, LogEntry
from holdfast.core.errors import DamagedError
from holdfast.storage.batches import INLINE_MAX
from holdfast.storage.epoch_table import pack_entry_rows, unpack_entry_rows
from holdfast.storage.log import LogOrderError
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.storage.partition_log import EntryRow
from tests.storage.partition_conformance import (
    LmdbPartitionWorld,
    MemoryPartitionWorld,
    PartitionLogMachine,
    PartitionWorld,
)


class MemoryMachine(PartitionLogMachine):
    def world_of(self) -> PartitionWorld:
        return MemoryPartitionWorld()


class LmdbMachine(PartitionLogMachine):
    def world_of(self) -> PartitionWorld:
        self.folder = TemporaryDirectory(prefix="holdfast-")
        return LmdbPartitionWorld(Path(self.folder.name))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


def run_machine(machine: type[PartitionLogMachine], examples: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=quiet,
        ),
    )


def test_the_twin_equals_the_model_after_any_calls() -> None:
    run_machine(MemoryMachine, 60)


def test_lmdb_equals_the_model_after_any_calls() -> None:
    run_machine(LmdbMachine, 40)


@pytest.mark.nightly
@pytest.mark.parametrize("machine", [MemoryMachine, LmdbMachine])
def test_both_equal_the_model_in_a_long_campaign(machine: type[PartitionLogMachine]) -> None:
    run_machine(machine, 1000)


@pytest.fixture(params=["memory", "lmdb"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartitionWorld]:
    memory = request.param == "memory"
    made: PartitionWorld = MemoryPartitionWorld() if memory else LmdbPartitionWorld(tmp_path / "data")
    yield made
    made.close()


def entry(epoch: int, first: int, *, partition: int = 0, generation: int = 1, raw: bytes = b"x\n") -> LogEntry:
    chunk = Chunk(partition, first, 1, 1000 + epoch, {"at": epoch}, False, raw)
    return LogEntry(epoch, generation, 1000 + epoch, chunk)


def entries(epochs: range, *, partition: int = 0, generation: int = 1) -> list[LogEntry]:
    """Entries of one record each; that of epoch 1 is the first."""
    return [entry(epoch, epoch - 1, partition=partition, generation=generation) for epoch in epochs]


def cursor(epoch: int) -> Cursor:
    """Where a partition stands after the entry of this epoch, made by `entries`."""
    return Cursor(epoch, epoch, {"at": epoch}, False, 1000 + epoch)


def test_entries_that_do_not_follow_are_refused_and_nothing_is_written(world: PartitionWorld) -> None:
    world.log.adopt(b"", 2, [(0, 0), (1, 0)])
    world.log.append([entry(3, 0, generation=2)])

    for wrong in (
        [entry(3, 1, generation=2)],  # an epoch twice
        [entry(4, 1, generation=1)],  # of an older generation than the one before it
        [entry(4, 0, generation=2)],  # a record twice
        [entry(4, 2, generation=2)],  # a record left out
        [entry(4, 1, partition=2, generation=2)],  # of a partition that is not held
        [entry(5, 0, partition=1, generation=2), entry(5, 1, partition=1, generation=2)],
    ):
        with pytest.raises(LogOrderError):
            world.log.append(wrong)
    world.restart()

    assert world.log.read(0, 0, 9999) == [entry(3, 0, generation=2)]
    assert world.log.read(1, 0, 9999) == []


def test_generations_are_adopted_in_order_and_logs_installed_in_the_latest(world: PartitionWorld) -> None:
    world.log.adopt(b"five", 5, [])

    with pytest.raises(LogOrderError):
        world.log.adopt(b"four", 4, [])
    with pytest.raises(LogOrderError):
        world.log.install(0, Cursor(), 4)
    world.log.adopt(b"five", 5, [(0, 0)])

    assert world.log.adopted() == (5, b"five")
    assert list(world.log.lineages()) == [0]


def test_a_formation_cuts_off_what_it_did_not_adopt_and_what_is_logged_then_takes_its_place(
    world: PartitionWorld,
) -> None:
    world.log.adopt(b"first", 1, [(0, 0), (1, 0), (2, 0)])
    for partition in (0, 1, 2):
        world.log.append(entries(range(1, 9), partition=partition))
    world.log.adopt(b"second", 2, [(0, 5), (1, 20)])
    again = [entry(7, 5, generation=2), entry(8, 6, generation=2)]
    world.log.append(again)
    world.restart()

    assert world.log.adopted() == (2, b"second")
    assert world.log.read(0, 0, 9999) == [*entries(range(1, 6)), *again]
    assert world.log.lineages() == {
        0: Lineage(2, Cursor(), 8, ((1, 5), (2, 8))),
        1: Lineage(2, Cursor(), 8, ((1, 8),)),
        2: Lineage(1, Cursor(), 8, ((1, 8),)),
    }


def test_a_log_cut_off_again_and_again_keeps_what_was_kept_each_time(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append(entries(range(1, 10)))
    kept = 9
    for generation, keep in enumerate((8, 5, 7, 3, 3), 2):
        world.log.adopt(b"", generation, [(0, keep)])
        kept = min(kept + 1, keep)
        world.log.append([entry(kept + 1, kept, generation=generation)])
        world.restart()

    found = world.log.read(0, 0, 9999)
    assert [each.epoch for each in found] == [1, 2, 3, 4]
    assert [each.generation for each in found] == [1, 1, 1, 6]


def test_what_was_cut_off_twice_and_then_trimmed_does_not_come_back(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append(entries(range(1, 10)))
    world.log.adopt(b"", 2, [(0, 5)])
    world.log.append([entry(8, 5, generation=2), entry(9, 6, generation=2)])
    world.log.adopt(b"", 3, [(0, 8)])
    kept = [*entries(range(1, 6)), entry(8, 5, generation=2)]
    world.restart()
    assert world.log.read(0, 0, 9999) == kept
    world.log.trim(3, [0])
    world.restart()

    assert world.log.read(0, 3, 9999) == kept[3:]


def test_an_installed_log_begins_behind_its_base(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append(entries(range(1, 4)))
    world.log.install(0, cursor(20), 1)
    world.log.install(3, Cursor(7, 70, "seven", True, 700), 1)
    world.log.append(entries(range(21, 23)))
    world.restart()

    assert world.log.read(0, 20, 9999) == entries(range(21, 23))
    assert world.log.lineages()[0] == Lineage(1, cursor(20), 22, ((1, 22),))
    assert world.log.lineages()[3] == Lineage(1, Cursor(7, 70, "seven", True, 700), 7, (), True)
    assert [row.epoch for row in world.log.rows(0)] == [21, 22]


def test_nothing_of_a_log_comes_back_that_was_replaced_or_dropped(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0), (1, 0), (2, 0)])
    world.log.append([each for partition in (0, 1, 2) for each in entries(range(1, 9), partition=partition)])
    world.log.install(0, cursor(3), 1)  # behind an older base than the end of what was there
    world.log.trim(2, [0, 2])
    world.log.adopt(b"", 2, [(1, 30)])
    world.log.append([entry(9, 0, partition=1, generation=2)])
    world.restart()

    assert world.log.read(0, 3, 9999) == []
    assert world.log.read(1, 0, 9999) == [entry(9, 0, partition=1, generation=2)]
    assert world.log.read(2, 2, 9999) == entries(range(3, 9), partition=2)


def test_an_epoch_without_an_entry_is_no_place_that_a_cursor_names(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append([entry(2, 0), entry(9, 1)])

    assert [world.log.cursor(0, epoch).epoch for epoch in (0, 1, 2, 8, 9, 30)] == [0, 0, 2, 2, 9, 9]
    world.log.trim(8, [0])
    assert world.log.lineages()[0].base.epoch == 2
    world.log.trim(30, [0])

    assert world.log.lineages()[0] == Lineage(1, Cursor(9, 2, {"at": 9}, False, 1009), 9, ())


def test_what_is_before_the_base_can_not_be_asked_for(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append(entries(range(1, 9)))
    world.log.trim(5, [0])

    with pytest.raises(AssertionError, match="trimmed"):
        world.log.read(0, 4, 9999)
    with pytest.raises(AssertionError, match="trimmed"):
        world.log.cursor(0, 4)


def test_rows_of_trimmed_entries_outlive_the_log(world: PartitionWorld) -> None:
    rows = [EntryRow(epoch, 1000 + epoch, 1, 1000 + epoch, False) for epoch in range(1, 13)]
    world.log.adopt(b"", 1, [(0, 0), (1, 0)])
    world.log.append(entries(range(1, 9)))
    world.log.trim(4, [0, 1])
    assert list(world.log.rows(0)) == rows[:8]
    world.log.trim(6, [1])  # dropped: whether what was held is what the cluster adopted is not known
    world.restart()
    assert list(world.log.lineages()) == [1]
    assert list(world.log.rows(0)) == rows[:4]

    world.log.install(0, cursor(2), 1)  # from a worker that has trimmed less
    world.log.append(entries(range(3, 13)))
    assert list(world.log.rows(0)) == rows
    world.log.trim(10, [0, 1])
    world.restart()

    assert list(world.log.rows(0)) == rows
    assert world.log.read(0, 10, 9999) == entries(range(11, 13))


def test_rows_that_were_missing_between_others_are_filled_in(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0), (1, 0)])
    world.log.append(entries(range(1, 5)))
    world.log.trim(4, [0, 1])
    world.log.install(0, cursor(20), 1)  # the cluster went on without this worker
    world.log.append(entries(range(21, 2500)))
    world.log.trim(2400, [0, 1])
    world.log.install(0, cursor(10), 1)  # from a worker that went away before it could trim
    world.log.append(entries(range(11, 2600)))
    expected = [*range(1, 5), *range(11, 2600)]
    assert [row.epoch for row in world.log.rows(0)] == expected
    world.log.trim(2550, [0, 1])
    assert world.log.lineages()[0].base.epoch == 2550
    world.restart()

    assert [row.epoch for row in world.log.rows(0)] == expected
    assert list(world.log.rows(1)) == []


def test_a_row_is_that_of_the_entry_that_was_trimmed_first(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append(entries(range(1, 3)))
    world.log.trim(2, [0])
    world.log.install(0, Cursor(), 1)
    world.log.append([LogEntry(1, 1, 99, Chunk(0, 0, 7, 99, None, True, b""))])
    world.log.trim(1, [0])
    world.restart()

    assert [row.time for row in world.log.rows(0)] == [1001, 1002]


def test_the_table_may_be_read_while_the_logs_are_trimmed(world: PartitionWorld) -> None:
    count = 3000
    world.log.adopt(b"", 1, [(0, 0), (1, 0)])
    for start in range(1, count, 100):
        world.log.append(entries(range(start, start + 100)))
        world.log.append(entries(range(start, start + 100), partition=1))

    found = []
    for row in world.log.rows(1):
        found.append(row.epoch)
        if row.epoch % 700 == 0:
            world.log.trim(row.epoch + 300, [0, 1])
    world.restart()

    assert found == list(range(1, count + 1))
    assert [row.epoch for row in world.log.rows(0)] == found


def test_large_entries_come_back_whole_also_beside_others(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [(0, 0), (1, 0)])
    large = [
        entry(epoch, epoch - 1, partition=partition, raw=bytes([epoch, partition]) * size)
        for epoch, size in enumerate((1, INLINE_MAX // 4, INLINE_MAX, 3 << 20, 0), 1)
        for partition in (0, 1)
    ]
    world.log.append(large[:4])
    world.log.append(large[4:])
    world.restart()

    for partition in (0, 1):
        assert world.log.read(partition, 0, 1 << 40) == [each for each in large if each.chunk.partition == partition]
    world.log.trim(4, [0])
    world.restart()
    assert world.log.read(0, 4, 1 << 40) == [large[-2]]


def test_what_was_appended_does_not_change_with_its_giver(world: PartitionWorld) -> None:
    offset = [1, 2]
    world.log.adopt(b"", 1, [(0, 0)])
    world.log.append([LogEntry(1, 1, 1, Chunk(0, 0, 1, 1, offset, False, b""))])
    offset.append(3)

    assert world.log.cursor(0, 1).offset == [1, 2]


def test_a_base_is_the_same_in_this_life_and_the_next(world: PartitionWorld) -> None:
    world.log.adopt(b"", 1, [])
    world.log.install(0, Cursor(3, 4, (1, (2, "three"))), 1)
    now = world.log.lineages()
    world.restart()

    assert now == world.log.lineages()
    assert now[0].base.offset == [1, [2, "three"]]


ROWS = st.tuples(
    st.integers(1, 9), st.integers(-5, 2**42), st.integers(0, 2**40), st.integers(0, 2**42), st.booleans()
)


@given(st.lists(ROWS, max_size=20))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_packed_rows_of_a_partition_come_back(content: list[tuple[int, int, int, int, bool]]) -> None:
    epoch, rows = 0, []
    for ahead, time, records, clock, ended in content:
        epoch += ahead
        rows.append(EntryRow(epoch, time, records, clock, ended))

    assert unpack_entry_rows(pack_entry_rows(rows)) == rows


def test_a_kill_loses_the_call_that_was_not_synced() -> None:
    disk = MemoryDisk()
    log = MemoryPartitionLog(disk)
    log.adopt(b"one", 1, [(0, 0)])
    log.begin_adopt(b"two", 2, [(0, 0), (1, 0)])
    assert log.adopted() == (1, b"one")
    disk.crash(Random(0))

    assert MemoryPartitionLog(disk).adopted() == (1, b"one")


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_entry_that_is_missing_is_noticed(epoch: int) -> None:
    disk = MemoryDisk()
    log = MemoryPartitionLog(disk)
    log.adopt(b"", 1, [(0, 0)])
    log.append(entries(range(1, 4)))
    del disk.store("partitions").contents["entry", 0, epoch]

    with pytest.raises(DamagedError, match="partition 0"):
        MemoryPartitionLog(disk)


def test_commits_that_an_opened_disk_then_lost_are_noticed_by_the_mark() -> None:
    noticed = 0
    for seed in range(50):
        disk = MemoryDisk()
        log = MemoryPartitionLog(disk)
        disk.skip_sync = True
        log.adopt(b"one", 1, [])
        MemoryPartitionLog(disk)
        disk.power_loss(Random(seed))
        try:
            MemoryPartitionLog(disk)
        except DamagedError:
            noticed += 1

    assert 0 < noticed < 50


def test_a_skipped_sync_loses_and_tears_commits_and_what_shows_is_noticed() -> None:
    seen = set()
    for seed in range(200):
        disk = MemoryDisk()
        disk.skip_sync = True
        log = MemoryPartitionLog(disk)
        log.adopt(b"", 1, [(0, 0), (1, 0)])
        for number in range(1, 5):
            log.append([entry(number, number - 1), entry(number, number - 1, partition=1)])
        disk.crash(Random(seed))
        assert MemoryPartitionLog(disk).lineages()[0].tail == 4, "a kill loses nothing that was written"
        disk.power_loss(Random(seed))
        try:
            log = MemoryPartitionLog(disk)
            tails = {partition: lineage.tail for partition, lineage in log.lineages().items()}
            for partition, tail in tails.items():
                assert [each.epoch for each in log.read(partition, 0, 9999)] == list(range(1, tail + 1))
            seen.add("whole" if tails == {0: 4, 1: 4} else "lost")
        except DamagedError:
            seen.add("noticed")

    assert seen == {"lost", "whole", "noticed"}
