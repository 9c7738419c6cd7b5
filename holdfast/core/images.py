"""Checkpoint chunks: the rows of one step as columns, packed; and the same as rows of their own.

A chunk is msgpack [step name, keys, states, timers or None, removed keys]: keys are lookup keys (str and int as they
are, anything else as canonical bytes), states a packed column (`columns`), timers a list of {name: due} parallel to the
keys, removed keys the tombstones. Steps are named, not numbered, so that an application may get new steps.
A row of its own is the image of the state; if timers are set, they stand before it, behind a byte that begins no image.
Digests, numbering and which chunk counts are the store's business.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from holdfast.core import keys
from holdfast.core.columns import decode_column, encode_column
from holdfast.core.entities import Rows, user_key
from holdfast.core.errors import DamagedError, ValueTypeError
from holdfast.core.failures import value_text
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode

_INT_MAX = 2**63 - 1
_TIMED = b"\xc1"  # msgpack never uses it
_SIZE = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Images:
    """An unpacked chunk."""

    step: str
    keys: list[Any]  # lookup keys
    states: list[Any]
    timers: list[dict[str, int]] | None
    removed: list[Any]  # lookup keys


def pack(step: str, rows: Rows, registry: TypeRegistry) -> bytes:
    """A chunk of these rows. ValueTypeError where a state is not a value."""
    states = encode_column(rows.states, registry)
    chunk = [step, rows.keys, states, rows.timers, rows.removed]
    try:
        packed: bytes = msgpack.packb(chunk, unicode_errors="surrogatepass")
    except OverflowError:
        chunk[1], chunk[4] = _without_huge(rows.keys), _without_huge(rows.removed)
        packed = msgpack.packb(chunk, unicode_errors="surrogatepass")
    return packed


def pack_entities(label: str, stored_name: str, rows: Rows, registry: TypeRegistry) -> bytes:
    """A chunk of the entities of the step `label`. ValueTypeError, which names the key, where a state is not a value."""
    try:
        return pack(stored_name, rows, registry)
    except ValueTypeError:
        for key, state in zip(rows.keys, rows.states, strict=True):
            check_state(label, key, state, registry)
        raise


def check_state(step: str, lookup: Any, state: Any, registry: TypeRegistry) -> None:
    """ValueTypeError with the step and the key where a state is not a value."""
    try:
        encode(state, registry)
    except ValueTypeError as error:
        key = value_text(user_key(lookup, registry))
        raise ValueTypeError(f"step {step!r}, key {key}: its state is not a value: {error}") from error


def unpack(chunk: bytes, registry: TypeRegistry) -> Images:
    """What `pack` packed."""
    try:
        step, stored, states, timers, removed = msgpack.unpackb(
            chunk, unicode_errors="surrogatepass", strict_map_key=False
        )
    except (ValueError, TypeError) as error:
        raise DamagedError("checkpoint chunk", str(error)) from error
    return Images(
        step, _lookups(stored, registry), decode_column(states, registry), timers, _lookups(removed, registry)
    )


def pack_row(image: bytes, timers: Mapping[str, int] | None) -> bytes:
    """The row of an entity; `timers` maps names to due times."""
    if not timers:
        return image
    packed = msgpack.packb(timers, unicode_errors="surrogatepass")
    return b"".join((_TIMED, _SIZE.pack(len(packed)), packed, image))


def unpack_row(row: bytes) -> tuple[bytes, dict[str, int]]:
    """What `pack_row` packed: the state's image, and the timers."""
    if row[:1] != _TIMED:
        return row, {}
    start = 1 + _SIZE.size
    try:
        end = start + _SIZE.unpack_from(row, 1)[0]
        timers: dict[str, int] = msgpack.unpackb(row[start:end], unicode_errors="surrogatepass")
    except (ValueError, TypeError, struct.error) as error:
        raise DamagedError("row", str(error)) from error
    return row[end:], timers


def _without_huge(lookups: Any) -> list[Any]:
    """Integers that msgpack can't hold as their canonical bytes."""
    return [k if type(k) is not int or -_INT_MAX <= k <= _INT_MAX else keys.canonical(k) for k in lookups]


def _lookups(stored: list[Any], registry: TypeRegistry) -> list[Any]:
    if bytes not in set(map(type, stored)):
        return stored
    return [keys.lookup(keys.parse(k, registry)) if type(k) is bytes else k for k in stored]
