"""Rows on disk: one per entity, in a database of the state's environment.

Invariant: the totals (how many rows, and the exclusive or of all their digests) are kept up to date in the
transaction that changes rows, so a scan at open proves that exactly the folded rows are there: no missing
row is ever taken for an entity that never was. A long key stands in the database by its hash and in full in
the value, where it is compared.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from xxhash import xxh3_64_digest

from holdfast.core.errors import DamagedError
from holdfast.storage.packing import DIGEST_SIZE, digest, seal

if TYPE_CHECKING:
    from holdfast.storage.environment import Environment, Transaction
    from holdfast.storage.state import Row

ROWS = b"rows"  # row key -> image, or length of the key, key and image
STEP = struct.Struct(">H")
LENGTH = struct.Struct(">I")
KEY_MAX = 400  # longer canonical keys stand by their hash: LMDB's limit is 511 bytes
SHORT, LONG = b"\x00", b"\x01"
KEY_AT = STEP.size + 8 + 1  # behind step, hash and form
ROWS_AT_ONCE = 4096  # read in one transaction


@dataclass(frozen=True, slots=True)
class RowTotals:
    """What the rows add up to."""

    count: int = 0
    digests: int = 0  # exclusive or


class Rows:
    """The rows of one state."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def fold(self, transaction: Transaction, totals: RowTotals, rows: Sequence[Row]) -> RowTotals:
        """Put and delete rows; return what all rows add up to then."""
        database = self._environment.databases[ROWS]
        count, digests = totals.count, totals.digests
        # Each key once, with the last that was given. LMDB writes over a value that this transaction has put, and keeps
        # its pages though the new one needs less: lawful, but to the verifier the file then looks damaged.
        latest = {row_key(step, key): (key, image) for step, key, image in rows}
        for key, (canonical, image) in sorted(latest.items(), key=lambda row: row[0]):
            if image is None:
                old = transaction.raw.pop(key, db=database)
            else:
                value = seal(ROWS, key, image if len(canonical) <= KEY_MAX else _with_key(canonical, image))
                old = transaction.raw.replace(key, value, db=database)
                digests ^= int.from_bytes(value[-DIGEST_SIZE:])
                count += 1
            if old is not None:
                digests ^= int.from_bytes(old[-DIGEST_SIZE:])
                count -= 1
        return RowTotals(count, digests)

    def load(self, step: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the images of keys, read in the order in which they stand."""
        wanted = [row_key(step, key) for key in keys]
        with self._environment.read() as transaction, transaction.cursor(ROWS) as cursor:
            found = dict(cursor.getmulti(sorted(wanted)))
        images: list[bytes | None] = []
        for key, canonical in zip(wanted, keys, strict=True):
            value = found.get(key)
            images.append(None if value is None else self._image(key, canonical, value))
        return images

    @staticmethod
    def _image(key: bytes, canonical: bytes, value: bytes) -> bytes:
        payload = _payload(key, value)
        if len(canonical) <= KEY_MAX:
            return payload
        held, image = _without_key(payload)
        if held != canonical:
            raise DamagedError(_place(key), "two long keys have the same hash")
        return image

    def problems(self, totals: RowTotals) -> Iterator[DamagedError]:
        """Yield what is wrong with each row, and then with all of them."""
        count = digests = 0
        for batch in self._batches():
            for key, value in batch:
                try:
                    _payload(key, value)
                except DamagedError as error:
                    yield error
                digests ^= int.from_bytes(value[-DIGEST_SIZE:])
            count += len(batch)
        if count != totals.count:
            yield DamagedError("state, rows", f"{count} are there instead of {totals.count}")
        elif digests != totals.digests:
            yield DamagedError("state, rows", "they are not those that were folded last")

    def all(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (step, canonical key, image) of every row."""
        for batch in self._batches():
            for key, value in batch:
                yield STEP.unpack_from(key)[0], *_named(key, value)

    def of(self, step: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield (canonical key, image) of every row of a step."""
        prefix = STEP.pack(step)
        for batch in self._batches(prefix):
            for key, value in batch:
                if not key.startswith(prefix):
                    return
                yield _named(key, value)

    def _batches(self, after: bytes = b"") -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield all (key, value) behind a key, some at a time, each time in a transaction of its own."""
        while self._environment.created:
            batch: list[tuple[bytes, bytes]] = []
            with self._environment.read() as transaction, transaction.cursor(ROWS) as cursor:
                if cursor.set_range(after + b"\x00"):
                    for item in cursor:
                        batch.append(item)
                        if len(batch) == ROWS_AT_ONCE:
                            break
            if not batch:
                return
            yield batch
            after = batch[-1][0]


def row_key(step: int, canonical: bytes) -> bytes:
    """Return the key of a row: rows of a step stand by the hash of their key, as ranges do."""
    # The hash is that of core.keys.key_hash, whose big-endian bytes are the digest.
    if len(canonical) <= KEY_MAX:
        return b"".join((STEP.pack(step), xxh3_64_digest(canonical), SHORT, canonical))
    return b"".join((STEP.pack(step), xxh3_64_digest(canonical), LONG, blake2b(canonical, digest_size=32).digest()))


def _payload(key: bytes, value: bytes) -> bytes:
    """Unseal a row. The place is put into words only for a damaged one: there are millions of rows."""
    payload = value[:-DIGEST_SIZE]
    if len(value) < DIGEST_SIZE or digest(ROWS, key, payload) != value[-DIGEST_SIZE:]:
        raise DamagedError(_place(key), "its digest does not match")
    return payload


def _named(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """The canonical key and the image of a row."""
    payload = _payload(key, value)
    return (key[KEY_AT:], payload) if key[KEY_AT - 1 : KEY_AT] == SHORT else _without_key(payload)


def _with_key(canonical: bytes, image: bytes) -> bytes:
    return b"".join((LENGTH.pack(len(canonical)), canonical, image))


def _without_key(payload: bytes) -> tuple[bytes, bytes]:
    end = LENGTH.size + LENGTH.unpack_from(payload)[0]
    return payload[LENGTH.size : end], payload[end:]


def _place(key: bytes) -> str:
    return f"state, rows, step {int.from_bytes(key[: STEP.size])}, key {key[KEY_AT:]!r}"
