"""Copies: equal to copy.deepcopy, fresh wherever something could change, itself where nothing can."""

from __future__ import annotations

import copy
import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings

from holdfast.core.copying import ATOMS, copy_value
from holdfast.core.errors import ValueTypeError
from tests.core import value_domain as domain
from tests.core.value_domain import attributes_of, same


class Remade:
    """Says itself how it is copied."""

    def __init__(self, a: list[int]) -> None:
        self.a = a

    def __deepcopy__(self, memo: dict[int, Any]) -> Remade:
        return Remade([*self.a, 0])


class Trimmed:
    def __init__(self) -> None:
        self.kept, self.cache = [1], [2]

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.kept}


class Counted:
    made = 0

    def __new__(cls) -> Counted:
        cls.made += 1
        return super().__new__(cls)


@dataclass(frozen=True)
class Caching:
    side: int

    @functools.cached_property
    def area(self) -> int:
        return self.side**2


def changeable(value: Any) -> Iterator[Any]:
    """Every part of a value that could be changed."""
    if isinstance(value, (list, tuple, deque, set, frozenset)):
        if not isinstance(value, (tuple, frozenset)):
            yield value
        for part in value:
            yield from changeable(part)
    elif isinstance(value, dict):
        yield value
        for key, part in value.items():
            yield from changeable(key)
            yield from changeable(part)
    elif isinstance(value, bytearray):
        yield value
    elif type(value) in domain.CLASSES or isinstance(value, domain.SlotBase):
        if not isinstance(value, (domain.Frozen, domain.FrozenSlotted)):
            yield value
        for part in attributes_of(value).values():
            yield from changeable(part)


@given(domain.values)
@settings(domain.steady, max_examples=400)
def test_a_copy_equals_that_of_deepcopy_and_shares_nothing_that_can_change(value: Any) -> None:
    copied = copy_value(value)
    assert same(copied, value)
    assert same(copied, copy.deepcopy(value))
    originals = {id(part) for part in changeable(value)}
    assert originals.isdisjoint(id(part) for part in changeable(copied))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "a",
        2**70,
        (),
        (1, "a", (2.5, None)),
        frozenset({1, (2, 3)}),
        domain.Color.RED,
        (domain.Color.RED, domain.Bit.A),
        domain.Point(1, (2,)),
        domain.Shifted(1),
        domain.Frozen(1, (2,)),
        domain.FrozenSlotted(1),
    ],
    ids=repr,
)
def test_what_is_deeply_immutable_is_itself(value: Any) -> None:
    assert copy_value(value) is value


@pytest.mark.parametrize(
    "value",
    [
        ([],),
        frozenset({domain.Frozen(domain.Empty)}),
        domain.Point([], 1),
        domain.Frozen([]),
        domain.Total(1),
        domain.Total([1]),
        Caching(2),
        [],
        {},
        set(),
        bytearray(),
        deque([1], 3),
        defaultdict(list),
        Counter("aab"),
        OrderedDict(a=1),
    ],
    ids=repr,
)
def test_what_could_change_is_new(value: Any) -> None:
    copied = copy_value(value)
    assert copied == value
    assert type(copied) is type(value)
    assert copied is not value or isinstance(value, frozenset)


def test_a_frozen_instance_that_caches_in_itself_is_copied() -> None:
    one = Caching(3)
    copied = copy_value(one)
    assert copied.area == 9
    assert vars(one) == {"side": 3}


def test_enums_join_the_atoms_when_first_met() -> None:
    class Mode(Enum):
        A = 1

    assert Mode not in ATOMS
    copy_value([Mode.A])
    assert Mode in ATOMS


def test_lists_of_lists_share_nothing() -> None:
    value = {"a": [[1], {"b": {2}}]}
    copied = copy_value(value)
    copied["a"][0].append(5)  # type: ignore[attr-defined]
    copied["a"][1]["b"].add(5)  # type: ignore[index]
    assert value == {"a": [[1], {"b": {2}}]}


def test_attributes_beside_the_fields_are_copied() -> None:
    total: Any = domain.Total(1)
    total.extra = [1]
    copied = copy_value(total)
    assert vars(copied) == {"count": 1, "extra": [1]}
    assert copied.extra is not total.extra


def test_classes_that_copy_in_their_own_way_do() -> None:
    assert copy_value(Remade([1])).a == [1, 0]
    assert vars(copy_value(Trimmed())) == vars(copy.deepcopy(Trimmed())) == {"kept": [1]}
    counted = Counted()
    copy_value(counted)
    assert Counted.made == 2


def test_what_is_no_value_is_left_to_deepcopy() -> None:
    function = len
    assert copy_value(function) is function
    assert copy_value([range(3)]) == [range(3)]
    additional: Any = OrderedDict(a=1)
    additional.note = [1]
    copied: Any = copy_value(additional)
    assert copied == additional
    assert copied.note is not additional.note


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueTypeError, match="contains itself"):
        copy_value(endless)
