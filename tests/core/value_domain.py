"""The whole domain of values as a Hypothesis strategy, and the strictest comparison of two values."""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

T = TypeVar("T")

# The same examples in every run, however slow the machine is.
steady = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Color(Enum):
    RED = "r"
    GREEN = (1, 2)
    ALIAS = "r"  # noqa: PIE796 - an alias is a value too


class Level(IntEnum):
    LOW = 1
    HIGH = 2**80


class Word(StrEnum):
    ONE = "one"


class Right(Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Bit(IntFlag):
    A = 1
    B = 8


class Point(NamedTuple):
    x: Any
    y: Any = 0


class Shifted(Point):
    """A subclass of a named tuple has a `__dict__`."""

    def moved(self) -> int:
        return 1


@dataclass
class Total:
    count: Any = 0


@dataclass
class Trade:
    symbol: Any
    price: Any
    size: Any = 0
    tags: Any = field(default_factory=list)


@dataclass
class LabelledTrade(Trade):
    label: Any = None


@dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any = None


@dataclass(slots=True)
class Slotted:
    a: Any
    b: Any = 1


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    a: Any
    b: Any = ()


@dataclass(repr=False)  # which would read a field that is missing
class Lazy:
    given: Any
    made: Any = field(init=False)
    fixed: Any = field(init=False, default=7)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Empty:
    pass


class Plain:
    """Attributes of any name, in any order."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class SlotBase:
    __slots__ = ("first",)


class SlotDerived(SlotBase):
    __slots__ = ("second",)


class SlotAndDict(SlotDerived):
    pass


def enum_of(**members: int) -> Any:
    """An Enum of the name `Kind`, as one version of the code has it."""
    return Enum("Kind", members)


def flag_of(**members: int) -> Any:
    """A Flag of the name `Kind`, as one version of the code has it."""
    return Flag("Kind", members)


CLASSES = [Total, Trade, LabelledTrade, Frozen, Slotted, FrozenSlotted, Lazy, Box, Empty, Plain]


def plain(**attributes: Any) -> Plain:
    return Plain(**attributes)


def with_attributes(made: Any, attributes: dict[str, Any]) -> Any:
    """The instance with attributes beside its fields."""
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def without_fields(made: Any, names: list[str]) -> Any:
    """The instance with fields deleted."""
    for name in names:
        if name in vars(made):
            delattr(made, name)
    return made


zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), st.text(max_size=3)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]).map(ZoneInfo),
)
any_text = st.text(st.characters(), max_size=6)  # with lone surrogates
numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**3000]),
)
floats = st.one_of(
    st.floats(),
    st.binary(min_size=8, max_size=8).map(lambda raw: struct.unpack(">d", raw)[0]),
)
identifiers = st.sampled_from(["count", "b", "x", "class", "größe", "ﬁ", "__hidden", "_y", "made"])
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes(),
    zones,
    st.sampled_from([0, 1]),
)
times = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.times(),
    zones,
    st.sampled_from([0, 1]),
)
uuids = st.builds(
    lambda number, safe: UUID(int=number, is_safe=safe), st.uuids().map(int), st.sampled_from(SafeUUID)
)
decimals = st.one_of(
    st.decimals(), st.sampled_from(list(map(Decimal, ("-0", "NaN123", "-sNaN", "1E+9999", "-Infinity"))))
)
enums = st.sampled_from(
    [*Color, *Level, *Word, *Bit, Right.READ, Right(0), Right.READ | Right.RUN, Bit(9), Bit(16)]
)

plain_atoms = st.one_of(st.none(), st.booleans(), numbers, floats, any_text, st.binary(max_size=6))
atoms = st.one_of(plain_atoms, datetimes, st.dates(), times, st.timedeltas(), decimals, uuids, enums, zones)


def _hashable_containers(inner: st.SearchStrategy[Hashable]) -> st.SearchStrategy[Hashable]:
    return st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(FrozenSlotted, inner),
    )


# A signalling NaN can't be hashed.
keys_of_dicts = st.recursive(
    atoms.filter(lambda atom: not (isinstance(atom, Decimal) and atom.is_snan())),
    _hashable_containers,
    max_leaves=4,
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    dicts = st.dictionaries(keys_of_dicts, inner, max_size=3)
    attributes = st.dictionaries(identifiers, inner, max_size=2)
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        dicts,
        st.dictionaries(any_text, inner, max_size=3),
        dicts.map(OrderedDict),
        st.builds(defaultdict, st.sampled_from([None, int, list, dict, OrderedDict, Total]), dicts),
        st.dictionaries(keys_of_dicts, inner, max_size=3).map(_counter),
        st.builds(deque, lists, st.sampled_from([None, 3, 9])),
        st.sets(keys_of_dicts, max_size=3),
        st.binary(max_size=4).map(bytearray),
        st.builds(Point, inner, inner),
        st.builds(Shifted, inner, inner),
        st.builds(Total, inner),
        st.builds(with_attributes, st.builds(Total, inner), attributes),
        st.builds(
            without_fields, st.builds(Trade, inner, inner, inner), st.lists(identifiers | st.just("size"))
        ),
        st.builds(LabelledTrade, inner, inner, inner, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(Slotted, inner, inner),
        st.builds(FrozenSlotted, inner, inner),
        st.builds(Lazy, inner),
        inner.map(Box[Any]),
        st.just(Empty()),
        attributes.map(lambda named: Plain(**named)),
        st.builds(_slots, inner, inner, attributes),
    )


def _counter(counts: dict[Any, Any]) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    dict.update(counter, counts)
    return counter


def _slots(first: Any, second: Any, attributes: dict[str, Any]) -> SlotAndDict:
    made = SlotAndDict()
    made.first = first  # type: ignore[attr-defined]
    if second:
        made.second = second  # type: ignore[attr-defined]
    with_attributes(made, attributes)
    return made


values = st.recursive(atoms, _containers, max_leaves=8)

# States as they stand in one column: often all of one class, sometimes with an odd one among them.
_small = st.one_of(st.integers(-3, 300), st.sampled_from([0, 1, None, False, True, ""]), numbers, values)
_odd_totals = st.one_of(
    st.builds(with_attributes, st.builds(Total, _small), st.dictionaries(identifiers, _small, max_size=2)),
    st.builds(
        lambda total, attributes: with_attributes(without_fields(total, ["count"]), attributes),
        st.builds(Total, _small),
        st.dictionaries(identifiers, _small, max_size=2),
    ),
)
columns = st.one_of(
    st.lists(values, max_size=5),
    st.lists(numbers, max_size=5),
    st.lists(st.builds(Total, _small), max_size=5),
    st.lists(st.builds(Total, _small) | _odd_totals, max_size=5),
    st.lists(st.builds(Trade, any_text, floats, _small), max_size=5),
    st.lists(st.builds(Slotted, _small, _small), max_size=5),
    st.lists(st.builds(Frozen, any_text, _small), max_size=5),
    st.lists(st.builds(FrozenSlotted, _small, _small), max_size=5),
    st.lists(st.builds(Lazy, _small), max_size=5),
    st.lists(st.tuples(any_text, _small), max_size=5),
    st.lists(st.lists(_small, max_size=2).map(tuple), max_size=5),
    st.lists(st.builds(Point, _small, _small), max_size=5),
    st.lists(enums, max_size=5),
)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types at every level, in the same order, down to the bits of a NaN."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return struct.pack(">d", one) == struct.pack(">d", other)
    if kind is Decimal:
        return bool(one.as_tuple() == other.as_tuple())
    if kind in (datetime, time):
        return (
            one.replace(tzinfo=None) == other.replace(tzinfo=None)
            and one.fold == other.fold
            and same(one.tzinfo, other.tzinfo)
        )
    if kind is ZoneInfo:
        return bool(one.key == other.key)
    if kind is timezone:
        return bool(one.__getinitargs__() == other.__getinitargs__())
    if kind is UUID:
        return one == other and one.is_safe is other.is_safe
    if isinstance(one, Enum):
        return one is other
    if isinstance(one, dict):
        pairs = same(list(one), list(other)) and same(list(one.values()), list(other.values()))
        return pairs and getattr(one, "default_factory", None) is getattr(other, "default_factory", None)
    if isinstance(one, (set, frozenset)):
        return _same_elements(list(one), list(other))
    if isinstance(one, (list, tuple, deque)):
        lengths = len(one) == len(other) and getattr(one, "maxlen", None) == getattr(other, "maxlen", None)
        return lengths and all(map(same, one, other))
    if kind in (type(None), bool, int, str, bytes, bytearray, date, timedelta):
        return bool(one == other)
    return same(attributes_of(one), attributes_of(other))


def attributes_of(value: Any) -> dict[str, Any]:
    """All attributes, in `__slots__` and `__dict__`; a dataclass's in the order of their names."""
    state = {
        name: getattr(value, name)
        for base in type(value).__mro__
        for name in vars(base).get("__slots__", ())
        if name not in ("__weakref__", "__dict__") and hasattr(value, name)
    }
    state |= getattr(value, "__dict__", {})
    state.pop("__orig_class__", None)
    return dict(sorted(state.items())) if hasattr(value, "__dataclass_fields__") else state


def _same_elements(some: list[Any], others: list[Any]) -> bool:
    for one in some:
        index = next((index for index, other in enumerate(others) if same(one, other)), None)
        if index is None:
            return False
        del others[index]
    return not others
