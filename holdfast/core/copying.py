"""Copies of values: what is emitted must never change with the state it came from.

Invariant: `copy_value(v)` equals `copy.deepcopy(v)` in value and in type at every level, and no part of it
that could change is the same object; what is deeply immutable is returned itself. Being the same object twice
is not part of a value: each place gets a copy of its own, as it would by way of an image.
Not here: which values can be encoded; what is no value is copied by copy.deepcopy and refused where it is
encoded.
"""

from __future__ import annotations

import copy
import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from operator import is_
from typing import Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from holdfast.core.accessors import maker, reader
from holdfast.core.classes import Kind, Shape, class_attribute, copies_its_own_way, place, shape_of, state_of
from holdfast.core.errors import ValueTypeError
from holdfast.core.types import registration

T = TypeVar("T")
Copier = Callable[[Any], Any]

# Types whose instances are deeply immutable, by exact type. Enum classes are added when first met.
ATOMS: Final[set[type]] = {
    *(type(None), bool, int, float, str, bytes),
    *(datetime, date, time, timedelta, timezone, ZoneInfo, Decimal, UUID),
}


def copy_value(value: T) -> T:
    """The value itself if it is deeply immutable, else a deep copy."""
    kind = type(value)
    if kind in ATOMS:
        return value
    try:
        copied: T = COPIERS[kind](value)
    except RecursionError:
        raise ValueTypeError(f"a {kind.__qualname__} is nested too deep, or contains itself") from None
    return copied


class _Copiers(dict[type, Copier]):
    """Copiers by exact type; those of classes are made when the class is first met."""

    def __missing__(self, cls: type) -> Copier:
        copier = self[cls] = _class_copier(cls)
        return copier


def _itself(value: T) -> T:
    return value


def _copy_parts(values: Iterable[Any]) -> list[Any]:
    copied = []
    for value in values:
        kind = type(value)
        copied.append(value if kind in ATOMS else COPIERS[kind](value))
    return copied


def _copy_list(value: list[Any]) -> list[Any]:
    return value.copy() if ATOMS.issuperset(map(type, value)) else _copy_parts(value)


def _copy_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if ATOMS.issuperset(map(type, value.values())) and ATOMS.issuperset(map(type, value)):
        return value.copy()
    return dict(zip(_copy_parts(value), _copy_parts(value.values()), strict=True))


def _copy_tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if ATOMS.issuperset(map(type, value)):
        return value
    copied = _copy_parts(value)
    return value if all(map(is_, copied, value)) else tuple(copied)


def _copy_frozenset(value: frozenset[Any]) -> frozenset[Any]:
    if ATOMS.issuperset(map(type, value)):
        return value
    elements = list(value)
    copied = _copy_parts(elements)
    return value if all(map(is_, copied, elements)) else frozenset(copied)


def _copy_set(value: set[Any]) -> set[Any]:
    return value.copy() if ATOMS.issuperset(map(type, value)) else set(_copy_parts(value))


def _copy_deque(value: deque[Any]) -> deque[Any]:
    return deque(_copy_parts(value), value.maxlen)


def _copy_default_dict(value: defaultdict[Any, Any]) -> defaultdict[Any, Any]:
    factory = value.default_factory
    if factory is not None and not isinstance(factory, type):
        return copy.deepcopy(value)
    return defaultdict(factory, _copy_dict(value))


def _copy_counter(value: Counter[Any]) -> Counter[Any]:
    if value.__dict__:
        return copy.deepcopy(value)
    copied: Counter[Any] = Counter()
    # Not through the constructor, which adds the counts up.
    dict.update(copied, zip(_copy_parts(value), _copy_parts(value.values()), strict=True))
    return copied


def _copy_ordered_dict(value: OrderedDict[Any, Any]) -> OrderedDict[Any, Any]:
    if value.__dict__:
        return copy.deepcopy(value)
    return OrderedDict(zip(_copy_parts(value), _copy_parts(value.values()), strict=True))


def _class_copier(cls: type) -> Copier:
    """How instances of exactly this class are copied."""
    shape = shape_of(cls)
    if shape.kind in (Kind.ENUM, Kind.FLAG):
        ATOMS.add(cls)
        return _itself
    entry = registration(cls)
    registered = entry is not None and entry.encode is not None
    if registered or shape.kind is Kind.REFUSED or copies_its_own_way(cls):
        return copy.deepcopy
    if shape.kind is Kind.NAMED_TUPLE:
        return functools.partial(_copy_named_tuple, shape)
    read = reader(shape)
    return functools.partial(_copy_exactly, shape) if read is None else _dataclass_copier(shape, read)


def _copy_named_tuple(shape: Shape, value: tuple[Any, ...]) -> tuple[Any, ...]:
    if shape.has_dict and value.__dict__:
        return copy.deepcopy(value)
    if ATOMS.issuperset(map(type, value)):
        return value
    copied = _copy_parts(value)
    return value if all(map(is_, copied, value)) else tuple.__new__(shape.cls, copied)


def _copy_exactly(shape: Shape, value: object) -> object:
    """Copy attribute by attribute, whichever the instance has."""
    state = state_of(value, shape)
    made: object = object.__new__(shape.cls)
    for name, attribute in zip(state, _copy_parts(state.values()), strict=True):
        place(made, shape, name, attribute)
    return made


def _dataclass_copier(shape: Shape, read: Callable[[Any], tuple[Any, ...] | None]) -> Copier:
    make = maker(shape, shape.fields)
    frozen = _is_frozen(shape.cls)

    def copy_dataclass(value: Any) -> Any:
        row = read(value)
        if row is None:
            return _copy_exactly(shape, value)
        if ATOMS.issuperset(map(type, row)):
            return value if frozen else make(*row)
        copied = _copy_parts(row)
        return value if frozen and all(map(is_, copied, row)) else make(*copied)

    return copy_dataclass


def _is_frozen(cls: type) -> bool:
    """Whether instances never change: a frozen dataclass that doesn't cache anything in itself."""
    parameters: Any = vars(cls).get("__dataclass_params__")
    caches = any(isinstance(class_attribute(cls, name), functools.cached_property) for name in dir(cls))
    return parameters is not None and parameters.frozen and not caches


# What copies a value that is no atom, by exact type.
COPIERS: Final[dict[type, Copier]] = _Copiers(
    {
        **dict.fromkeys(ATOMS, _itself),
        list: _copy_list,
        dict: _copy_dict,
        tuple: _copy_tuple,
        set: _copy_set,
        frozenset: _copy_frozenset,
        bytearray: bytearray,
        deque: _copy_deque,
        defaultdict: _copy_default_dict,
        Counter: _copy_counter,
        OrderedDict: _copy_ordered_dict,
    }
)
