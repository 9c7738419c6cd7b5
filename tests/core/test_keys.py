"""Keys: three values that Python calls equal are three keys, and bytes lead back to the key."""

from __future__ import annotations

import itertools
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import DamagedError, KeyTypeError
from holdfast.core.keys import canonical, key_hash, lookup, parse, range_of
from holdfast.core.types import TypeRegistry
from tests.core import value_domain as domain
from tests.core.value_domain import Color, Level, Right, Word, same

scalars = st.one_of(
    domain.any_text,
    st.binary(max_size=9),
    domain.numbers,
    st.booleans(),
    st.uuids(),
    st.dates(),
    domain.enums,
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
AWKWARD: list[Any] = [
    *(1, True, "1", b"1", 0, False, "", b"", (), ((),), ("",), (b"",), ("", ""), (1,), (True,), (("",),)),
    *("T", b"T", -1, 127, 128, -128, -129, 255, 256, 2**64, -(2**64), 10**5000, "\ud800", "ü", b"\xc3\xbc"),
    *(Color.RED, Color.GREEN, Level.LOW, Word.ONE, "one", Right(0), Right.READ, Right.READ | Right.RUN),
    *(UUID(int=1), UUID(int=1).bytes, date(1970, 1, 1), date(1970, 1, 1).toordinal(), domain.Bit(64)),
    *(("a", "b"), ("ab",), ("a", ("b",)), (("a", "b"),), ("a", "b", ""), ("b", "a")),
]


def test_awkward_keys_are_all_different_and_come_back() -> None:
    registry = TypeRegistry()
    images = [canonical(key, registry) for key in AWKWARD]
    assert len(set(images)) == len(AWKWARD)
    for key, image in zip(AWKWARD, images, strict=True):
        assert same(parse(image, registry), key)


@given(keys, keys)
@settings(domain.steady, max_examples=300)
def test_keys_have_the_same_bytes_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == same(one, other)
    assert (lookup(one) == lookup(other)) == same(one, other)


@given(keys)
@settings(domain.steady, max_examples=300)
def test_bytes_lead_back_to_the_key(key: Any) -> None:
    registry = TypeRegistry()
    image = canonical(key, registry)
    assert image == canonical(key)
    assert same(parse(image, TypeRegistry(hints=registry.hints())), key)


@given(keys, st.data())
@settings(domain.steady, max_examples=300)
def test_changed_bytes_are_another_key_or_damaged(key: Any, data: st.DataObject) -> None:
    registry = TypeRegistry()
    image = bytearray(canonical(key, registry))
    place = data.draw(st.integers(0, len(image) - 1))
    image[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        found = parse(bytes(image), registry)
    except DamagedError:
        return
    assert canonical(found) == bytes(image)


@pytest.mark.parametrize(
    "image",
    [
        *(b"", b"?", b"T1", b"i", b"i\x00\x01", b"s\xff", b"u1", b"d1", b"d\x00\x00\x00\x00", b"e", b"f"),
        *(b"((((", b"(\x00", b"(\x00\x00\x00\x01", b"e\x00\x00\x00\x01XA", b"f\x00\x00\x00\x01X\x01"),
    ],
)
def test_malformed_bytes_are_damaged(image: bytes) -> None:
    with pytest.raises(DamagedError):
        parse(image, TypeRegistry())


def test_bytes_nested_too_deep_are_damaged() -> None:
    image = b"i\x01"
    for _ in range(5000):
        image = b"(" + len(image).to_bytes(4, "big") + image
    with pytest.raises(DamagedError):
        parse(image, TypeRegistry())


class TextSubclass(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "key",
    [
        None,
        1.0,
        [],
        {},
        frozenset(),
        bytearray(b"a"),
        datetime(2024, 1, 1),
        Decimal(1),
        TextSubclass("a"),
        domain.Point(1),
        domain.Total,
        domain.Frozen(1),
        (1, 2.0),
        ("a", [1]),
    ],
    ids=repr,
)
def test_other_types_are_refused(key: Any) -> None:
    with pytest.raises(KeyTypeError, match="a key can't be"):
        canonical(key)
    with pytest.raises(KeyTypeError):
        lookup(key)


def test_a_key_nested_too_deep_is_refused() -> None:
    key: Any = ()
    for _ in range(300):
        key = (key,)
    with pytest.raises(KeyTypeError, match="nested deeper"):
        canonical(key)


def test_two_enums_of_one_name_are_refused() -> None:
    one, other = domain.enum_of(A=1), domain.enum_of(A=1)
    registry = TypeRegistry([one])
    canonical(one.A, registry)
    with pytest.raises(KeyTypeError, match="Kind"):
        canonical(other.A, registry)


def test_plain_text_and_ints_are_their_own_lookup() -> None:
    assert [lookup(key) for key in ("a", 7)] == ["a", 7]
    looked_up = [lookup(key) for key in (1, True, "1", b"1", Level.LOW, Word.ONE, "one")]
    assert all(one != other for one, other in itertools.combinations(looked_up, 2))


def test_the_format_of_keys_is_what_it_was() -> None:
    assert canonical("word") == b"sword"
    assert canonical(-2) == b"i\xfe"
    assert canonical(("a", 1)) == b"(\x00\x00\x00\x02sa\x00\x00\x00\x02i\x01"
    assert canonical(Color.RED) == b"e\x00\x00\x00\x05ColorRED"
    assert canonical(date(2024, 1, 2)) == b"d\x00\x0b\x46\x47"
    assert key_hash(b"sword") == 0xAD16_D1B8_C569_9B94


def test_ranges_are_equal_parts_of_the_hash_interval() -> None:
    assert [range_of(hashed, 1024) for hashed in (0, 2**54 - 1, 2**54, 2**64 - 1)] == [0, 0, 1, 1023]
    assert [range_of(hashed, 3) for hashed in (0, 2**64 // 3, 2**64 // 3 + 1, 2**64 - 1)] == [0, 0, 1, 2]
