"""JSON lines: what `json.loads` gives for each line, whichever way it was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast import sources
from holdfast.core.connector import Sound, Undecodable

NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),  # also NaN and Infinity, which json.loads knows in another spelling
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        [
            "-0",
            "-0.0",
            "-0e0",
            "1e400",
            "-1e400",
            "1e-400",
            "NaN",
            "Infinity",
            "-Infinity",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "9" * 400,
            "9" * 4301,
            "0" * 5000,
            "1." + "9" * 900,
            "5e-324",
            "2.2250738585072011e-308",
        ]
    ),
)
ESCAPES = [
    r"\ud800",
    r"\udc00",
    r"\ud83d\ude00",
    r"\ud83dx",
    r"\u0000",
    r"\/",
    r"\b\f\n\r\t",
    r"\x",
    "\\",
    r"\u12",
]
STRINGS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8).map(lambda s: json.dumps(s, ensure_ascii=False)),
    st.text(max_size=8).map(json.dumps),
    st.lists(st.one_of(st.sampled_from(ESCAPES), st.text(max_size=3)), max_size=4).map(
        lambda p: '"' + "".join(p) + '"'
    ),
)
ATOMS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["null", "true", "false", "True", "nul", ""]))
SPACE = st.sampled_from(["", "", " ", "\t", "\r", " \r", "\x0b", "\x0c", "\xa0", "\ufeff"])


def spaced(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(SPACE, text, SPACE).map("".join)


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    fields = st.tuples(st.one_of(STRINGS, st.sampled_from(['"a"', '"b"', "1"])), SPACE, st.just(":"), inner).map(
        "".join
    )
    return st.one_of(
        st.lists(spaced(inner), max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(spaced(fields), max_size=4).map(lambda items: "{" + ",".join(items) + "}"),
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join([*items, ""]) + "]"),
    )


TEXTS = spaced(st.recursive(ATOMS, containers, max_leaves=8))
LINES = st.one_of(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=8)).map(
    lambda line: line.replace(b"\n", b"")
)


def expected(line: bytes, encoding: str = "utf-8") -> Any:
    """The definition; errors as their text."""
    try:
        return exact(json.loads(line.decode(encoding)))
    except ValueError as error:
        return type(error).__name__, str(error)


def exact(value: Any) -> Any:
    """Told apart by everything: types, signs of zero, order of keys, kinds of NaN."""
    if isinstance(value, dict):
        return dict, [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list, [exact(item) for item in value]
    return type(value), repr(value) if type(value) is not int else hex(value)


def got(record: Any) -> Any:
    if isinstance(record, Undecodable):
        return type(record.error).__name__, str(record.error)
    return exact(record)


@given(LINES)
@example(b"")
@example(b"1 2")
@example(b"\xed\xa0\x80")
@example(b'"\xed\xa0\x80"')
@example(b'{"a":1,"b":2,"a":3}')
@example(b'"' + b"\x7f\xc2\x80" + b'"')
def test_a_record_is_what_json_loads_gives(line: bytes) -> None:
    if line:
        assert list(map(got, sources.JsonLines("x").decode(line))) == [expected(line)]
    assert list(map(got, sources.JsonLines("x").decode(line + b"\n"))) == [expected(line)]


@given(st.lists(LINES, max_size=6), st.sampled_from(["utf-8", "ascii", "latin-1", "shift_jis"]))
@example([b"1 2", b""], "utf-8")
@example([b"[1,", b"2]"], "utf-8")
@example([b"1", b"", b" ", b"2"], "utf-8")
def test_each_line_of_a_block_is_read_on_its_own(lines: list[bytes], encoding: str) -> None:
    records = sources.JsonLines("x", encoding=encoding).decode(b"".join(line + b"\n" for line in lines))
    assert list(map(got, records)) == [expected(line, encoding) for line in lines]


# Pieces of which lines that look like one object each can hold none, a half or several.
PIECES = st.sampled_from(['{"a":1}', '{"b":[{', "{", "}", '"', ",", ":", '"c":', "1", " ", "}]", "[", "\\", "\r", "{}"])
OBJECT_LIKE = st.one_of(
    st.lists(PIECES, max_size=4).map(lambda pieces: "{" + "".join(pieces) + "}"),
    st.lists(st.sampled_from(['{"a":1}', "{}", '{"a":', "1}", "1", ",", " "]), min_size=1, max_size=3).map("".join),
).map(str.encode)


@given(st.lists(OBJECT_LIKE, min_size=1, max_size=5), st.sampled_from([b"", b"\n"]))
@example([b'{"a":1} {"b":2}', b"{}"], b"\n")
@example([b'{"a":1} {"b":2}', b'{"a":', b"1}"], b"\n")
@example([b'{"a":"}', b'{"}', b'{"a":1}{"b":2}'], b"")
@example([b'{"a":', b"1}"], b"\n")
@example([b'{"a":1}', b'{"a":2}', b'{"b":3}'], b"\n")
@example([b'{"a":1}{"a":2}', b'{"a":3}', b'{"a":', b"4}"], b"\n")
@example([b"{}", b'{"a":1}', b"{}", b'{"a":1}'], b"")
def test_lines_that_look_like_an_object_each_are_read_on_their_own_too(lines: list[bytes], end: bytes) -> None:
    records = sources.JsonLines("x").decode(b"\n".join(lines) + end)
    assert list(map(got, records)) == list(map(expected, lines))


def test_only_records_that_are_surely_decoded_are_given_as_sound() -> None:
    source = sources.JsonLines("x")
    assert type(source.decode(b'{"a":1}\n{"a":2}\n')) is Sound
    assert type(source.decode(b'{"a":1}\n{"b":2}\n')) is Sound
    assert type(source.decode(b'{"a":1}\n{"a":}\n')) is not Sound


def test_an_undecodable_line_keeps_its_bytes() -> None:
    first, bad, last = sources.JsonLines("x").decode(b'{"a":1}\n{"a":\n[]')
    assert (first, last) == ({"a": 1}, [])
    assert isinstance(bad, Undecodable)
    assert (bad.raw, type(bad.error)) == (b'{"a":', json.JSONDecodeError)


def test_a_value_nested_beyond_the_interpreters_limit_is_undecodable() -> None:
    deep, flat = sources.JsonLines("x").decode(b"[" * 100_000 + b"]" * 100_000 + b"\n1\n")
    assert isinstance(deep, Undecodable)
    assert flat == 1


def test_records_share_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":[]}\n{"a":[]}\n')
    source = sources.JsonLines(path)
    reader = source.open(str(path), None)
    block = reader.read(None, 100)
    reader.close()
    assert block is not None
    first, second = source.decode(block.raw)
    first["a"].append(1)
    assert second == {"a": []}
    assert source.decode(block.raw)[0] == {"a": []}


@pytest.mark.parametrize("line", [b"1e400", b"NaN", b'"\\ud800"', b"-Infinity"])
def test_what_only_json_knows_is_known(line: bytes) -> None:
    (record,) = sources.JsonLines("x").decode(line)
    assert exact(record) == exact(json.loads(line))
