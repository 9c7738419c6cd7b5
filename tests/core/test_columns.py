"""Columns: many entities at once, never less exact than one by one."""

from __future__ import annotations

import functools
import gc
import re
from dataclasses import dataclass, field, make_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.columns import decode_column, encode_column
from holdfast.core.errors import DamagedError, ValueTypeError
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.core.wire import DEPTH_MAX
from tests.core import value_domain as domain
from tests.core.value_domain import Total, same


@dataclass
class Squared:
    side: int

    @functools.cached_property
    def area(self) -> int:
        return self.side * self.side


class SubTotal(Total):
    """Not a dataclass of its own, with the fields of one."""


@dataclass
class Hidden:
    """What is assigned is not stored under the name of the field."""

    amount: int

    def __setattr__(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value + 1)


def round_trip(states: list[Any]) -> list[Any]:
    registry = TypeRegistry()
    packed = encode_column(states, registry)
    assert type(packed) is bytes, "a chunk can hold it whatever it is packed with"
    return decode_column(packed, TypeRegistry(hints=registry.hints()))


@given(domain.columns)
@settings(domain.steady, max_examples=500)
def test_every_column_comes_back_the_same(states: list[Any]) -> None:
    assert same(round_trip(states), states)


@pytest.mark.parametrize(
    "states",
    [
        [],
        [None],
        [1, 2**64, -(2**70)],
        ["a", "\ud800"],
        [1, True, 1.0, "1"],
        [Total(1), Total(2.5), Total("x")],
        [Total(2**64), Total("\ud800")],
        [Total([1]), Total({"a": (1,)})],
        [Total({}), Total({})],
        [Total(1), 1, (1,)],
        [Total(1), SubTotal(2)],
        [SubTotal(1), SubTotal(2)],
        [domain.Empty(), domain.Empty()],
        [(), ()],
        [(1,), (1, 2)],
        [(1, "a"), (2, "b")],
        [((1,), [2]), ((3,), [4])],
        [domain.Shifted(1), domain.Shifted(2)],
        [domain.Lazy(1), domain.Lazy(2)],
        [domain.Plain(a=1), domain.Plain(b=1)],
        [Hidden(1), Hidden(2)],
        [domain.Color.RED, domain.Color.GREEN],
    ],
    ids=lambda states: re.sub(" at 0x[0-9a-f]+", "", repr(states)),  # the same in every process
)
def test_an_awkward_column_comes_back_the_same(states: list[Any]) -> None:
    assert same(round_trip(states), states)


def test_an_attribute_beside_the_fields_is_kept() -> None:
    states = [Squared(2), Squared(3)]
    assert states[1].area == 9
    assert [vars(state) for state in round_trip(states)] == [{"side": 2}, {"side": 3, "area": 9}]


def test_an_attribute_in_place_of_a_deleted_field_is_kept() -> None:
    states: list[Any] = [Total(5), Total(0)]
    del states[1].count
    states[1].other = 0
    assert [vars(state) for state in round_trip(states)] == [{"count": 5}, {"other": 0}]


def test_an_attribute_too_many_here_does_not_make_up_for_one_that_is_missing_there() -> None:
    states: list[Any] = [Total(5), Total(6)]
    states[0].other = 1
    del states[1].count
    assert [vars(state) for state in round_trip(states)] == [{"count": 5, "other": 1}, {}]


def test_attributes_in_a_real_dict_are_kept() -> None:
    states: list[Any] = [Total(5), Total(6), domain.Total(7)]
    vars(states[0])["other"] = 1
    assert vars(states[2]) == {"count": 7}
    assert [vars(state) for state in round_trip(states)] == [
        {"count": 5, "other": 1},
        {"count": 6},
        {"count": 7},
    ]


def test_an_empty_slot_stays_empty() -> None:
    states: list[Any] = [domain.Slotted(1), domain.Slotted(2)]
    del states[1].b
    found = round_trip(states)
    assert [hasattr(state, "b") for state in found] == [True, False]


def test_columns_are_used_and_smaller() -> None:
    registry = TypeRegistry()
    states = [Total(number) for number in range(100)]
    assert (
        len(encode_column(states, registry))
        < 130
        < sum(len(encode(state, registry)) for state in states) / 10
    )


def test_encoding_leaves_the_compact_form_of_attributes_alone() -> None:
    states = [Total(number) for number in range(300, 310)]
    encode_column(states, TypeRegistry())
    assert not any(isinstance(part, dict) for part in gc.get_referents(*states))


@pytest.mark.parametrize("options", [{}, {"slots": True}, {"frozen": True}])
def test_new_fields_with_defaults_are_filled(options: dict[str, Any]) -> None:
    old = make_dataclass("Version", [("a", int)], **options)
    new = make_dataclass(
        "Version", [("a", int), ("b", int, 2), ("c", list, field(default_factory=list))], **options
    )
    packed = encode_column([old(1), old(2)], TypeRegistry([old]))
    found = decode_column(packed, TypeRegistry([new]))
    assert found == [new(1), new(2)]
    assert found[0].c is not found[1].c
    with pytest.raises(DamagedError, match="lost its field"):
        decode_column(packed, TypeRegistry([make_dataclass("Version", [("b", int, 2)])]))


def test_the_message_names_the_state_and_its_field() -> None:
    with pytest.raises(ValueTypeError, match=r"^value\[1\]\.count\[0\]: range is not a value"):
        encode_column([Total(1), Total([range(3)])], TypeRegistry())


def test_a_column_takes_what_an_image_takes() -> None:
    deep: Any = []
    for _ in range(DEPTH_MAX - 2):
        deep = [deep]
    assert round_trip([Total(deep), Total(1)])[1] == Total(1)
    assert round_trip([Total(deep), 1])[1] == 1
    for states in ([Total([deep])], [Total([deep]), 1]):
        with pytest.raises(ValueTypeError, match="nested deeper"):
            encode_column(states, TypeRegistry())


@given(domain.columns, st.data())
@settings(domain.steady, max_examples=200)
def test_a_changed_column_is_a_column_or_damaged(states: list[Any], data: st.DataObject) -> None:
    registry = TypeRegistry()
    packed = bytearray(encode_column(states, registry))
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(packed) - 1))
        packed[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
        packed = packed or bytearray(1)
    try:
        found = decode_column(bytes(packed), TypeRegistry(hints=registry.hints()))
    except DamagedError:
        return
    encode_column(found, TypeRegistry())


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x01",
        b"\x80",
        b"\x91\xc7\x00\x2c",
        b"\x92\xc7\x00\x2c\x91\x01",
        b"\x92\xc7\x00\x2c\xc7\x00\x20",
        b"\x93\xc7\x00\x2c\xc7\x00\x20\x01",
        b"\x94\xc7\x00\x2c\xc7\x00\x20\x91\x01\x90",
        b"\x93\xc7\x00\x2c\xc7\x00\x26\x91\x01",
        b"\x92\xc7\x00\x20\x01",
    ],
    ids=bytes.hex,
)
def test_a_malformed_column_is_damaged(packed: bytes) -> None:
    with pytest.raises(DamagedError):
        decode_column(packed, TypeRegistry())
