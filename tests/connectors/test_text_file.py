"""Text files as a source: what a line is, which files there are, blocks and offsets."""

from __future__ import annotations

import encodings.aliases
import io
import os
import random
import re
import sys
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import sources
from holdfast.connectors.interface import Reader
from holdfast.connectors.line_files import checked_encoding
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError, UsageError

UNPLEASANT = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r\0é😀"


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def read_all(reader: Reader, records_max: int | None = None, bytes_max: int = 1 << 16) -> list[bytes]:
    blocks = []
    while (block := reader.read(records_max, bytes_max)) is not None:
        blocks.append(block.raw)
        assert records_max is None or block.count <= records_max
        if block.ended:
            assert reader.read(records_max, bytes_max) is None
    reader.close()
    return blocks


def repacked(offset: object) -> object:
    """An offset as it comes back from the log."""
    found: object = msgpack.unpackb(msgpack.packb(offset))
    return found


# --- records


@pytest.mark.parametrize(
    ("raw", "records"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\n", ["a", ""]),
        (b"a\r\nb\r", ["a\r", "b\r"]),
        (b"\na", ["", "a"]),
        (UNPLEASANT.encode(), [UNPLEASANT]),
    ],
)
def test_a_line_is_what_stands_between_newlines(raw: bytes, records: list[str]) -> None:
    assert sources.TextFile("x").decode(raw) == records


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252", "shift_jis", "gb18030", "koi8-r"])
@given(st.lists(st.one_of(st.binary(max_size=8), st.text(max_size=8).map(str.encode))))
def test_decoding_a_block_equals_decoding_each_line(encoding: str, parts: list[bytes]) -> None:
    raw = b"\n".join(parts)
    records = sources.TextFile("x", encoding=encoding).decode(raw)
    lines = raw.split(b"\n")
    if not lines[-1]:
        lines.pop()
    assert len(records) == len(lines)
    for record, line in zip(records, lines, strict=True):
        if isinstance(record, Undecodable):
            assert record.raw == line
            with pytest.raises(UnicodeDecodeError, match=re.escape(str(record.error))):
                line.decode(encoding)
        else:
            assert record == line.decode(encoding)


def test_only_the_bad_line_of_a_block_is_undecodable() -> None:
    first, bad, last = sources.TextFile("x").decode(b"a\n\xff\xfe\nz")
    assert (first, last) == ("a", "z")
    assert isinstance(bad, Undecodable)
    assert bad.raw == b"\xff\xfe"


REFUSED = [
    "utf-16",
    "utf-16-le",
    "utf-32",
    "utf-7",
    "utf-8-sig",
    "cp037",
    "cp500",
    "iso2022_jp",
    "hz",
    "hex",
    "rot13",
]


@pytest.mark.parametrize("encoding", [*REFUSED, "no such", "", "unicode_escape", "idna", "punycode", "undefined", None])
def test_encodings_that_cannot_be_read_by_line_are_refused(encoding: str) -> None:
    with pytest.raises(ApplicationError, match="encoding"):
        sources.TextFile("x", encoding=encoding)
    with pytest.raises(ApplicationError, match="encoding"):
        sources.JsonLines("x", encoding=encoding)


def test_no_accepted_encoding_has_the_newline_byte_inside_a_character() -> None:
    characters = "".join(map(chr, range(0x10000))).replace("\n", "")
    accepted = set()
    for alias in {*encodings.aliases.aliases.values(), "utf-8"}:
        try:
            accepted.add(checked_encoding(alias))
        except ApplicationError:
            continue
    assert {"utf-8", "ascii", "iso8859-1", "cp1252", "shift_jis", "euc_jp", "big5", "gb18030"} <= accepted
    for encoding in accepted:
        assert b"\n" not in characters.encode(encoding, "ignore"), encoding
        assert b"a\nb".decode(encoding) == "a\nb", encoding


# --- files


def test_partitions_are_the_paths_as_given_in_order_and_globs_sorted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("z.txt", "b10.txt", "b9.txt", "a.txt", "deep/er/c.txt", "B.txt"):
        write(tmp_path / name, b"")
    assert sources.TextFile("z.txt", "b*.txt", Path("a.txt")).partitions() == [
        "z.txt",
        "b10.txt",
        "b9.txt",
        "a.txt",
    ]
    assert sources.TextFile("**/*.txt").partitions() == [
        "B.txt", "a.txt", "b10.txt", "b9.txt", "deep/er/c.txt", "z.txt",
    ]  # fmt: skip


