"""Images of older code and damaged images: filled or refused with the reason, never anything else."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import DamagedError
from holdfast.core.types import TypeRegistry
from holdfast.core.values import decode, encode
from tests.core import value_domain as domain
from tests.core.value_domain import same


def make_version(namespace: dict[str, Any], fields: list[Any], **options: Any) -> type:
    return dataclasses.make_dataclass("Version", fields, namespace=namespace, **options)


@pytest.mark.parametrize("slots", [False, True])
def test_new_fields_with_defaults_are_filled(slots: bool) -> None:
    old = make_version({}, [("a", int)], slots=slots)
    new = make_version(
        {}, [("b", int, 5), ("a", int), ("c", list, field(default_factory=list))][1:], slots=slots
    )
    image = encode(old(1), TypeRegistry([old]))
    one, other = (decode(image, TypeRegistry([new])) for _ in range(2))
    assert one == new(1)
    assert one.c is not other.c  # type: ignore[attr-defined]


def test_new_fields_of_a_named_tuple_are_filled() -> None:
    class First(NamedTuple):
        a: int

    class Second(NamedTuple):
        a: int
        b: int = 2

    First.__qualname__ = Second.__qualname__ = "Pair"
    image = encode(First(1), TypeRegistry([First]))
    assert same(decode(image, TypeRegistry([Second])), Second(1, 2))


def test_a_new_field_without_default_and_a_lost_field_are_named() -> None:
    old = make_version({}, [("a", int)])
    image = encode(old(1), TypeRegistry([old]))
    with pytest.raises(DamagedError, match="new field 'b' without a default"):
        decode(image, TypeRegistry([make_version({}, [("a", int), ("b", int)])]))
    with pytest.raises(DamagedError, match="lost its field 'a'"):
        decode(image, TypeRegistry([make_version({}, [])]))


def test_an_instance_is_not_made_of_another_kind_of_class() -> None:
    old = make_version({}, [("a", int)])
    image = encode(old(1), TypeRegistry([old]))
    other = type("Version", (), {})
    with pytest.raises(DamagedError, match="is now a plain class"):
        decode(image, TypeRegistry([other]))


def test_members_of_enums_are_found_by_name_and_flags_by_number() -> None:
    old = domain.enum_of(A=1, B=2)
    renumbered = domain.enum_of(B=1, A=2)
    image = encode(old.A, TypeRegistry([old]))
    assert decode(image, TypeRegistry([renumbered])) is renumbered.A
    with pytest.raises(DamagedError, match="no member 'A'"):
        decode(image, TypeRegistry([domain.enum_of(B=1)]))
    flags = domain.flag_of(A=1, B=2)
    both = encode(flags.A | flags.B, TypeRegistry([flags]))
    with pytest.raises(DamagedError):
        decode(both, TypeRegistry([domain.flag_of(A=1)]))


@given(st.binary(max_size=40))
@settings(domain.steady, max_examples=300)
def test_bytes_from_anywhere_are_a_value_or_damaged(image: bytes) -> None:
    _decode_anything(image)


@given(domain.values, st.data())
@settings(domain.steady, max_examples=400)
def test_a_changed_image_is_a_value_or_damaged(value: Any, data: st.DataObject) -> None:
    image = bytearray(encode(value, TypeRegistry()))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(len(image) - 1, 0)))
        change = data.draw(st.sampled_from(["flip", "cut", "insert", "double"]))
        if change == "flip" and image:
            image[place] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del image[place : place + data.draw(st.integers(1, 3))]
        elif change == "insert":
            image[place:place] = data.draw(
                st.sampled_from([b"\xd4\x29", b"\xc7\x00\x20", b"\x91", b"\xd6\xff\0\0\0\1"])
            )
        else:
            image[place:place] = image[place:]
    _decode_anything(bytes(image))


def _decode_anything(image: bytes) -> None:
    hints = {
        cls.__qualname__: cls.__module__
        for cls in (*domain.CLASSES, domain.Color, domain.Right, domain.Point)
    }
    try:
        found = decode(image, TypeRegistry(hints=hints))
    except DamagedError:
        return
    # Whatever is accepted is a value.
    encode(found, TypeRegistry())


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xa2\xff\xff",
        b"\x81\x90\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\x91\xd6\xff\x00\x00\x00\x01",
        b"\xc7\x00\x20",
        b"\x92\x01\xc7\x00\x20",
        b"\x92\xc7\x00\x21\x01",
        b"\x93\xc7\x00\x26\x01\x01",
        b"\x81\xc7\x00\x20\x01",
        b"\x93\xd4\x25\x00\x01\x02",
        b"\x91\xc7\x00\x2c",
        b"\xd4\x63\x00",
        b"\x91" * 1020 + b"\x90",
        b"\x91" * 100_000 + b"\x90",
        b"\x92\xc7\x00\x20" * 330 + b"\x90",
    ],
    ids=lambda image: image[:12].hex(),
)
def test_a_malformed_image_is_damaged(image: bytes) -> None:
    with pytest.raises(DamagedError):
        decode(image, TypeRegistry())
