"""The log on disk: one LMDB environment (docs/data-format.md says every key and value).

Invariants: an epoch's entry and all pieces of its records are put in one transaction, and the entry says how
many pieces there are and how long, so what is missing is noticed. Entries stand for base < epoch <= tail
without a gap; packed rows stand for 1 to base. `base` moves in the transaction that trims, which begins at
the log's first key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from holdfast.core.epochs import Chunk, Epoch, EpochRow
from holdfast.core.errors import DamagedError
from holdfast.storage.environment import Environment, Reached, Transaction
from holdfast.storage.epoch_table import SPAN_ROWS, pack_rows, unpack_rows
from holdfast.storage.files import total_space
from holdfast.storage.log import check_order, size_in_memory
from holdfast.storage.marks import Marks
from holdfast.storage.packing import pack, unpack

ABOUT = b"about"  # "identity" -> directory; "base" -> the last trimmed epoch
EPOCHS = b"epochs"  # epoch -> its entry
RECORDS = b"records"  # (epoch, partition, piece) -> raw records
ROWS = b"rows"  # first epoch of a span -> packed rows of trimmed epochs
DATABASES = (ABOUT, EPOCHS, RECORDS, ROWS)

EPOCH_KEY = struct.Struct(">Q")
RECORD_KEY = struct.Struct(">QIH")
PIECE_SIZE = 1 << 20  # a longer run of pages is slow to find in a fragmented file
TRIM_EPOCHS = 32  # trimmed in one transaction: about a millisecond, during which no epoch can be logged
TRIM_BYTES = 64 << 20
ROWS_AT_ONCE = 1024  # entries turned into rows in one read
# Kept free by the log so that the state can still write a last checkpoint: this much or a share of the file
# system.
RESERVE_BYTES = 16 << 20
RESERVE_SHARE = 16
# An entry: [generation, time, chunks]; a chunk in it: [partition, first, count, time, offset, ended, size].
Entry = list[Any]


class LmdbLog:
    """The log of one data directory. See storage.log for the contract."""

    def __init__(self, environment: Environment, marks: Marks, directory: str, *, readonly: bool = False) -> None:
        self._environment = environment
        self._marks = marks
        self._reserve = 0 if readonly else min(RESERVE_BYTES, total_space(environment.path) // RESERVE_SHARE)
        self._base = self._tail = 0
        if environment.created:
            with environment.read() as transaction:
                self._look(transaction, directory)
        elif not readonly:
            environment.create(lambda transaction: self._put_about(transaction, directory))
        self._check_mark()
        if not readonly:
            self._note()

    @staticmethod
    def _put_about(transaction: Transaction, directory: str) -> None:
        transaction.put(ABOUT, b"identity", pack(directory))
        transaction.put(ABOUT, b"base", pack(0))

    def _look(self, transaction: Transaction, directory: str) -> None:
        """Find base and tail and check what costs little: the records are checked when they are read."""
        if unpack(transaction.need(ABOUT, b"identity", "identity")) != directory:
            raise DamagedError("log", "it belongs to another data directory")
        self._base = cast("int", unpack(transaction.need(ABOUT, b"base", "base")))
        last = transaction.last_key(EPOCHS)
        self._tail = self._base if last is None else cast("int", EPOCH_KEY.unpack(last)[0])
        entries = transaction.entries(EPOCHS)
        if entries != self._tail - self._base:
            raise DamagedError("log, epochs", f"{entries} are there, of {self._base + 1} to {self._tail}")
        span = transaction.last_key(ROWS)
        first = 1 if span is None else EPOCH_KEY.unpack(span)[0]
        if first + len(self._span(transaction, first)) != self._base + 1:
            raise DamagedError("log, epoch table", f"it does not end with epoch {self._base}")

    def _check_mark(self) -> None:
        noted = self._marks.read("log").values
        if noted is not None and (noted[1] > self._tail or noted[2] > self._base):
            now = f"now it has them up to {self._tail} ({self._base})"
            what = f"it held epochs up to {noted[1]} (trimmed up to {noted[2]}), {now}: commits are lost"
            raise DamagedError("log", what)

    def _note(self) -> None:
        self._marks.note("log", (1, self._tail, self._base))

    def append(self, epochs: Sequence[Epoch]) -> None:
        check_order(self._tail, epochs)
        if not epochs:
            return
        size = sum(epoch.size for epoch in epochs)
        self._environment.reserve(self._reserve, size)
        self._environment.write(lambda transaction: _put_epochs(transaction, epochs))
        self._tail = epochs[-1].number
        self._note()

    def tail(self) -> int:
        return self._tail

    def base(self) -> int:
        return self._base

    def read(self, after: int, bytes_max: int) -> list[Epoch]:
        assert after >= self._base, "these epochs are trimmed"
        found: list[Epoch] = []
        held = 0
        tail = self._tail  # taken before the transaction begins: what another thread appends meanwhile it does not see
        with self._environment.read() as transaction:
            while after + len(found) < tail and (not found or held < bytes_max):
                number = after + len(found) + 1
                generation, time, described = _entry(transaction, number)
                chunks = tuple(_chunk(transaction, number, chunk) for chunk in described)
                found.append(Epoch(number, generation, time, chunks))
                held += size_in_memory(chunks)
        return found

    def trim_step(self, upto: int) -> bool:
        end = min(upto, self._tail, self._base + TRIM_EPOCHS)
        if end > self._base:
            self._base = self._environment.write(lambda transaction: self._trim(transaction, end))
            self._note()
        return self._base < min(upto, self._tail)

    def trim(self, upto: int) -> None:
        while self.trim_step(upto):
            pass

    def _trim(self, transaction: Transaction, end: int) -> int:
        """Drop epochs from the log's first on, up to `end` or as many as a step may; return the new base."""
        rows: list[EpochRow] = []
        size = 0
        number = self._base
        while number < end and size < TRIM_BYTES:
            number += 1
            entry = _entry(transaction, number)
            rows.append(_row(number, entry))
            transaction.delete(EPOCHS, EPOCH_KEY.pack(number), f"epoch {number}")
            for partition, *_, length in entry[2]:
                size += length
                for piece in range(pieces(length)):
                    place = f"epoch {number}, partition {partition}, piece {piece}"
                    transaction.delete(RECORDS, RECORD_KEY.pack(number, partition, piece), place)
        self._keep_rows(transaction, rows)
        transaction.put(ABOUT, b"base", pack(number))
        return number

    def _keep_rows(self, transaction: Transaction, rows: list[EpochRow]) -> None:
        """Add rows to the packed ones: to the last span until it is full, then to a new one."""
        last = transaction.last_key(ROWS)
        if last is not None:
            before = self._span(transaction, EPOCH_KEY.unpack(last)[0])
            if len(before) < SPAN_ROWS:
                rows = before + rows
        for start in range(0, len(rows), SPAN_ROWS):
            span = rows[start : start + SPAN_ROWS]
            transaction.put(ROWS, EPOCH_KEY.pack(span[0].number), pack_rows(span))

    @staticmethod
    def _span(transaction: Transaction, first: int) -> list[EpochRow]:
        """Return the packed rows that begin with epoch `first`."""
        packed = transaction.get(ROWS, EPOCH_KEY.pack(first), f"epoch table, rows from epoch {first}")
        return [] if packed is None else unpack_rows(first, packed)

    def rows(self) -> Iterator[EpochRow]:
        number = 1
        while number <= self._tail:
            for row in self._rows_from(number):
                yield row
                number += 1

    def _rows_from(self, number: int) -> list[EpochRow]:
        """Return some rows from `number` on; a read of its own, so that a slow reader holds no pages."""
        with self._environment.read() as transaction:
            base = cast("int", unpack(transaction.need(ABOUT, b"base", "base")))
            if number > base:
                upto = min(self._tail, number + ROWS_AT_ONCE - 1)
                return [_row(n, _entry(transaction, n)) for n in range(number, upto + 1)]
            with transaction.cursor(ROWS) as cursor:
                if cursor.set_range(EPOCH_KEY.pack(number)):
                    found = cursor.key() == EPOCH_KEY.pack(number) or cursor.prev()
                else:
                    found = cursor.last()
                first = EPOCH_KEY.unpack(cursor.key())[0] if found else 0
            rows = [row for row in self._span(transaction, first) if row.number >= number]
            if not rows:
                raise DamagedError(f"log, epoch table, epoch {number}", "its row is missing")
            return rows

    def pieces_held(self) -> int:
        """Return how many pieces of records the environment holds, for `inspect`."""
        with self._environment.read() as transaction:
            return transaction.entries(RECORDS)

    def close(self) -> None:
        self._environment.close()


