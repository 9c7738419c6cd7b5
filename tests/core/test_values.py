"""Values: what goes in comes out the same, what can't is refused, and damage is found."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
import struct
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given, settings

from holdfast.core.errors import DamagedError, ValueTypeError
from holdfast.core.types import TypeRegistry
from holdfast.core.values import decode, encode
from holdfast.core.wire import DEPTH_MAX
from tests.core import value_domain as domain
from tests.core.value_domain import same


@dataclass
class Node:
    next: Any = None


class Cached:
    """Reads and writes attributes in ways of its own."""

    def __init__(self) -> None:
        self.__dict__["secret"] = 5

    @property
    def secret(self) -> int:
        raise AssertionError("a property must not run")

    def __getattr__(self, name: str) -> int:
        raise AssertionError("__getattr__ must not run")

    def __setattr__(self, name: str, value: object) -> None:
        raise AssertionError("__setattr__ must not run")


class Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class StrSubclass(str):
    __slots__ = ()


class ListSubclass(list[int]):
    pass


class DequeSubclass(deque[int]):
    pass


class FailureError(Exception):
    pass


class OddZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        return "odd"


@dataclass
class Hiding(domain.Slotted):
    """Without slots of its own, so that its default stands where the base has a slot."""

    a: Any = 9
    b: Any = field(init=False)


def round_trip(value: object) -> Any:
    registry = TypeRegistry()
    image = encode(value, registry)
    # Another process has the hints as they were stored, and nothing else.
    found = decode(image, TypeRegistry(hints=registry.hints()))
    assert encode(found, registry) == image
    return found


@given(domain.values)
@settings(domain.steady, max_examples=400)
def test_every_value_comes_back_the_same(value: Any) -> None:
    assert same(round_trip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        float("inf"),
        struct.unpack(">d", bytes.fromhex("7ff8000000000123"))[0],
        2**63,
        2**64,
        -(2**63) - 1,
        10**5000,
        -(10**5000),
        [2**64, {2**70: -(2**70), "a": 2**64}],
        True,
        1,
        [True, 1, 1.0],
        {True: "a", "1": 2},
        {1: 1, 1.5: 2, None: 3, b"b": 4, "b": 5},
        {(1, 2): 3, frozenset({1}): 4},
        {domain.Level.LOW: 1},
        {float("nan"): 1, "b": float("nan")},
        "\ud800",
        {"\udfff": ["\ud800"]},
        "",
        b"",
        bytearray(b"x"),
        [bytearray(b"x")],
        {"k": bytearray()},
        (),
        ((),),
        [],
        {},
        set(),
        frozenset(),
        [[], {}, ()],
        {"b": 1, "a": 2},
        OrderedDict(b=1, a=2),
        Counter(a=-3),
        Counter({"a": 1.5}),
        defaultdict(None, a=1),
        defaultdict(list, a=[1]),
        defaultdict(domain.Total, a=domain.Total()),
        deque([1, 2], maxlen=2),
        deque(),
        deque(maxlen=0),
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime(1, 1, 1, fold=1),
        time(1, 2, fold=1, tzinfo=UTC),
        timezone(timedelta(seconds=1), "odd"),
        timezone(timedelta(0), "\ud800"),
        timedelta.min,
        Decimal("-0.00"),
        Decimal("sNaN12"),
        Decimal("1E-999999"),
        domain.Right.READ | domain.Right.RUN,
        domain.Bit(1024),
        domain.Color.ALIAS,
        domain.Shifted(1),
        domain.Lazy(1),
        domain.Empty(),
        domain.Plain(),
        domain.Plain(z=1, a=2),
        Node(Node(Node())),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_awkward_value_comes_back_the_same(value: Any) -> None:
    assert same(round_trip(value), value)


def test_the_digits_of_an_int_are_not_limited() -> None:
    assert sys.get_int_max_str_digits() < 20_000
    assert round_trip(10**20_000) == 10**20_000


def test_two_nan_keys_stay_two() -> None:
    found = round_trip({float("nan"): 1, float("nan"): 2})
    assert list(found.values()) == [1, 2]


def test_a_set_has_one_image_whatever_its_order() -> None:
    words = ["b", "a", "c", "dd", "e"]
    images = {encode({*order}, TypeRegistry()) for order in itertools.permutations(words)}
    nested = {encode({frozenset(order), 1, "x"}, TypeRegistry()) for order in itertools.permutations(words)}
    assert len(images) == len(nested) == 1


def test_a_decimal_has_one_image_whatever_the_context() -> None:
    with localcontext() as context:
        context.capitals = 0
        context.prec = 1
        small = encode(Decimal("1.25E+77"), TypeRegistry())
        assert decode(small, TypeRegistry()) == Decimal("1.25E+77")
    assert small == encode(Decimal("1.25E+77"), TypeRegistry())


def test_attributes_are_read_and_written_raw() -> None:
    found = round_trip(Cached())
    assert vars(found) == {"secret": 5}


def test_attributes_beside_the_fields_are_kept() -> None:
    total = domain.Total(3)
    total.extra = [1]  # type: ignore[attr-defined]
    found = round_trip(total)
    assert vars(found) == {"count": 3, "extra": [1]}


def test_a_deleted_field_stays_deleted_even_where_the_class_has_a_default() -> None:
    total = domain.Total()
    del total.count
    total.other = 0  # type: ignore[attr-defined]
    assert vars(round_trip(total)) == {"other": 0}


def test_encoding_leaves_the_compact_form_of_attributes_alone() -> None:
    total = domain.Total(300)
    encode(total, TypeRegistry())
    assert not any(isinstance(part, dict) for part in gc.get_referents(total))


def test_what_a_generic_class_notes_about_itself_is_no_part_of_the_value() -> None:
    assert vars(round_trip(domain.Box[int](3))) == {"content": 3}


def test_slots_of_all_classes_and_attributes_are_kept() -> None:
    made: Any = domain.SlotAndDict()
    made.first, made.third = 1, 3
    found = round_trip(made)
    assert (found.first, found.third, hasattr(found, "second")) == (1, 3, False)


def test_an_attribute_that_hides_a_slot_of_a_base_is_kept() -> None:
    assert vars(round_trip(Hiding())) == {"a": 9}
    both = Hiding()
    vars(domain.Slotted)["a"].__set__(both, 1)
    with pytest.raises(ValueTypeError, match="a slot that a derived class hides"):
        encode(both, TypeRegistry())


def test_being_the_same_object_twice_is_not_part_of_a_value() -> None:
    shared: list[int] = []
    one, other = round_trip([shared, shared])
    assert one is not other


def nested(levels: int, innermost: Any = ()) -> Any:
    value: Any = innermost or []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_nesting_goes_to_the_limit_and_not_beyond() -> None:
    assert round_trip(nested(DEPTH_MAX)) == nested(DEPTH_MAX)
    with pytest.raises(ValueTypeError, match="nested deeper than 200 levels"):
        encode(nested(DEPTH_MAX + 1), TypeRegistry())


def test_a_tuple_of_atoms_counts_as_a_level() -> None:
    assert round_trip(nested(DEPTH_MAX, (1, "a"))) == nested(DEPTH_MAX, (1, "a"))
    with pytest.raises(ValueTypeError, match="nested deeper than 200 levels"):
        encode(nested(DEPTH_MAX + 1, (1, "a")), TypeRegistry())


def test_instances_nest_as_deep_as_lists() -> None:
    chain: Any = None
    for _ in range(DEPTH_MAX):
        chain = Node(chain)
    assert same(round_trip(chain), chain)
    with pytest.raises(ValueTypeError, match="nested deeper"):
        encode(Node(chain), TypeRegistry())


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    looped: dict[str, Any] = {}
    looped["me"] = (looped,)
    node = Node()
    node.next = [node]
    for value in (endless, looped, node):
        with pytest.raises(ValueTypeError, match="containing itself"):
            encode(value, TypeRegistry())


@pytest.mark.parametrize(
    "value",
    [
        lambda: 1,
        len,
        (number for number in range(3)),
        sys,
        threading.Lock(),
        ValueError("x"),
        FailureError(),
        re.compile("a"),
        re,
        int,
        domain.Total,
        StrSubclass("a"),
        ListSubclass(),
        DequeSubclass(),
        range(3),
        1j,
        ...,
        memoryview(b"x"),
        Fraction(1, 2),
        Path("a"),
        object(),
        asyncio.Event,
        msgpack.ExtType(1, b"x"),
        msgpack.Timestamp(1),
        datetime(2024, 1, 1, tzinfo=OddZone()),
        Locked(),
        defaultdict(lambda: 1),
        defaultdict(print),
        defaultdict(FailureError),
        itertools.count(),
        sys.flags,
        iter([]),
        {}.keys(),
        type("Local", (), {})(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_value_is_refused_wherever_it_stands(value: Any) -> None:
    registry = TypeRegistry()
    with pytest.raises(ValueTypeError):
        encode(value, registry)
    for holder in (
        [value],
        {"k": value},
        (1, value),
        domain.Total(value),
        domain.Point(1, value),
        deque([value]),
    ):
        with pytest.raises(ValueTypeError, match=r"^value\S+: "):
            encode(holder, registry)


def test_the_message_names_the_place_the_type_and_the_remedy() -> None:
    value = {"users": [domain.Total({"a b": (1, threading.Lock())})]}
    with pytest.raises(ValueTypeError) as caught:
        encode(value, TypeRegistry())
    message = str(caught.value)
    assert message.startswith("value['users'][0].count['a b'][1]: _thread.lock is not a value")
    assert "hf.register(lock, encode, decode)" in message


def test_the_message_names_keys_and_elements() -> None:
    with pytest.raises(ValueTypeError, match=r"value\[1\]\[0\]: .*range"):
        encode([1, {range(3): 1}], TypeRegistry())
    with pytest.raises(ValueTypeError, match=r"value\[range\(0, 3\)\]: .*range"):
        encode({range(3)}, TypeRegistry())


def test_additional_attributes_of_built_in_containers_are_refused_not_lost() -> None:
    counter: Any = Counter()
    counter.note = 1
    ordered: Any = OrderedDict()
    ordered.note = 1
    shifted: Any = domain.Shifted(1)
    shifted.note = 1
    for value in (counter, ordered, shifted):
        with pytest.raises(ValueTypeError, match="note"):
            encode(value, TypeRegistry())


def test_a_class_inside_a_function_is_a_value_only_when_known() -> None:
    @dataclass
    class Local:
        a: int

    with pytest.raises(ValueTypeError, match="found again"):
        encode(Local(1), TypeRegistry())
    registry = TypeRegistry([Local])
    assert decode(encode(Local(1), registry), TypeRegistry([Local])) == Local(1)
    with pytest.raises(DamagedError, match="Local"):
        decode(encode(Local(1), registry), TypeRegistry())


def test_an_image_may_be_a_memoryview() -> None:
    assert decode(memoryview(encode([1, (2,)], TypeRegistry())), TypeRegistry()) == [1, (2,)]


def test_the_format_of_images_is_what_it_was() -> None:
    assert encode([1, 2, 3], TypeRegistry()) == b"\x93\x01\x02\x03"
    assert encode(domain.Total(5), TypeRegistry()) == b"\x92\xc7\x0e\x29\x92\xa5Total\x91\xa5count\x05"
    assert encode((1, {2}), TypeRegistry()) == b"\x93\xc7\x00\x20\x01\x92\xc7\x00\x26\x02"
