"""The JSON text of outputs: the bytes that `json.dumps` gives, and its errors, one by one and in columns."""

from __future__ import annotations

import enum
import json
import struct
from collections import OrderedDict, defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast import sinks

SINK = sinks.JsonLines("x")


class Point(NamedTuple):
    x: int
    y: str


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.StrEnum):
    RED = "red"


class Text(str):
    __slots__ = ()


FLOATS = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1e-4, 9.999e-5, 1e16, 9999999999999998.0, 1e22, 1e15, 5e-324, 1.7e308]),
    st.decimals(-(10**12), 10**12, places=2, allow_nan=False).map(float),
)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.text(max_size=6), FLOATS)
ODD = st.sampled_from(
    [
        b"x",
        {1},
        frozenset(),
        Point(1, "a"),
        Level.LOW,
        Colour.RED,
        Text("a"),
        Decimal(1),
        UUID(int=1),
        object(),
        datetime(2024, 1, 1),
        1j,
        bytearray(b"x"),
        OrderedDict(a=1),
        defaultdict(list, a=[1]),
        "\ud800",
        "\udcff",
    ]
)
ATOMS = st.one_of(PLAIN, PLAIN, ODD)
KEYS = st.one_of(
    st.text(max_size=3),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.just((1,)),
    st.just(Level.LOW),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=4),
    ),
    max_leaves=10,
)


def expected(value: Any) -> bytes | tuple[str, str]:
    """The definition; errors as their text."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error)


def got(value: Any) -> bytes | tuple[str, str]:
    try:
        return SINK.encode(value)
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error)


@given(VALUES)
@example('\x00\x1f\x7f\x80\u2028\u2029\\"/\ufeff😀')
@example(10**4400)
@example([[[[[[1.5]]]]]])
def test_an_output_is_what_json_dumps_writes(value: Any) -> None:
    assert got(value) == expected(value)


def test_a_value_that_holds_itself_is_refused_as_by_json() -> None:
    value: list[Any] = []
    value.append(value)
    assert got(value) == expected(value) == ("ValueError", "Circular reference detected")


def is_deeply_immutable(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(is_deeply_immutable, value))
    return value is None or type(value) in (str, int, bool, float)


@given(
    st.one_of(
        st.lists(PLAIN, max_size=5),
        st.lists(VALUES, max_size=5),
        st.lists(st.lists(PLAIN, max_size=4).map(tuple), max_size=5),
        st.lists(st.tuples(st.text(max_size=5), st.integers(0, 10**6), FLOATS), max_size=5),
    )
)
def test_a_column_is_its_outputs_one_by_one(values: list[Any]) -> None:
    column = SINK.encode_column(values)
    if column is not None:
        assert column == b"".join(map(SINK.encode, values))
        assert SINK.encode_each(values) == list(map(SINK.encode, values))
        assert all(map(is_deeply_immutable, values))  # so that writing it later gives the same bytes


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["a", 1, None, True],
        [("a", 1)],
        [(), (1,), ("é", None)],
        [("a", 1.5)],
        [(0.0, -0.0, 1e15, 1e-4)],
        [2**80],
        [1e16, 1.5],
        [("a", 1), ("b", 1e-05)],
        [("a", float("nan")), (-float("inf"), float("inf"))],
        ["a\nb", "\r", "\u2028", "\x85"],
    ],
)
def test_the_common_outputs_are_written_as_columns(values: list[Any]) -> None:
    assert SINK.encode_column(values) == b"".join(map(SINK.encode, values))
    assert SINK.encode_each(values) == list(map(SINK.encode, values))


@pytest.mark.parametrize(
    "value",
    [
        ["a"],
        {"a": 1},
        ("a", ["b"]),
        (("a",),),
        Point(1, "a"),
        Level.LOW,
        Text("a"),
        b"a",
        ("a", Level.LOW),
        "\ud800",
        ("\ud800", 1),
    ],
)
def test_columns_of_anything_else_are_left_to_one_by_one(value: Any) -> None:
    assert SINK.encode_column([value]) is None
    assert SINK.encode_each([value]) is None
    assert SINK.encode_column([("a", 1), value]) is None


@settings(max_examples=300)
@given(st.lists(st.one_of(FLOATS, st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("d", struct.pack("Q", n))[0]))))
def test_floats_in_columns_are_written_as_json_writes_them(floats: list[float]) -> None:
    assert SINK.encode_column(floats) == b"".join(json.dumps(x).encode() + b"\n" for x in floats)


def test_a_nan_among_many_floats_is_noticed() -> None:
    for index in range(5):
        floats = [1.5, 2.5, 3.5, 4.5, 5.5]
        floats[index] = float("nan")
        assert SINK.encode_column(floats) == b"".join(map(SINK.encode, floats))


# --- text


@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from([Text("a\nb"), Colour.RED, "\r", ""])), max_size=5))
def test_text_outputs_are_their_utf8_and_a_newline(values: list[str]) -> None:
    sink = sinks.TextFile("x")
    lines = [str.encode(value) + b"\n" for value in values]
    assert list(map(sink.encode, values)) == lines
    assert sink.encode_column(values) == (b"".join(lines) if set(map(type, values)) <= {str} else None)
    assert sink.encode_each(values) == (lines if set(map(type, values)) <= {str} else None)
    assert list(map(sinks.Stdout().encode, values)) == lines


@pytest.mark.parametrize("value", [1, None, b"a", ["a"], ("a",), Level.LOW])
def test_text_sinks_refuse_what_is_not_str(value: Any) -> None:
    for sink in (sinks.TextFile("x"), sinks.Stdout()):
        with pytest.raises(TypeError, match="str only"):
            sink.encode(value)
        assert sink.encode_column(["a", value]) is None


def test_text_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        sinks.TextFile("x").encode("\ud800")
    assert sinks.TextFile("x").encode_column(["a", "\ud800"]) is None


def test_output_paths_are_text_and_known_before_anything_is_opened(tmp_path: Path) -> None:
    assert sinks.JsonLines(tmp_path / "a").paths() == [str(tmp_path / "a")]
    assert list(tmp_path.iterdir()) == []
