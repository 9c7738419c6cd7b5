"""The address book of a cluster: which incarnation of which node listens where, and its bytes.

The coordinator keeps it, as every worker tells it where it listens; every worker gets all of it whenever it changes.
Invariant: unpack(pack(book)) == book; other bytes are a `FrameError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from holdfast.core.errors import FrameError
from holdfast.replication.fields import Natural, frame, kind_of, read
from holdfast.runtime.transport.addresses import PORT_MAX, Address

VERSION: Final = 1
BOOK_BYTES_MAX: Final = 1 << 20
ENTRIES_MAX: Final = 4096
HOST_BYTES_MAX: Final = 255
DESCRIPTION_BYTES_MAX: Final = 1 << 16

_BOOK, _REGISTRATION = 1, 2
_FIELDS: Final = 3
_NODE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)

_Host: TypeAlias = Annotated[str, Meta(min_length=1, max_length=HOST_BYTES_MAX)]
_Port: TypeAlias = Annotated[int, Meta(ge=1, le=PORT_MAX)]
_EntryFields: TypeAlias = tuple[str, Natural, _Host, _Port]
_Entries: TypeAlias = Annotated[tuple[_EntryFields, ...], Meta(max_length=ENTRIES_MAX)]
_Description: TypeAlias = Annotated[bytes, Meta(max_length=DESCRIPTION_BYTES_MAX)]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one incarnation of a node listens."""

    node: str
    incarnation: int
    address: Address


@dataclass(frozen=True, slots=True)
class Registration:
    """What a worker tells the coordinator first of all, on every connection."""

    address: Address  # where it listens; its host may be one that means "everywhere"
    description: bytes  # of its application, opaque here: workers of one cluster have the same


def pack_book(entries: tuple[Entry, ...]) -> bytes:
    """The bytes of a book."""
    fields = tuple((e.node, e.incarnation, e.address.host, e.address.port) for e in entries)
    return frame((VERSION, _BOOK, fields), BOOK_BYTES_MAX)


def unpack_book(packed: bytes) -> tuple[Entry, ...]:
    """What `pack_book` was given."""
    if kind_of(packed, VERSION, _FIELDS) != _BOOK:
        raise FrameError("a frame of another kind where an address book should be")
    _, _, fields = read(_BOOKS, packed, BOOK_BYTES_MAX)
    for node, *_more in fields:
        if not _NODE.fullmatch(node):
            raise FrameError("a malformed frame: an id of a node is 32 hexadecimal digits")
    return tuple(Entry(node, incarnation, Address(host, port)) for node, incarnation, host, port in fields)


def pack_registration(registration: Registration) -> bytes:
    """The bytes of a registration."""
    address = registration.address
    body = (address.host, address.port, registration.description)
    return frame((VERSION, _REGISTRATION, body), BOOK_BYTES_MAX)


def unpack_registration(packed: bytes) -> Registration:
    """What `pack_registration` was given."""
    if kind_of(packed, VERSION, _FIELDS) != _REGISTRATION:
        raise FrameError("a frame of another kind where a registration should be")
    _, _, (host, port, description) = read(_REGISTRATIONS, packed, BOOK_BYTES_MAX)
    return Registration(Address(host, port), description)


_BOOKS: Final = msgspec.msgpack.Decoder(tuple[int, int, _Entries])
_REGISTRATIONS: Final = msgspec.msgpack.Decoder(tuple[int, int, tuple[_Host, _Port, _Description]])
