"""The small parts of storage: sealed values, packed rows, marks, the structure check, the memory disk."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmdb import verify

from holdfast.core.epochs import Chunk, Epoch, EpochRow
from holdfast.core.errors import DamagedError
from holdfast.storage import lmdb_rows
from holdfast.storage.epoch_table import pack_rows, unpack_rows
from holdfast.storage.marks import Mark, Marks
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.packing import seal, unseal
from holdfast.storage.structure import check
from tests.storage.contents import fill

NAMES = ("log", "state")
PARTS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(0, 2**50), st.booleans())


@given(
    st.lists(st.tuples(st.integers(0, 2**50), st.lists(PARTS, max_size=3)), max_size=20),
    st.integers(1, 2**60),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_packed_rows_come_back(content: list[tuple[int, list[tuple[int, int, int, bool]]]], first: int) -> None:
    rows = [EpochRow(number, time, tuple(parts)) for number, (time, parts) in enumerate(content, first)]

    assert unpack_rows(first, pack_rows(rows)) == rows


def test_a_row_of_the_epoch_table_costs_a_few_bytes() -> None:
    random = Random(1)
    rows, time = [], 1_700_000_000_000
    for number in range(1, 2001):
        time += random.choice([1, 1, 1, 2, 3])
        rows.append(EpochRow(number, time, ((0, random.randrange(20, 60), time - random.randrange(2), False),)))

    assert len(pack_rows(rows)) / len(rows) < 3


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_sealed_value_fits_only_its_place(size: int) -> None:
    value = seal(b"db", b"key", bytes(size))

    assert unseal(b"db", b"key", value, "there") == bytes(size)
    for database, key, wrong in [
        (b"dc", b"key", value),
        (b"db", b"kez", value),
        (b"db", b"key", value[:-1]),
        (b"db", b"key", value + b"\0"),
        (b"db", b"key\0", value),
        (b"db", b"key", b""),
    ]:
        with pytest.raises(DamagedError, match="there"):
            unseal(database, key, wrong, "there")


def test_a_torn_mark_is_ignored_and_the_older_one_counts(tmp_path: Path) -> None:
    Marks.create(tmp_path / "marks", NAMES)
    marks = Marks(tmp_path / "marks", NAMES)
    assert marks.read("log").surely_new
    for epoch in range(1, 8):
        marks.note("log", (1, epoch, 0))
        assert marks.read("log") == Mark((1, epoch, 0), 0)
    marks.close()

    content = bytearray((tmp_path / "marks").read_bytes())
    at = content.index(struct.pack(">Q", 7))
    content[at + 3] ^= 4
    (tmp_path / "marks").write_bytes(content)
    marks = Marks(tmp_path / "marks", NAMES)
    assert marks.read("log") == Mark((1, 6, 0), 1)
    assert marks.read("state").surely_new
    marks.note("log", (1, 9, 0))
    marks.close()
    marks = Marks(tmp_path / "marks", NAMES, readonly=True)
    assert marks.read("log").values == (1, 9, 0)
    marks.close()


def test_a_separator_that_hides_keys_is_found_where_the_verifier_sees_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    data = tmp_path / "data" / "state" / "data.mdb"
    content = bytearray(data.read_bytes())
    hidden = 0
    for at in branch_keys(content):
        for mask in (0x01, 0x10, 0x80):
            content[at] ^= mask
            data.write_bytes(content)
            seen = verify.verify(str(data), subdir=False)  # type: ignore[no-untyped-call]
            try:
                check(data, "state")
            except DamagedError as error:
                hidden += not seen and "a search would not find" in str(error)
            content[at] ^= mask

    assert hidden > 0
    data.write_bytes(content)
    check(data, "state")


def branch_keys(content: bytearray) -> list[int]:
    """Return where the hash in each separator of a branch page of rows stands."""
    found = []
    for page in range(2 * 4096, len(content), 4096):
        number, _, flags, lower, _ = struct.unpack_from("=QHHHH", content, page)
        if flags == 1 and number == page // 4096:
            nodes = struct.unpack_from(f"={(lower - 16) // 2}H", content, page + 16)
            found += [page + node + 8 + 4 for node in nodes[1:] if content[page + node + 6] > 10]
    return found


def test_two_long_keys_of_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.storage.directory import DataDirectory

    with DataDirectory.open(tmp_path / "data", create=True) as directory:
        directory.state.fold([(1, b"a" * 500, b"image")], (1, 1))
        same = lmdb_rows.row_key(1, b"a" * 500)
        monkeypatch.setattr(lmdb_rows, "row_key", lambda step, key: same)
        with pytest.raises(DamagedError, match="same hash"):
            directory.state.load(1, [b"b" * 500])


def epoch(number: int) -> Epoch:
    chunks = tuple(Chunk(part, number, 1, number, None, False, b"x") for part in range(3))
    return Epoch(number, 1, number, chunks)


def test_a_kill_loses_the_transaction_that_was_not_synced() -> None:
    disk = MemoryDisk()
    log = MemoryLog(disk)
    log.append([epoch(1)])
    log.begin_append([epoch(2)])
    assert log.tail() == 1
    disk.crash(Random(0))

    assert MemoryLog(disk).read(0, 100_000) == [epoch(1)]


def test_a_power_loss_has_the_commit_under_way_whole_or_not_at_all() -> None:
    tails = set()
    for seed in range(20):
        disk = MemoryDisk()
        log = MemoryLog(disk)
        log.append([epoch(1)])
        log.begin_append([epoch(2), epoch(3)])
        disk.power_loss(Random(seed))
        after = MemoryLog(disk)
        assert after.read(0, 100_000) == [epoch(number) for number in range(1, after.tail() + 1)]
        tails.add(after.tail())

    assert tails == {1, 3}


def test_a_skipped_sync_loses_reorders_and_tears_commits() -> None:
    seen = set()
    for seed in range(200):
        disk = MemoryDisk()
        disk.skip_sync = True
        log, state = MemoryLog(disk), MemoryState(disk)
        for number in range(1, 5):
            log.append([epoch(number)])
        state.put_meta("name", 1)
        disk.crash(Random(seed))
        assert MemoryLog(disk).tail() == 4, "a kill loses nothing that was written"
        disk.power_loss(Random(seed))
        try:
            after = MemoryLog(disk)
            seen.add("lost" if after.tail() < 4 else "whole")
            after.read(0, 100_000)
        except DamagedError as error:
            seen.add("torn" if "records" in str(error) else "reordered" if "all there" in str(error) else "noticed")

    assert seen == {"lost", "whole", "torn", "reordered", "noticed"}


def test_a_file_keeps_what_was_synced_and_may_lose_the_rest_in_pieces() -> None:
    results = set()
    for seed in range(100):
        disk = MemoryDisk()
        file = disk.file("output")
        file.append(b"a" * 6000)
        file.sync()
        file.append(b"b" * 12000)
        disk.power_loss(Random(seed))
        content = file.read()
        assert content[:6000] == b"a" * 6000
        tail = content[6000:]
        assert set(tail) <= {0, ord("b")}
        assert len(tail) <= 12000
        results.add("none" if not tail else "all" if tail == b"b" * 12000 else "holes" if 0 in tail else "prefix")

    assert results == {"none", "all", "holes", "prefix"}


def test_a_kill_in_the_middle_of_a_write_leaves_a_prefix() -> None:
    lengths = set()
    for seed in range(50):
        disk = MemoryDisk()
        file = disk.file("output")
        file.append(b"one\n")
        file.begin_write(file.size, b"two\n")
        disk.crash(Random(seed))
        assert b"one\ntwo\n".startswith(file.read())
        lengths.add(file.size)

    assert lengths == {4, 5, 6, 7, 8}


def test_a_truncated_file_may_be_long_again_after_a_power_loss_only_without_sync() -> None:
    disk = MemoryDisk()
    file = disk.file("output")
    file.append(b"x" * 100)
    file.sync()
    file.truncate(10)
    file.sync()
    disk.power_loss(Random(1))

    assert file.read() == b"x" * 10
