"""Keys as bytes: what tells entities apart, orders timers, and decides which hash range holds an entity.

The first byte names the type, the rest is the value. Elements of a tuple, and the tag of an Enum, carry their
length.
Invariant: `canonical` is injective over (type, value) and `parse` is its exact inverse; both are part of the
data format, as the bytes are hashed and stored. Types are exact: 1, True and "1" are three keys, a datetime
is no date.
Not here: values in general (values); who owns a range (recovery).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import Enum, Flag
from typing import Any, Final
from uuid import UUID

import xxhash

from holdfast.core.errors import DamagedError, KeyTypeError, ValueTypeError
from holdfast.core.objects import lift_enum, lift_flag
from holdfast.core.types import TypeRegistry, registration
from holdfast.core.wire import DEPTH_MAX

_LENGTH_BYTES: Final = 4
_DATE_BYTES: Final = 4


def canonical(key: object, registry: TypeRegistry | None = None) -> bytes:
    """The key's bytes; KeyTypeError if it is none.

    With a `registry`, classes of Enums are also checked to be the only ones of their name in the application,
    and remembered so that `parse` finds them in a later process.
    """
    kind = type(key)
    try:
        if kind is str:
            return b"s" + key.encode()  # type: ignore[attr-defined, no-any-return]
        if kind is int:
            return b"i" + key.to_bytes(key.bit_length() // 8 + 1, "big", signed=True)  # type: ignore[attr-defined, no-any-return]
        return _canonical(key, registry, 0)
    except UnicodeEncodeError:  # a lone surrogate
        return _canonical(key, registry, 0)


def parse(canonical_bytes: bytes, registry: TypeRegistry) -> Any:
    """The key of its canonical bytes; DamagedError if they are none."""
    try:
        key = _PARSERS[canonical_bytes[:1]](canonical_bytes[1:], registry)
        if canonical(key) != canonical_bytes:
            raise ValueError("not in canonical form")
    except (DamagedError, MemoryError):
        raise
    except Exception as error:
        raise DamagedError("key", f"{canonical_bytes[:40]!r} is not a key: {error!r}") from error
    return key


def lookup(key: object, registry: TypeRegistry | None = None) -> str | int | bytes:
    """What dicts of entities are keyed by: the key itself where Python tells it apart, else its bytes."""
    kind = type(key)
    if kind is str or kind is int:
        return key  # type: ignore[return-value]
    return canonical(key, registry)


def key_hash(canonical_bytes: bytes) -> int:
    """The key's place in the hash interval [0, 2^64)."""
    return xxhash.xxh3_64_intdigest(canonical_bytes)


def range_of(hashed: int, ranges: int) -> int:
    """Which of `ranges` equal parts of the hash interval a hash falls in."""
    return hashed * ranges >> 64


def _canonical(key: Any, registry: TypeRegistry | None, depth: int) -> bytes:
    """The key's bytes, whatever its type."""
    kind = type(key)
    write = _WRITERS.get(kind)
    if write is not None:
        return write(key)
    if kind is tuple:
        if depth >= DEPTH_MAX:
            raise KeyTypeError(f"a key is nested deeper than {DEPTH_MAX} levels")
        parts = [_canonical(element, registry, depth + 1) for element in key]
        return b"(" + b"".join([len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts])
    if isinstance(key, Enum):
        tag = _sized(_tag(kind, registry).encode("utf-8", "surrogatepass"))
        if isinstance(key, Flag):
            return b"f" + tag + _number(key._value_)
        if type(key)._member_map_.get(key._name_) is not key:
            raise KeyTypeError(f"{key!r} is not a member of {kind.__qualname__}")
        return b"e" + tag + key._name_.encode("utf-8", "surrogatepass")
    given = "None" if key is None else f"a {kind.__qualname__}"
    advice = "; make a tuple of it" if kind is list else ""
    raise KeyTypeError(
        f"a key can't be {given}: keys are str, bytes, int, bool, UUID, date, Enum and tuples of these{advice}"
    )


def _tag(kind: type[Enum], registry: TypeRegistry | None) -> str:
    if registry is not None:
        try:
            return registry.tag(kind)
        except ValueTypeError as error:
            raise KeyTypeError(str(error)) from None
    entry = registration(kind)
    return kind.__qualname__ if entry is None else entry.name


def _number(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(_LENGTH_BYTES, "big") + part


def _cut(sized: bytes) -> tuple[bytes, bytes]:
    """The first sized part, and what follows it."""
    end = _LENGTH_BYTES + int.from_bytes(sized[:_LENGTH_BYTES], "big")
    if end > len(sized):
        raise ValueError("a part is cut short")
    return sized[_LENGTH_BYTES:end], sized[end:]


def _parse_tuple(rest: bytes, registry: TypeRegistry) -> tuple[Any, ...]:
    elements = []
    while rest:
        part, rest = _cut(rest)
        elements.append(_PARSERS[part[:1]](part[1:], registry))
    return tuple(elements)


def _parse_enum(rest: bytes, registry: TypeRegistry) -> Enum:
    tag, name = _cut(rest)
    return lift_enum(registry, tag.decode("utf-8", "surrogatepass"), name.decode("utf-8", "surrogatepass"))


def _parse_flag(rest: bytes, registry: TypeRegistry) -> Flag:
    tag, number = _cut(rest)
    return lift_flag(
        registry, tag.decode("utf-8", "surrogatepass"), int.from_bytes(number, "big", signed=True)
    )


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: lambda key: b"s" + key.encode("utf-8", "surrogatepass"),
    int: lambda key: b"i" + _number(key),
    bytes: lambda key: b"b" + key,
    bool: lambda key: b"T" if key else b"F",
    UUID: lambda key: b"u" + key.bytes,
    date: lambda key: b"d" + key.toordinal().to_bytes(_DATE_BYTES, "big"),
}

_PARSERS: Final[dict[bytes, Callable[[bytes, TypeRegistry], Any]]] = {
    b"s": lambda rest, registry: rest.decode("utf-8", "surrogatepass"),
    b"i": lambda rest, registry: int.from_bytes(rest, "big", signed=True),
    b"b": lambda rest, registry: rest,
    b"T": lambda rest, registry: True,
    b"F": lambda rest, registry: False,
    b"(": _parse_tuple,
    b"u": lambda rest, registry: UUID(bytes=rest),
    b"d": lambda rest, registry: date.fromordinal(int.from_bytes(rest, "big")),
    b"e": _parse_enum,
    b"f": _parse_flag,
}