def open_log(
    path: Path,
    marks: Marks,
    directory: str,
    *,
    readonly: bool = False,
    sync: bool = True,
    reached: Reached | None = None,
) -> LmdbLog:
    """Open the log at `path`, or make it if the marks say that it never was made."""
    environment = Environment(path, DATABASES, marks.read("log"), readonly=readonly, sync=sync, reached=reached)
    try:
        return LmdbLog(environment, marks, directory, readonly=readonly)
    except BaseException:
        environment.close()
        raise


def _put_epochs(transaction: Transaction, epochs: Sequence[Epoch]) -> None:
    for epoch in epochs:
        greatest = b""  # piece of this epoch so far; the keys of later epochs are greater anyway
        assert len({chunk.partition for chunk in epoch.chunks}) == len(epoch.chunks), "a chunk per partition"
        described = []
        for chunk in epoch.chunks:
            raw = memoryview(chunk.raw)
            for piece in range(pieces(len(raw))):
                key = RECORD_KEY.pack(epoch.number, chunk.partition, piece)
                part = raw[piece * PIECE_SIZE : (piece + 1) * PIECE_SIZE]
                transaction.put(RECORDS, key, part, append=key > greatest)
                greatest = max(greatest, key)
            described.append(
                (chunk.partition, chunk.first, chunk.count, chunk.time, chunk.offset, chunk.ended, len(raw))
            )
        entry = pack((epoch.generation, epoch.time, described))
        transaction.put(EPOCHS, EPOCH_KEY.pack(epoch.number), entry, append=True)


def pieces(size: int) -> int:
    """Return in how many pieces a chunk of `size` bytes is stored."""
    return -(-size // PIECE_SIZE)


def _entry(transaction: Transaction, number: int) -> Entry:
    return cast("Entry", unpack(transaction.need(EPOCHS, EPOCH_KEY.pack(number), f"epoch {number}")))


def _row(number: int, entry: Entry) -> EpochRow:
    _, time, described = entry
    return EpochRow(number, time, tuple((c[0], c[2], c[3], c[5]) for c in described))


def _chunk(transaction: Transaction, number: int, described: list[Any]) -> Chunk:
    partition, first, count, time, offset, ended, size = described
    parts = [
        transaction.need(
            RECORDS,
            RECORD_KEY.pack(number, partition, piece),
            f"epoch {number}, partition {partition}, piece {piece}",
        )
        for piece in range(pieces(size))
    ]
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(raw) != size:
        raise DamagedError(f"log, epoch {number}, partition {partition}", f"{len(raw)} bytes instead of {size}")
    return Chunk(partition, first, count, time, offset, ended, raw)
