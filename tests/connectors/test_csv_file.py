"""CSV files: rows as dicts, quotes that span lines, rows that can't be read, going on between rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast as hf
from holdfast import sources, testing
from holdfast.connectors.interface import Reader
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError, InputChangedError, UsageError
from tests.cli.command import holdfast

APP = """
import holdfast as hf

app = hf.Application("rows")
rows = app.source(hf.sources.Csv("*.csv"), on_error=hf.sinks.JsonLines("bad.jsonl"))
rows.sink(hf.sinks.JsonLines("rows.jsonl"))
"""


def repacked(offset: object) -> object:
    found: object = msgpack.unpackb(msgpack.packb(offset))
    return found


def read_all(source: Any, reader: Reader, records_max: int | None = None, bytes_max: int = 1000) -> list[Any]:
    found: list[Any] = []
    ended = False
    while (block := reader.read(records_max, bytes_max)) is not None:
        assert not ended
        ended = block.ended
        records = source.decode(block.raw)
        assert len(records) == block.count
        found += records
    reader.close()
    return found


def rows_of(path: Path, **options: Any) -> list[Any]:
    source = sources.Csv(path, **options)
    return read_all(source, source.open(str(path), None))


def errors_of(records: list[Any]) -> list[tuple[bytes, str] | None]:
    return [(r.raw, str(r.error)) if isinstance(r, Undecodable) else None for r in records]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(data)
    return path


def test_a_row_is_a_dict_by_the_names_of_the_first_row(tmp_path: Path) -> None:
    path = write(tmp_path, b'id,name\r\n1,ann\r\n\r\n2,"bob ""the"" builder"\r\n3,')
    assert [(row["id"], row["name"]) for row in rows_of(path)] == [("1", "ann"), ("2", 'bob "the" builder'), ("3", "")]


def test_a_quoted_field_may_go_over_lines_and_keeps_its_newlines(tmp_path: Path) -> None:
    path = write(tmp_path, b'id,text\n1,"one\ntwo\r\n\nfour, "\n2,plain\n')
    assert rows_of(path) == [{"id": "1", "text": "one\ntwo\r\n\nfour, "}, {"id": "2", "text": "plain"}]


def test_columns_delimiter_and_quote_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, b"1;'a;b'\n2;c\n")
    assert rows_of(path, columns=["n", "t"], delimiter=";", quotechar="'") == [
        {"n": "1", "t": "a;b"}, {"n": "2", "t": "c"},
    ]  # fmt: skip


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfid\n1\n")
    assert rows_of(path) == [{"id": "1"}]


def test_another_encoding_is_decoded(tmp_path: Path) -> None:
    path = write(tmp_path, "größe\nzwölf\n".encode("latin-1"))
    assert rows_of(path, encoding="latin-1") == [{"größe": "zwölf"}]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"id,name\n", b"id,name"])
def test_a_file_without_rows_gives_nothing(data: bytes, tmp_path: Path) -> None:
    assert rows_of(write(tmp_path, data)) == []


def test_rows_that_cannot_be_read_are_undecodable_and_the_next_ones_are_right(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n1,2\n3\n4,5,6\n"x"y,7\n\xff,8\n9,10\n11,"open\nend\n')
    records = rows_of(path)
    assert [r for r in records if not isinstance(r, Undecodable)] == [{"a": "1", "b": "2"}, {"a": "9", "b": "10"}]
    assert errors_of(records) == [
        None,
        (b"3\n", "the row has 1 fields, there are 2 columns"),
        (b"4,5,6\n", "the row has 3 fields, there are 2 columns"),
        (b'"x"y,7\n', "',' expected after '\"'"),
        (b"\xff,8\n", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        None,
        (b'11,"open\nend\n', "unexpected end of data"),
    ]


def test_a_huge_field_comes_whole(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n1," + b"x" * 5_000_000 + b"\n2,y\n")
    assert [len(row["b"]) for row in rows_of(path)] == [5_000_000, 1]


def test_a_time_function_gets_the_row(tmp_path: Path) -> None:
    path = write(tmp_path, b"at\n5\nx\n")
    source = sources.Csv(path, time=lambda row: int(row["at"]))
    block = source.open(str(path), None).read(None, 1000)
    assert block is not None
    records = source.decode(block.raw)
    assert source.times(records) == [5, None]
    assert isinstance(records[1], Undecodable)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [(b"a,b,a\n1,2,3\n", "names the column 'a' twice"), (b"a,\xff\n1,2\n", "is not utf-8"), (b'"a"b\n', "first row")],
)
def test_a_first_row_that_names_no_columns_is_refused(data: bytes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=complaint):
        rows_of(write(tmp_path, data))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"columns": ["a", "a"]}, "twice"),
        ({"columns": "ab"}, "list of str"),
        ({"columns": []}, "list of str"),
        ({"delimiter": ",,"}, "delimiter"),
        ({"quotechar": ""}, "quotechar"),
        ({"encoding": "utf-16"}, "line by line"),
    ],
)
def test_wrong_options_are_refused_when_the_source_is_made(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ApplicationError, match=complaint):
        sources.Csv("x.csv", **options)


FIELDS = st.text(st.sampled_from('ab",\n\r é'), max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
def test_what_a_csv_writer_wrote_comes_back_and_is_gone_on_with_after_any_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str, last: bool, data: st.DataObject
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two\nlines"), *rows])
    written = text.getvalue().encode()
    path = write(tmp_path_factory.mktemp("rows"), written if last else written.rstrip())
    expected = [{"one": one, "two\nlines": two} for one, two in rows]
    source = sources.Csv(path)
    reader = source.open(str(path), None)
    got: list[Any] = []
    for _ in range(data.draw(st.integers(0, 3))):
        if block := reader.read(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 60))):
            got += source.decode(block.raw)
    covered = data.draw(st.integers(0, len(got)))
    reader.offset_after(covered // 2)
    offset = repacked(reader.offset_after(covered))
    reader.close()
    assert got[:covered] + read_all(source, source.open(str(path), offset), 2, 30) == expected


def test_the_source_keeps_the_contract(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n" + b'1,"x\ny"\n2,z\n' * 20)
    testing.check_source(lambda: hf.sources.Csv(path))


def test_a_file_changed_within_what_was_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\n1\n2\n3\n")
    source = sources.Csv(path)
    reader = source.open(str(path), None)
    reader.read(2, 1000)
    offset = repacked(reader.offset_after(2))
    reader.close()
    write(tmp_path, b"b\n1\n2\n3\n")
    with pytest.raises(InputChangedError, match="was changed: its first 6 bytes"):
        source.open(str(path), offset)


def test_through_the_command_rows_are_identical_while_the_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    for name in ("one", "two"):
        rows = "".join(f'{n},"{name}\n{n}"\n' if n % 10 else f"{n}\n" for n in range(2000))
        (tmp_path / f"{name}.csv").write_text("id,text\n" + rows)
    done = holdfast(tmp_path, "chaos", "app.py", "--kills", "5", "--seed", "1")
    assert done.stdout.splitlines()[-1] == "IDENTICAL", done.stderr

    done = holdfast(tmp_path, "run", "app.py")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rows.jsonl").read_text().count("\n") == 3600
    assert (tmp_path / "bad.jsonl").read_text().count("the row has 1 fields, there are 2 columns") == 400
