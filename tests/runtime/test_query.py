"""Questions and answers as bytes, and values as JSON shows them."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import FrameError
from holdfast.runtime.plain_values import plain
from holdfast.runtime.query import Answer, Question, pack, unpack_answer, unpack_question
from tests.core import value_domain as domain


class Colour(Enum):
    RED = "r"


class Size(IntEnum):
    LARGE = 3


class Pair(NamedTuple):
    left: int
    right: int


@dataclass
class Nested:
    colour: Colour
    pairs: list[Pair]


@given(st.text(max_size=9), st.binary(max_size=9))
def test_questions_and_answers_are_what_they_were(step: str, key: bytes) -> None:
    assert unpack_question(pack(Question(step, key))) == Question(step, key)
    answer = Answer(image=key, shown=step, plain="1", node=step, applied=7)
    assert unpack_answer(pack(answer)) == answer


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_are_a_question_or_answer(packed: bytes) -> None:
    for unpack in (unpack_question, unpack_answer):
        with suppress(FrameError):
            read: Any = unpack(packed)
            assert unpack(pack(read)) == read


def test_bytes_that_are_no_map_of_fields_are_refused() -> None:
    for packed in (b"", b"\xc0", b"\x90", b"\x80\x80", b"\x81\xa6plain1\x01"):
        for unpack in (unpack_question, unpack_answer):
            with pytest.raises(FrameError):
                unpack(packed)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Nested(Colour.RED, [Pair(1, 2)]), {"colour": "Colour.RED", "pairs": [{"left": 1, "right": 2}]}),
        (Size.LARGE, "Size.LARGE"),
        ({1: "a", "1": "b"}, [[1, "a"], ["1", "b"]]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({3, 1, 2}, [1, 2, 3]),
        (deque([1, (2,)]), [1, [2]]),
        (b"\x00", "b'\\x00'"),
        (date(2026, 11, 24), "2026-11-24"),
        (Decimal("1.50"), "1.50"),
        (float("nan"), "nan"),
        (None, None),
    ],
)
def test_a_value_stands_in_json_as_one_would_write_it(value: Any, shown: Any) -> None:
    assert plain(value) == shown


@given(domain.values)
def test_json_takes_whatever_a_state_can_be(value: Any) -> None:
    json.dumps(plain(value), allow_nan=False)
