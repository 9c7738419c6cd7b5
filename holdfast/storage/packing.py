"""How values are packed and sealed: msgpack, and a digest over database, key and value behind every stored
value.

Invariant: `unseal` gives back what `seal` was given for the same database and key, or raises `DamagedError`;
a value that stands under another key or in another database than it was put is damage too.
The only place of storage that touches msgpack and xxhash.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import msgpack
from xxhash import xxh3_64, xxh3_64_digest, xxh3_64_intdigest

from holdfast.core.errors import DamagedError

DIGEST_SIZE = 8
STREAMED_FROM = 4096  # bytes from which hashing in two parts is cheaper than joining them


def pack(value: object) -> bytes:
    """Pack a value of None, bool, int, float, str, bytes, list, tuple (read back as list) and dict."""
    return cast("bytes", msgpack.packb(value))


def unpack(packed: bytes) -> object:
    """Return what was packed. Only for bytes whose digest was checked: what they hold is trusted."""
    return cast("object", msgpack.unpackb(packed, strict_map_key=False))


@cache
def seed(database: bytes, key_size: int) -> int:
    """Return the digest's seed: the database's name and the key's size, so that neither can change
    unnoticed.
    """
    return (xxh3_64_intdigest(database) & ~0xFFFF) | key_size


def digest(database: bytes, key: bytes, payload: bytes | memoryview) -> bytes:
    """Return the digest of a payload at its place."""
    if len(payload) < STREAMED_FROM:
        return xxh3_64_digest(key + bytes(payload), seed(database, len(key)))
    running = xxh3_64(key, seed(database, len(key)))
    running.update(payload)
    return running.digest()


def seal(database: bytes, key: bytes, payload: bytes | memoryview) -> bytes:
    """Return the value to store."""
    return b"".join((payload, digest(database, key, payload)))


def unseal(database: bytes, key: bytes, value: bytes, place: str) -> bytes:
    """Return the payload of a stored value."""
    payload = value[:-DIGEST_SIZE]
    if len(value) < DIGEST_SIZE or digest(database, key, payload) != value[-DIGEST_SIZE:]:
        raise DamagedError(place, "its digest does not match")
    return payload
