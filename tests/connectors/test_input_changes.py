"""A file that was read in part and is opened again: unchanged, grown, shortened, rewritten, replaced."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import msgpack
import pytest

from holdfast import sources
from holdfast.connectors.file_offsets import SEGMENT_BYTES, Chain, FileOffset
from holdfast.core.errors import InputChangedError, UsageError

SECOND_NS = 1_000_000_000
LINE = b"0123456789abcde\n"  # 16 bytes: a segment is a whole number of lines


def content(segments: float) -> bytes:
    lines = int(segments * SEGMENT_BYTES) // len(LINE)
    return b"".join(b"%015x\n" % number for number in range(lines))


def read_to(path: Path, count: int) -> object:
    """The offset after `count` records, as it comes back from the log."""
    source = sources.TextFile(path)
    reader = source.open(str(path), None)
    given = 0
    while given < count:
        block = reader.read(count - given, 1 << 16)
        assert block is not None
        given += block.count
    offset = msgpack.unpackb(msgpack.packb(reader.offset_after(count)))
    reader.close()
    return offset


def read_on(path: Path, offset: object) -> bytes:
    reader = sources.TextFile(path).open(str(path), offset)
    raw = b""
    while (block := reader.read(None, 1 << 20)) is not None:
        raw += block.raw
    reader.close()
    return raw


@pytest.fixture(params=[0.001, 0.999, 1, 1.5, 3.25])
def part_read(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bytes, object]:
    """A file of 4 segments, its bytes, and the offset after a part of them."""
    path = tmp_path / "input.txt"
    whole = content(4)
    path.write_bytes(whole)
    read = int(request.param * SEGMENT_BYTES) // len(LINE)
    return path, whole[read * len(LINE) :], read_to(path, read)


def test_an_unchanged_file_is_read_on(part_read: tuple[Path, bytes, object]) -> None:
    path, rest, offset = part_read
    assert read_on(path, offset) == rest


def test_a_file_that_only_looks_changed_is_read_on(part_read: tuple[Path, bytes, object]) -> None:
    path, rest, offset = part_read
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    assert read_on(path, offset) == rest


def test_a_change_behind_what_was_read_is_no_change(part_read: tuple[Path, bytes, object]) -> None:
    path, rest, offset = part_read
    with path.open("r+b") as file:
        file.seek(-len(rest), os.SEEK_END)
        file.write(b"new\n")
        file.truncate()
    assert read_on(path, offset) == b"new\n"


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_changed_byte_within_what_was_read_is_refused(part_read: tuple[Path, bytes, object], place: float) -> None:
    path, rest, offset = part_read
    whole = bytearray(path.read_bytes())
    read = len(whole) - len(rest)
    whole[int(place * (read - 1))] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputChangedError, match=r"input\.txt.*changed.*first \d+ bytes") as refused:
        read_on(path, offset)
    assert refused.value.exit_code == 4


def test_a_file_shorter_than_what_was_read_is_refused(part_read: tuple[Path, bytes, object]) -> None:
    path, rest, offset = part_read
    read = path.stat().st_size - len(rest)
    os.truncate(path, read - 1)
    with pytest.raises(InputChangedError, match="shorter"):
        read_on(path, offset)
    os.truncate(path, 0)
    with pytest.raises(InputChangedError, match="shorter"):
        read_on(path, offset)


def test_a_file_that_is_gone_is_a_missing_input(part_read: tuple[Path, bytes, object]) -> None:
    path, _, offset = part_read
    path.unlink()
    with pytest.raises(UsageError, match="missing"):
        read_on(path, offset)


def test_what_a_file_grew_after_it_ended_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(b"a\nb")
    offset = read_to(path, 2)
    with path.open("ab") as file:
        file.write(b"c\nd\n")
    assert read_on(path, offset) == b""
    path.write_bytes(b"a\nX")
    with pytest.raises(InputChangedError):
        read_on(path, offset)


def test_what_a_file_grew_before_it_ended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(b"a\nb\n")
    offset = read_to(path, 1)
    with path.open("ab") as file:
        file.write(b"c\n")
    assert read_on(path, offset) == b"b\nc\n"


def test_a_file_cut_off_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(content(1))
    reader = sources.TextFile(path).open(str(path), None)
    assert reader.read(None, 1000) is not None
    os.truncate(path, 100)
    with pytest.raises(InputChangedError, match="shorter"):
        [reader.read(None, 1 << 20) for _ in range(3)]
    reader.close()


class Reads:
    """Counts the bytes read from inputs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self._pread = os.pread
        monkeypatch.setattr(os, "pread", self)

    def __call__(self, file: int, size: int, position: int) -> bytes:
        data = self._pread(file, size, position)
        self.bytes += len(data)
        return data


