"""The bytes of images: msgpack, exact, with extension codes for what msgpack lacks.

An array whose first element is an extension of `Form` is that form (tuple, set, dataclass …) applied to the
rest; every other array is a list. The `Leaf` extensions are whole values. The numbers are part of the data
format: never reused.
Invariant: `pack` takes only None, bool, int, float, str, bytes, list, dict and ExtType by exact type; the
caller has lowered everything else (msgpack would silently turn a bytearray into bytes, and a user's ExtType
into ours).
Not here: which value becomes which extension (leaves, values).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import msgpack

ExtType = msgpack.ExtType

# Exact types that msgpack writes and reads back as they are (an int as long as it has 64 bits, else
# `Leaf.BIG_INT`).
WIRE_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})

# Containers within containers. Far above what people nest, and far below the 511 levels of msgpack and the
# 1000 frames of Python (two for each level); it also ends a value that contains itself.
DEPTH_MAX: Final = 200

# A packer keeps its buffer; one that has grown beyond this is not kept.
_IDLE_BUFFER_BYTES_MAX = 1 << 20
_IDLE_PACKERS_MAX = 8

# msgpack refuses to buffer more than this.
_UNPACKED_BYTES_MAX = 2**31 - 1


class Leaf(IntEnum):
    """Extension codes of whole values."""

    BIG_INT = 1
    BYTEARRAY = 2
    DATETIME = 3
    DATE = 4
    TIME = 5
    TIMEDELTA = 6
    TIMEZONE = 7
    ZONE_INFO = 8
    DECIMAL = 9
    UUID = 10
    ENUM = 11
    FLAG = 12


class Form(IntEnum):
    """Extension codes of what the rest of an array is made into."""

    TUPLE = 32
    DICT = 33
    ORDERED_DICT = 34
    DEFAULT_DICT = 35
    COUNTER = 36
    DEQUE = 37
    SET = 38
    FROZENSET = 39
    NAMED_TUPLE = 40
    DATACLASS = 41
    PLAIN = 42
    REGISTERED = 43
    COLUMNS = 44


# Packers in no thread's hands. Taking and giving back are single atomic list operations, so that two threads,
# or a finalizer that runs in the middle of packing, never share one.
_idle: list[msgpack.Packer] = []


def pack(wire: object) -> bytes:
    """The bytes of a lowered value."""
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer(strict_types=True)
    try:
        packed: bytes = packer.pack(wire)
    except (OverflowError, UnicodeEncodeError):
        return _pack_carefully(wire)
    if len(packed) <= _IDLE_BUFFER_BYTES_MAX and len(_idle) < _IDLE_PACKERS_MAX:
        _idle.append(packer)
    return packed


def _pack_carefully(wire: object) -> bytes:
    """Pack ints beyond 64 bits and lone surrogates too, which slow every other value down."""
    packer = msgpack.Packer(strict_types=True, default=_big_int, unicode_errors="surrogatepass")
    packed: bytes = packer.pack(wire)
    return packed


def _big_int(number: object) -> object:
    assert type(number) is int, "only ints are left to the default hook; everything else was lowered"
    # Not by way of str: the interpreter limits how many digits it converts.
    return extension(Leaf.BIG_INT, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def extension(code: int, payload: bytes) -> object:
    """An extension; not through the constructor of ExtType, whose checks cost four times as much."""
    return tuple.__new__(ExtType, (int(code), payload))


def unpack(packed: bytes | bytearray | memoryview, hook: Callable[[int, bytes], object]) -> Any:
    """The lowered value, with every extension replaced by what `hook` makes of it; damage raises anything."""
    return msgpack.unpackb(packed, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")


def unpacker_of(packed: bytes, hook: Callable[[int, bytes], object]) -> Any:
    """The lowered values that stand one after the other, to be iterated over."""
    unpacker = msgpack.Unpacker(
        ext_hook=hook,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        max_buffer_size=_UNPACKED_BYTES_MAX,
    )
    unpacker.feed(packed)
    return unpacker