def test_a_file_matched_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", b"")
    write(tmp_path / "b.txt", b"")
    (tmp_path / "link.txt").symlink_to("a.txt")
    source = sources.TextFile("b.txt", "*.txt", "./a.txt", str(tmp_path / "b.txt"))
    assert source.partitions() == ["b.txt", "a.txt", "link.txt"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    literal = write(tmp_path / "[a].txt", b"")
    write(tmp_path / "a.txt", b"")
    assert sources.TextFile(literal).partitions() == [literal]


def test_a_glob_passes_over_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = write(tmp_path / "a", b"")
    assert sources.TextFile(tmp_path / "*").partitions() == [path]


def test_inputs_that_are_not_there_or_no_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    for path, why in {
        tmp_path / "none.txt": "is missing",
        tmp_path / "none" / "x.txt": "is missing",
        tmp_path / "dangling": "is missing",
        tmp_path / "*.none": "matches no file",
        tmp_path: "is a directory",
        tmp_path / "pipe": "not a regular file",
        Path("/dev/null"): "not a regular file",
    }.items():
        source = sources.TextFile(path)  # building an application touches no file
        with pytest.raises(UsageError, match=why) as refused:
            source.partitions()
        assert refused.value.exit_code == 2
        if "*" not in str(path):
            with pytest.raises(UsageError, match=why):
                source.open(str(path), None)


@pytest.mark.parametrize("paths", [(), ("",), (b"x",), (3,), ("a\0b",), ("\udcff",)])
def test_what_is_no_path_is_refused_when_the_source_is_built(paths: tuple[str, ...]) -> None:
    with pytest.raises(ApplicationError):
        sources.TextFile(*paths)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"a")
    path.chmod(0)
    with pytest.raises(UsageError, match="can't be read"):
        sources.TextFile(path).open(str(path), None)


# --- blocks and offsets

CONTENTS = st.lists(st.one_of(st.binary(max_size=12), st.just(b"x" * 300)), max_size=40).map(b"\n".join)


@settings(deadline=None)
@given(content=CONTENTS, bytes_max=st.integers(1, 400), records_max=st.one_of(st.none(), st.integers(1, 9)))
def test_blocks_are_the_bytes_of_the_file_in_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, bytes_max: int, records_max: int | None
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "blocks.txt", content)
    blocks = read_all(sources.TextFile(path).open(path, None), records_max, bytes_max)
    assert b"".join(blocks) == content
    for raw in blocks[:-1]:
        assert raw.endswith(b"\n")
    for raw in blocks:
        assert len(raw) <= bytes_max or raw.count(b"\n", 0, -1) == 0


@settings(deadline=None)
@given(content=CONTENTS, data=st.data())
def test_reading_goes_on_at_any_offset_as_if_never_stopped(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "offsets.txt", content)
    source = sources.TextFile(path)
    offset, got = None, b""
    for _ in range(data.draw(st.integers(1, 4))):
        reader = source.open(path, offset)
        blocks, count = [], 0
        for _ in range(data.draw(st.integers(0, 3))):
            if (block := reader.read(data.draw(st.integers(1, 5)), 64)) is None:
                break
            blocks.append(block.raw)
            count += block.count
        covered = data.draw(st.integers(0, count))
        raw = b"".join(blocks)
        got += b"".join(io.BytesIO(raw).readlines()[:covered])
        offset = repacked(reader.offset_after(covered))
        reader.close()
    assert got + b"".join(read_all(source.open(path, offset))) == content


def test_lines_longer_than_any_buffer_are_given_whole(tmp_path: Path) -> None:
    long = b"x" * 1_500_000
    path = write(tmp_path / "long.txt", b"a\n" + long + b"\nb\n" + long)
    blocks = read_all(sources.TextFile(path).open(path, None), None, 1000)
    assert blocks == [b"a\n", long + b"\n", b"b\n", long]


@pytest.mark.parametrize("records_max", [None, 1, 64, 10**6])
@pytest.mark.parametrize("bytes_max", [100, 1 << 16, 1 << 21])
def test_large_files_are_read_whole_in_blocks_of_any_size(
    tmp_path: Path, records_max: int | None, bytes_max: int
) -> None:
    content = random.Random(7).randbytes(700_000) if records_max != 1 else random.Random(7).randbytes(30_000)
    path = write(tmp_path / "large.txt", content)
    assert b"".join(read_all(sources.TextFile(path).open(path, None), records_max, bytes_max)) == content


def test_the_last_block_says_that_it_is_the_last(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"a\nb\nc")
    reader = sources.TextFile(path).open(path, None)
    blocks = [reader.read(1, 100) for _ in range(4)]
    assert [block and (block.raw, block.count, block.ended) for block in blocks] == [
        (b"a\n", 1, False), (b"b\n", 1, False), (b"c", 1, True), None,
    ]  # fmt: skip
    reader.close()
    reader.close()


def test_an_empty_file_ends_without_a_block(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"")
    reader = sources.TextFile(path).open(path, None)
    assert reader.read(None, 100) is None
    offset = repacked(reader.offset_after(0))
    reader.close()
    write(tmp_path / "a.txt", b"later\n")
    assert read_all(sources.TextFile(path).open(path, offset)) == []


def test_reading_keeps_no_file_open_after_close(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"a\n")
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(3):
        read_all(sources.TextFile(path).open(path, None))
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == before