def old_file(path: Path, monkeypatch: pytest.MonkeyPatch, age_ns: int) -> None:
    """As if the file had last been changed so long ago: its own change time can't be set."""
    now = max(path.stat().st_mtime_ns, path.stat().st_ctime_ns) + age_ns
    monkeypatch.setattr(time, "time_ns", lambda: now)


def test_a_file_that_looks_the_same_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(content(4))
    old_file(path, monkeypatch, 3600 * SECOND_NS)
    offset = read_to(path, int(3.5 * SEGMENT_BYTES) // len(LINE))
    reads = Reads(monkeypatch)
    sources.TextFile(path).open(str(path), offset).close()
    assert reads.bytes == SEGMENT_BYTES // 2


def test_a_file_changed_just_before_it_was_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A second change in the same tick of the file system's clock would leave the same times.
    path = tmp_path / "input.txt"
    path.write_bytes(content(4))
    old_file(path, monkeypatch, SECOND_NS)
    offset = read_to(path, int(3.5 * SEGMENT_BYTES) // len(LINE))
    reads = Reads(monkeypatch)
    sources.TextFile(path).open(str(path), offset).close()
    assert reads.bytes == 3 * SEGMENT_BYTES + SEGMENT_BYTES // 2


def test_a_change_with_size_and_time_restored_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(content(2))
    old_file(path, monkeypatch, 3600 * SECOND_NS)
    offset = read_to(path, SEGMENT_BYTES // len(LINE))
    looks = path.stat()
    with path.open("r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    with pytest.raises(InputChangedError):
        read_on(path, offset)


def test_a_change_while_the_file_is_read_is_refused_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(content(2))
    old_file(path, monkeypatch, 3600 * SECOND_NS)
    reader = sources.TextFile(path).open(str(path), None)
    block = reader.read(None, 1 << 16)
    assert block is not None
    with path.open("r+b") as file:
        file.write(b"X")
    offset = reader.offset_after(block.count)
    reader.close()
    with pytest.raises(InputChangedError):
        read_on(path, offset)


def test_the_chain_is_the_same_in_whatever_pieces_it_is_fed() -> None:
    data = random.Random(3).randbytes(3 * SEGMENT_BYTES + 12345)
    whole = Chain()
    whole.update(data)
    pieces, rest, chance = Chain(), data, random.Random(4)
    while rest:
        size = chance.choice([1, 1000, SEGMENT_BYTES, SEGMENT_BYTES + 1, 700_000])
        pieces.update(rest[:size])
        rest = rest[size:]
    resumed = Chain(3 * SEGMENT_BYTES, whole.chain)
    resumed.update(data[3 * SEGMENT_BYTES :])
    for chain in (pieces, resumed):
        assert (chain.position, chain.chain, chain.partial) == (whole.position, whole.chain, whole.partial)


def test_an_offset_survives_packing(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_bytes(b"a\n")
    os.utime(path, ns=(0, -5))  # before 1970
    offset = FileOffset.unpacked(read_to(path, 1))
    assert FileOffset.unpacked(msgpack.unpackb(msgpack.packb(offset.packed()))) == offset
    assert offset.ended
