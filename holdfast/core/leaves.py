"""Values of the standard library that hold no other values, as extensions.

Invariant: a leaf is encoded by its exact type and comes back equal in everything (fold, zone, sign of zero,
payload of a NaN); what can't come back the same is refused.
Not here: containers and classes (values).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Context, Decimal
from typing import Any, Final
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from holdfast.core.refusal import Refusal
from holdfast.core.wire import WIRE_ATOMS, Leaf, extension, pack, unpack

# Digits of any length are taken as they are, and what doesn't parse is an error whatever the caller's context
# says.
_EXACT = Context(traps=[])


def _lower_datetime(value: datetime) -> object:
    clock = (value.hour, value.minute, value.second, value.microsecond, value.fold, _lower_zone(value.tzinfo))
    return extension(Leaf.DATETIME, pack([value.year, value.month, value.day, *clock]))


def _lower_time(value: time) -> object:
    clock = [value.hour, value.minute, value.second, value.microsecond, value.fold, _lower_zone(value.tzinfo)]
    return extension(Leaf.TIME, pack(clock))


def _lower_zone(zone: tzinfo | None) -> object:
    if zone is None:
        return None
    lower = LEAF_LOWERERS.get(type(zone))
    if lower is None or not isinstance(zone, tzinfo):
        raise Refusal(f"its time zone is a {type(zone).__qualname__}, not a timezone or ZoneInfo")
    return lower(zone)


def _lower_timezone(value: timezone) -> object:
    # The only way to tell a timezone with a name of its own from one without.
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
    return extension(Leaf.TIMEZONE, pack([offset.days, offset.seconds, offset.microseconds, *name]))


def _lower_zone_info(value: ZoneInfo) -> object:
    if value.key is None:
        raise Refusal("a ZoneInfo without a key can't be found again")
    return extension(Leaf.ZONE_INFO, pack(value.key))


def _lower_decimal(value: Decimal) -> object:
    # `str` writes the exponent's letter as the caller's context says; the image must not depend on that.
    return extension(Leaf.DECIMAL, str(value).replace("e", "E").encode())


def _lower_uuid(value: UUID) -> object:
    safety = b"" if value.is_safe is SafeUUID.unknown else b"+" if value.is_safe is SafeUUID.safe else b"-"
    return extension(Leaf.UUID, value.bytes + safety)


LEAF_LOWERERS: Final[dict[type, Callable[[Any], object]]] = {
    bytearray: lambda value: extension(Leaf.BYTEARRAY, bytes(value)),
    datetime: _lower_datetime,
    date: lambda value: extension(Leaf.DATE, pack([value.year, value.month, value.day])),
    time: _lower_time,
    timedelta: lambda value: extension(Leaf.TIMEDELTA, pack([value.days, value.seconds, value.microseconds])),
    timezone: _lower_timezone,
    ZoneInfo: _lower_zone_info,
    Decimal: _lower_decimal,
    UUID: _lower_uuid,
}

# Types whose instances are values whatever the registry says.
NATIVE_TYPES: Final = (
    WIRE_ATOMS
    | LEAF_LOWERERS.keys()
    | {list, tuple, dict, OrderedDict, defaultdict, Counter, deque, set, frozenset}
)


def _lift_inner(payload: bytes) -> Any:
    return unpack(payload, lift_leaf)


def _lift_datetime(payload: bytes) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = _lift_inner(payload)
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _lift_time(payload: bytes) -> time:
    hour, minute, second, microsecond, fold, zone = _lift_inner(payload)
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _lift_timezone(payload: bytes) -> timezone:
    days, seconds, microseconds, *name = _lift_inner(payload)
    return timezone(timedelta(days, seconds, microseconds), *name)


def _lift_decimal(payload: bytes) -> Decimal:
    text = payload.decode("ascii")
    value = Decimal(text, _EXACT)
    if str(value).replace("e", "E") != text:
        raise ValueError(f"{text!r} is not a Decimal as it is written")
    return value


def _lift_uuid(payload: bytes) -> UUID:
    safety = {b"": SafeUUID.unknown, b"+": SafeUUID.safe, b"-": SafeUUID.unsafe}[payload[16:]]
    return UUID(bytes=payload[:16], is_safe=safety)


_LIFTERS: Final[dict[int, Callable[[bytes], object]]] = {
    Leaf.BIG_INT: lambda payload: int.from_bytes(payload, "big", signed=True),
    Leaf.BYTEARRAY: bytearray,
    Leaf.DATETIME: _lift_datetime,
    Leaf.DATE: lambda payload: date(*_lift_inner(payload)),
    Leaf.TIME: _lift_time,
    Leaf.TIMEDELTA: lambda payload: timedelta(*_lift_inner(payload)),
    Leaf.TIMEZONE: _lift_timezone,
    Leaf.ZONE_INFO: lambda payload: ZoneInfo(_lift_inner(payload)),
    Leaf.DECIMAL: _lift_decimal,
    Leaf.UUID: _lift_uuid,
}


def lift_leaf(code: int, payload: bytes) -> object:
    """The value of a leaf extension; raises anything on damage, KeyError for an unknown code."""
    return _LIFTERS[code](payload)
