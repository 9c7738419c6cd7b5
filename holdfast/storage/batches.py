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
    inline: bytes | None  # the records; None: they are in pieces


def encode(entries: Sequence[LogEntry]) -> tuple[bytes, bytes]:
    """Return the batch's value and the records that are not in it."""
    described = [(entry.chunk.partition, *Described.of(entry)[:-2]) for entry in entries]
    packed = pack(described)
    raws = [entry.chunk.raw for entry in entries]
    if sum(map(len, raws)) <= INLINE_MAX:
        return b"".join((LENGTH.pack(len(packed)), packed, *raws)), b""
    return LENGTH.pack(len(packed)) + packed, b"".join(raws)


def decode(number: int, payload: bytes, place: str) -> Batch:
    """Return what a batch's value says."""
    end = LENGTH.size + LENGTH.unpack_from(payload)[0]
    entries = []
    start = 0
    for partition, *fields in cast("list[list[Any]]", unpack(payload[LENGTH.size : end])):
        described = Described._make([*fields, number, start])
        entries.append((partition, described))
        start += described.size
    inline = payload[end:] if len(payload) > end or not start else None
    if inline is not None and len(inline) != start:
        raise DamagedError(place, f"{len(inline)} bytes of records instead of {start}")
    return Batch(entries, start, inline)
