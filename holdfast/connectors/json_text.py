"""The JSON text of a value: what `json.dumps(value, ensure_ascii=False, separators=(",", ":"))` gives.

msgspec writes the same bytes many times as fast, but only for some values; what those are is decided here, by
exact types: str, bool, int, None, floats that both write without an exponent, and list, tuple and dict of
these. Everything else, and everything that fails, goes the way of `json`, whose errors are the ones a user
sees. A column is written at once only when all of it is deeply immutable, so that writing it later gives the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from math import isfinite
from typing import Any

import msgspec

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encoder = msgspec.json.Encoder()

_PLAIN = frozenset({str, int, bool, type(None)})
_PLAIN_OR_FLOAT = _PLAIN | {float}
_TUPLE = frozenset({tuple})
_STR = frozenset({str})

# `repr` of a float has an exponent outside of these; inside, both write the shortest digits that round back
# to it.
_FLOAT_MIN, _FLOAT_END = 1e-4, 1e16

# Deeper values are left to json: looking at them costs more than it saves.
_DEPTH_MAX = 4


def json_line(value: object) -> bytes:
    r"""The JSON text of one value and "\n"; raises what `json.dumps` or the encoding to UTF-8 raises."""
    if _is_plain(value, _DEPTH_MAX):
        try:
            return _encoder.encode(value) + b"\n"
        except (TypeError, ValueError, OverflowError):
            pass  # such as a lone surrogate: the error is to be that of the way below
    return _dumps(value).encode() + b"\n"


def json_lines(values: list[Any]) -> bytes | None:
    """The JSON lines of many values at once; None unless all of them are plain and deeply immutable."""
    if not _PLAIN.issuperset(map(type, _items(values))):
        if not _PLAIN_OR_FLOAT.issuperset(map(type, _items(values))):
            return None
        if not _are_written_alike([item for item in _items(values) if type(item) is float and item != 0.0]):
            return _one_by_one(values)
    try:
        return _encoder.encode_lines(values)
    except (TypeError, ValueError, OverflowError):
        return None


def each_json_line(values: list[Any]) -> list[bytes] | None:
    """The same, line by line. (Line breaks inside a value are escaped, so only ends of lines are found.)"""
    lines = json_lines(values)
    return None if lines is None else lines.splitlines(keepends=True)


def _items(values: list[Any]) -> Iterable[Any]:
    """What stands in a column of tuples, or of anything else."""
    return chain.from_iterable(values) if _TUPLE.issuperset(map(type, values)) else values


def _are_written_alike(floats: list[float]) -> bool:
    """Whether all floats, none of them 0, are numbers that both write without an exponent."""
    # A NaN hides from min and max, but not from a sum; infinities show in either.
    sizes = list(map(abs, floats))
    return not sizes or (min(sizes) >= _FLOAT_MIN and max(sizes) < _FLOAT_END and isfinite(sum(sizes)))


def _one_by_one(values: list[Any]) -> bytes | None:
    """A rare float doesn't make a column unfit: to say so now would have the whole epoch done again."""
    try:
        return b"".join(map(json_line, values))
    except ValueError:  # such as a lone surrogate
        return None


def _is_plain(value: Any, depth: int) -> bool:
    """Whether msgspec writes the value as `json.dumps` does."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return bool(_FLOAT_MIN <= abs(value) < _FLOAT_END or value == 0.0)
    inner: Iterable[Any]
    if kind is tuple or kind is list:
        inner = value
    elif kind is dict and _STR.issuperset(map(type, value)):
        inner = value.values()
    else:
        return False
    for item in inner:
        kind = type(item)
        # The first two by identity: most items are of these types, and a lookup costs as much as both.
        if kind is not str and kind is not int and kind not in _PLAIN and not (depth and _is_plain(item, depth - 1)):
            return False
    return True
