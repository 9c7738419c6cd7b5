"""The partition log on disk: what trimming leaves, what an older file put back shows, and how batches are stored."""


from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.core.errors import DamagedError
from holdfast.storage import batches, lmdb_partition_log
from holdfast.storage.batches import INLINE_MAX
from holdfast.storage.directory import DataDirectory
from holdfast.storage.environment import Environment, Transaction
from holdfast.storage.lmdb_partition_log import BATCH_KEY
from tests.storage.partition_conformance import (
    LmdbPartitionWorld,
)
from tests.storage.test_partition_log import LmdbMachine, cursor, entries, entry, run_machine


@contextmanager
def small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(lmdb_partition_log, "TRIM_ENTRIES", 3)
        patch.setattr(lmdb_partition_log, "TRIM_BATCHES", 2)
        patch.setattr(lmdb_partition_log, "TRIM_PIECES", 1)
        yield


def test_lmdb_equals_the_model_where_trimming_takes_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    with small_steps(monkeypatch):
        run_machine(LmdbMachine, 30)


def test_what_counts_no_more_leaves_the_disk(tmp_path: Path) -> None:
    world = LmdbPartitionWorld(tmp_path / "data")
    world.log.adopt(b"", 1, [(0, 0), (1, 0), (2, 0)])
    for number in range(1, 400):
        world.log.append([entry(number, number - 1, partition=p, raw=bytes(3000)) for p in range(3)])
        if number % 20 == 0:
            world.log.adopt(b"", number, [(0, number - 3)])  # cut off, and so never held again
            world.log.install(0, cursor(number), number)
            world.log.trim(number - 10, [0, 1] if number > 200 else [0, 1, 2])
            world.log.install(2, cursor(number), number)
    world.log.trim(400, [])
    with world.directory.partitions()._environment.read() as transaction:
        assert [transaction.entries(name) for name in (b"logs", b"batches", b"records")] == [0, 0, 0]
    assert (tmp_path / "data/partitions/data.mdb").stat().st_size < 4 << 20
    world.close()


def test_what_counts_no_more_leaves_the_disk_in_as_many_steps_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LmdbPartitionWorld(tmp_path / "data")
    world.log.adopt(b"", 1, [(0, 0)])
    for number in range(1, 12):
        world.log.append(entries(range(number, number + 1)))
    world.log.adopt(b"", 2, [(0, 1)])
    with small_steps(monkeypatch):
        world.log.trim(0, [0])

    assert world.directory.partitions().batches() == [1]
    with world.directory.partitions()._environment.read() as transaction:
        assert transaction.entries(b"batches") == 1
    world.close()


@pytest.mark.parametrize("lost", ["append", "adopt"])
def test_an_older_file_put_back_is_damage(tmp_path: Path, lost: str) -> None:
    data = tmp_path / "data" / "partitions" / "data.mdb"
    with DataDirectory.open(tmp_path / "data", create=True) as directory:
        directory.partitions().adopt(b"", 1, [(0, 0)])
    before = data.read_bytes()
    with DataDirectory.open(tmp_path / "data", create=False) as directory:
        if lost == "append":
            directory.partitions().append(entries(range(1, 2)))
        else:
            directory.partitions().adopt(b"", 2, [])
    data.write_bytes(before)

    with (
        DataDirectory.open(tmp_path / "data", create=False) as directory,
        pytest.raises(DamagedError, match="commits are lost"),
    ):
        directory.partitions()


def test_entries_that_do_not_follow_each_other_on_the_disk_are_damage(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data", create=True) as directory:
        log = directory.partitions()
        log.adopt(b"", 1, [(0, 0)])
        log.append(entries(range(1, 2)))
        log.append(entries(range(2, 3)))
        value = batches.encode(2, entries(range(5, 6)))[0]
        log._environment.write(lambda transaction: transaction.put(b"batches", BATCH_KEY.pack(2), value))

    with (
        DataDirectory.open(tmp_path / "data", create=False) as directory,
        pytest.raises(DamagedError, match="epoch 5 begins with record 4, epoch 1 ends before 1"),
    ):
        directory.partitions()


@pytest.mark.parametrize("size", [0, 100, INLINE_MAX, INLINE_MAX + 1])
def test_a_batch_is_decoded_as_it_was_described_and_no_byte_less(size: int) -> None:
    content = [entry(1, 0, raw=b"one"), entry(1, 0, partition=1, raw=bytes(size))]
    value, records, described = batches.encode(7, content)
    batch = batches.decode(7, value, "batch 7")

    assert (batch.entries, batch.size, batch.in_pieces) == (described, size + 3, size + 3 > INLINE_MAX)
    assert bytes(batches.inline(value)) + records == b"one" + bytes(size)
    if not batch.in_pieces:
        with pytest.raises(DamagedError, match="batch 7"):
            batches.decode(7, value[:-1], "batch 7")


def test_entries_appended_while_they_are_read_are_left_for_the_next_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DataDirectory.open(tmp_path / "data", create=True) as directory:
        log = directory.partitions()
        log.adopt(b"", 1, [(0, 0)])
        log.append(entries(range(1, 3)))
        original = Environment.read

        @contextmanager
        def read(environment: Environment) -> Iterator[Transaction]:
            with original(environment) as transaction:
                monkeypatch.setattr(Environment, "read", original)
                log.append(entries(range(3, 5)))  # as the writer's thread may, behind the reader's back
                yield transaction

        monkeypatch.setattr(Environment, "read", read)
        assert log.read(0, 0, 9999) == entries(range(1, 3))
        assert log.read(0, 2, 9999) == entries(range(3, 5))
