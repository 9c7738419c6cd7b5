"""Schemas: changes that stored instances can't survive are named, all others are fine."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field, make_dataclass
from typing import Any, NamedTuple

import msgpack
import pytest

from holdfast.core.schema import changes, describe
from tests.core import value_domain as domain

OLDER_UNION = typing.Optional[int]  # noqa: UP045 - the same type, as older code spells it
OLDER_LIST = typing.List[int]  # noqa: UP006 - as above


@dataclass
class Leafage:
    color: domain.Color
    next: Leafage | None = None


@dataclass
class Tree:
    leaves: dict[str, list[Leafage]]
    at: domain.Point
    size: int = 0
    tags: list[str] = field(default_factory=list)


def version(*fields: Any, name: str = "Total") -> dict[str, Any]:
    return describe(make_dataclass(name, fields))


def test_a_description_reaches_everything_and_is_plain_data() -> None:
    found = describe(Tree)
    assert found["tag"] == "Tree"
    assert found["kind"] == "dataclass"
    assert found["fields"] == {
        "leaves": {"type": "dict[str, list[Leafage]]", "default": False},
        "at": {"type": "Point", "default": False},
        "size": {"type": "int", "default": True},
        "tags": {"type": "list[str]", "default": True},
    }
    assert list(found["nested"]) == ["Color", "Leafage", "Point"]
    assert found["nested"]["Leafage"]["fields"]["next"] == {"type": "Leafage | None", "default": True}
    assert msgpack.unpackb(msgpack.packb(found)) == found
    assert changes(found, describe(Tree)) == []


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ([("count", int)], [("count", str)], ["Total.count: int became str"]),
        ([("count", int)], [], ["Total lost its field 'count'"]),
        ([], [("x", int)], ["Total has a new field 'x' without a default"]),
        ([], [("x", int, 3)], []),
        ([], [("x", list, field(default_factory=list))], []),
        ([("a", int), ("b", str)], [("b", str), ("a", int)], []),
        ([("a", int)], [("a", int, 5)], []),
        ([("a", OLDER_UNION)], [("a", "int | None")], []),
        ([("a", OLDER_LIST)], [("a", "list[int]")], []),
        ([("a", "Missing")], [("a", "Missing")], []),
        ([("a", "Missing")], [("a", "Lost")], ["Total.a: Missing became Lost"]),
        (
            [("a", "tuple[int, ...]")],
            [("a", "tuple[str, ...]")],
            ["Total.a: tuple[int, ...] became tuple[str, ...]"],
        ),
        (
            [("a", int), ("b", int)],
            [("a", str), ("c", int)],
            [
                "Total.a: int became str",
                "Total lost its field 'b'",
                "Total has a new field 'c' without a default",
            ],
        ),
    ],
)
def test_changes_of_fields(old: list[Any], new: list[Any], lines: list[str]) -> None:
    assert changes(version(*old), version(*new)) == lines


def test_changes_inside_are_found() -> None:
    inner = make_dataclass("Inner", [("a", int)])
    other = make_dataclass("Inner", [("a", str)])
    old, new = version(("x", list[inner])), version(("x", list[other]))  # type: ignore[valid-type]
    assert changes(old, new) == ["Inner.a: int became str"]


def test_members_may_come_but_not_go() -> None:
    old, more = domain.enum_of(A=1, B=2), domain.enum_of(B=9, C=1, A=3)
    assert changes(describe(old), describe(more)) == []
    assert changes(describe(more), describe(old)) == ["Kind lost its member 'C'"]


def test_flags_keep_their_numbers() -> None:
    old, new = domain.flag_of(A=1, B=2), domain.flag_of(A=2, B=1)
    assert changes(describe(old), describe(new)) == ["Kind.A: 1 became 2", "Kind.B: 2 became 1"]


def test_named_tuples_are_compared_like_dataclasses() -> None:
    class Pair(NamedTuple):
        a: int
        b: int = 0

    class Other(NamedTuple):
        a: str

    Pair.__qualname__ = Other.__qualname__ = "Pair"
    assert changes(describe(Pair), describe(Other)) == ["Pair.a: int became str", "Pair lost its field 'b'"]
    assert changes(describe(Other), describe(Pair)) == ["Pair.a: str became int"]


def test_a_change_of_kind_or_name_is_refused() -> None:
    total = version(("a", int))
    assert changes(total, describe(type("Total", (), {}))) == ["Total: dataclass became plain class"]
    assert changes(total, version(("a", int), name="Sum")) == ["Total became Sum"]
    assert changes(describe(int), describe(str)) == ["int became str"]
    assert changes(describe(dict), describe(dict)) == []


def test_plain_classes_are_compared_by_kind_only() -> None:
    assert describe(domain.Plain) == {"tag": "Plain", "kind": "plain class", "nested": {}}


def test_a_factory_is_described_by_what_it_says_to_return() -> None:
    def make(key: str) -> Leafage:
        raise NotImplementedError

    def unannotated(key):  # type: ignore[no-untyped-def]
        return Leafage

    assert describe(make) == describe(Leafage)
    assert describe(lambda: [0])["kind"] == describe(unannotated)["kind"] == "unknown"
    assert changes(describe(unannotated), describe(int)) == []


def test_a_description_is_the_same_in_every_process() -> None:
    assert repr(describe(Tree)) == repr(describe(Tree))
    assert "tests.core" not in repr(describe(Tree))
