"""A batch: what one transaction of the partition log appends, in as few values as possible.

Invariant: `decode` gives the descriptions that `encode` was given, and each says where its records stand in what
`raw` gave. Descriptions and, where there are few bytes of them, the records of all entries are one value, because
every put costs a turn at the interpreter's lock; more records stand in pieces of their own. Which entries count is
not known here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from holdfast.core.epochs import LogEntry
from holdfast.core.errors import DamagedError
from holdfast.storage.held_log import Described
from holdfast.storage.packing import pack, unpack

LENGTH = struct.Struct(">I")
INLINE_MAX = 64 << 10  # bytes of records that are read at every open


@dataclass(frozen=True, slots=True)
class Batch:
    """A stored batch."""

    entries: list[tuple[int, Described]]  # (partition, description)
    size: int  # bytes of records
    in_pieces: bool  # the records are not in the batch's value


def encode(number: int, entries: Sequence[LogEntry]) -> tuple[bytes, bytes, list[tuple[int, Described]]]:
    """Return the batch's value, the records that are not in it, and the descriptions as `decode` will give them."""
    fields = []
    raws = []
    for entry in entries:
        chunk = entry.chunk
        raws.append(chunk.raw)
        fields.append(
            (
                chunk.partition,
                entry.epoch,
                entry.generation,
                entry.time,
                chunk.first,
                chunk.count,
                chunk.time,
                chunk.offset,
                chunk.ended,
                len(chunk.raw),
            )
        )
    packed = pack(fields)
    described, size = _described(number, packed)
    if size <= INLINE_MAX:
        return b"".join((LENGTH.pack(len(packed)), packed, *raws)), b"", described
    return LENGTH.pack(len(packed)) + packed, b"".join(raws), described


def decode(number: int, payload: bytes, place: str) -> Batch:
    """Return what a batch's value says."""
    end = LENGTH.size + LENGTH.unpack_from(payload)[0]
    described, size = _described(number, payload[LENGTH.size : end])
    held = len(payload) - end
    if held not in (0, size):
        raise DamagedError(place, f"{held} bytes of records instead of {size}")
    return Batch(described, size, in_pieces=held < size)


def inline(payload: bytes) -> memoryview:
    """Return the records in a batch's value, without a look at its descriptions; nothing where they are in pieces."""
    return memoryview(payload)[LENGTH.size + LENGTH.unpack_from(payload)[0] :]


def _described(number: int, packed: bytes) -> tuple[list[tuple[int, Described]], int]:
    """Return (partition, description) of all entries of a batch, and the size of their records."""
    found = []
    start = 0
    for partition, *fields in cast("list[list[Any]]", unpack(packed)):
        found.append((partition, Described._make((*fields, number, start))))
        start += fields[-1]
    return found, start
