"""The partition log on disk: one LMDB environment (docs/data-format.md says every key and value).

Invariants: what is appended is one batch, never changed afterwards; which of its entries count is said by the logs:
those in batches behind `since`, behind the base, and not cut off. So adopting, installing and dropping logs write a
few bytes, whatever the logs hold; trimming deletes batches in which nothing counts any more. Every transaction raises
the number of the last batch or that of changes, which the marks know; the head says how many batches there are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from holdfast.core.epochs import Cursor, Lineage, LogEntry
from holdfast.core.errors import DamagedError
from holdfast.storage import batches
from holdfast.storage.environment import Environment, Reached, Transaction
from holdfast.storage.epoch_table import SPAN_ROWS, pack_entry_rows, unpack_entry_rows
from holdfast.storage.files import total_space
from holdfast.storage.held_log import (
    Described,
    HeldLog,
    check_entries,
    check_generation,
    check_held,
    check_install,
)
from holdfast.storage.lmdb_log import PIECE_SIZE, RESERVE_BYTES, RESERVE_SHARE, pieces
from holdfast.storage.marks import Marks
from holdfast.storage.packing import pack, unpack, unseal
from holdfast.storage.partition_log import EntryRow, PartitionLogSize

NAME = "partitions"
ABOUT = b"about"  # "identity" -> directory; "head" -> the head; "formation" -> of the adopted generation
LOGS = b"logs"  # partition -> what says which entries count
BATCHES = b"batches"  # batch -> descriptions of its entries, and their records where these are few
RECORDS = b"records"  # (batch, piece) -> raw records
ROWS = b"rows"  # (partition, first epoch of a span) -> packed rows of trimmed entries
DATABASES = (ABOUT, LOGS, BATCHES, RECORDS, ROWS)

LOG_KEY = struct.Struct(">I")
BATCH_KEY = struct.Struct(">Q")
RECORD_KEY = struct.Struct(">QI")
ROW_KEY = struct.Struct(">IQ")
TRIM_ENTRIES = 1024  # trimmed in one transaction: some milliseconds, during which nothing can be logged
TRIM_BATCHES = 256
TRIM_PIECES = 64


@dataclass(frozen=True, slots=True)
class Head:
    """What changes in every transaction but those that append."""

    changes: int = 0  # rises by one
    generation: int = 0
    last: int = 0  # the last batch ever, when the head was written
    batches: int = 0  # how many there were then
    spans: int = 0  # of rows


@dataclass(slots=True)
class StoredLog:
    """One partition's log and what says which entries of batches count for it."""

    held: HeldLog
    since: int  # the last batch before the log began
    cuts: list[tuple[int, int]] = field(default_factory=list)  # (batch, epoch): of batches up to it, up to the epoch

    def counts(self, batch: int, epoch: int) -> bool:
        """Whether an entry of this batch counts."""
        cut = any(batch <= last and epoch > keep for last, keep in self.cuts)
        return batch > self.since and epoch > self.held.base.epoch and not cut

    def pack(self) -> bytes:
        return pack((self.held.adopted, astuple(self.held.base), self.since, self.cuts))

    @classmethod
    def unpack(cls, packed: bytes) -> StoredLog:
        adopted, base, since, cuts = cast("list[Any]", unpack(packed))
        return cls(HeldLog(adopted, Cursor(*base)), since, [(last, keep) for last, keep in cuts])


class LmdbPartitionLog:
    """The partition log of one data directory. See storage.partition_log for the contract."""

    def __init__(self, environment: Environment, marks: Marks, directory: str, *, readonly: bool = False) -> None:
        self._environment = environment
        self._marks = marks
        self._reserve = 0 if readonly else min(RESERVE_BYTES, total_space(environment.path) // RESERVE_SHARE)
        self._head = Head()
        self._formation: bytes | None = None
        self._logs: dict[int, StoredLog] = {}
        self._last = 0  # batch
        self._live: dict[int, int] = {}  # batch -> its entries that count
        self._pieces: dict[int, int] = {}  # batch -> pieces of its records
        if environment.created:
            with environment.read() as transaction:
                self._look(transaction, directory)
        elif not readonly:
            environment.create(lambda transaction: self._put_about(transaction, directory))
        self._check_mark()
        if not readonly:
            self._note()

    def _put_about(self, transaction: Transaction, directory: str) -> None:
        transaction.put(ABOUT, b"identity", pack(directory))
        transaction.put(ABOUT, b"head", pack(astuple(self._head)))

    def _look(self, transaction: Transaction, directory: str) -> None:
        """Read everything but rows and records in pieces, which are checked when they are read."""
        if unpack(transaction.need(ABOUT, b"identity", "identity")) != directory:
            raise DamagedError(NAME, "it belongs to another data directory")
        self._head = Head(*cast("list[int]", unpack(transaction.need(ABOUT, b"head", "head"))))
        if self._head.generation:
            self._formation = transaction.need(ABOUT, b"formation", "formation")
        for key, payload in _all(transaction, LOGS, "log of partition"):
            self._logs[LOG_KEY.unpack(key)[0]] = StoredLog.unpack(payload)
        for key, payload in _all(transaction, BATCHES, "batch"):
            self._last = BATCH_KEY.unpack(key)[0]
            self._enter(self._last, batches.decode(self._last, payload, f"{NAME}, batch {self._last}"))
        self._last = max(self._last, self._head.last)
        expected = self._head.batches + self._last - self._head.last
        if len(self._live) != expected:
            raise DamagedError(f"{NAME}, batches", f"{len(self._live)} are there instead of {expected}")
        for database, wanted, kind in (
            (RECORDS, sum(self._pieces.values()), "pieces of records"),
            (ROWS, self._head.spans, "spans of rows"),
        ):
            if (found := transaction.entries(database)) != wanted:
                raise DamagedError(NAME, f"{found} {kind} are there instead of {wanted}")
        for partition, log in self._logs.items():
            check_held(NAME, partition, log.held)

    def _held(self, partition: int) -> HeldLog | None:
        log = self._logs.get(partition)
        return None if log is None else log.held

    def _enter(self, number: int, batch: batches.Batch) -> None:
        """Take a batch's entries that count into the logs."""
        self._live[number] = 0
        if batch.in_pieces:
            self._pieces[number] = pieces(batch.size)
        for partition, described in batch.entries:
            log = self._logs.get(partition)
            if log is not None and log.counts(number, described.epoch):
                log.held.entries.append(described)
                self._live[number] += 1

    def _check_mark(self) -> None:
        noted = self._marks.read(NAME).values
        if noted is not None and (noted[0] > self._last or noted[1] > self._head.changes):
            now = f"now it has {self._last} and {self._head.changes}"
            what = f"it held batches up to {noted[0]} and {noted[1]} changes, {now}: commits are lost"
            raise DamagedError(NAME, what)

    def _note(self) -> None:
        self._marks.note(NAME, (self._last, self._head.changes))

    def _change(self, action: Callable[[Transaction, Head], Head]) -> None:
        """Do `action`, which gets the head and returns it changed, in one transaction."""
        head = replace(self._head, changes=self._head.changes + 1, last=self._last, batches=len(self._live))

        def write(transaction: Transaction) -> Head:
            changed = action(transaction, head)
            transaction.put(ABOUT, b"head", pack(astuple(changed)))
            return changed

        self._head = self._environment.write(write)
        self._note()

    def adopted(self) -> tuple[int, bytes | None]:
        return self._head.generation, self._formation

    def lineages(self) -> dict[int, Lineage]:
        return {partition: log.held.lineage() for partition, log in sorted(self._logs.items())}

    def adopt(self, formation: bytes, generation: int, logs: Iterable[tuple[int, int]]) -> None:
        check_generation(self._head.generation, generation)
        changed: dict[int, StoredLog] = {}
        lost: list[Described] = []
        for partition, keep in logs:
            log = self._logs.get(partition) or StoredLog(HeldLog(0, Cursor()), self._last)
            at = log.held.upto(keep)
            cuts = log.cuts
            if at < len(log.held.entries):
                lost += log.held.entries[at:]
                cuts = [*(cut for cut in cuts if cut[1] < keep), (self._last, keep)]
            held = HeldLog(generation, log.held.base, log.held.entries[:at])
            changed[partition] = StoredLog(held, log.since, cuts)

        def action(transaction: Transaction, head: Head) -> Head:
            transaction.put(ABOUT, b"formation", formation)
            _put_logs(transaction, changed)
            return replace(head, generation=generation)

        self._change(action)
        self._formation = bytes(formation)
        self._logs = self._logs | changed
        self._lose(lost)

    def install(self, partition: int, base: Cursor, generation: int) -> None:
        check_install(self._head.generation, generation)
        base = Cursor(*cast("list[Any]", unpack(pack(astuple(base)))))
        log = StoredLog(HeldLog(generation, base), self._last)

        def action(transaction: Transaction, head: Head) -> Head:
            _put_logs(transaction, {partition: log})
            return head

        self._change(action)
        if partition in self._logs:
            self._lose(self._logs[partition].held.entries)
        self._logs = self._logs | {partition: log}

    def _lose(self, entries: Iterable[Described]) -> None:
        """Take note that entries count no more."""
        for each in entries:
            self._live[each.batch] -= 1

    def append(self, entries: Sequence[LogEntry]) -> None:
        check_entries(self._held, entries)
        if not entries:
            return
        number = self._last + 1
        # The descriptions as they will be read: what msgpack gives back as a list is one in all lives.
        value, records, described = batches.encode(number, entries)
        self._environment.reserve(self._reserve, len(value) + len(records))

        def action(transaction: Transaction) -> None:
            transaction.put(BATCHES, BATCH_KEY.pack(number), value, append=True)
            view = memoryview(records)
            for piece in range(pieces(len(records))):
                part = view[piece * PIECE_SIZE : (piece + 1) * PIECE_SIZE]
                transaction.put(RECORDS, RECORD_KEY.pack(number, piece), part, append=True)

        self._environment.write(action)
        for partition, each in described:
            self._logs[partition].held.entries.append(each)
        self._live[number] = len(described)
        if records:
            self._pieces[number] = pieces(len(records))
        self._last = number
        self._note()

    def read(self, partition: int, after: int, bytes_max: int) -> list[LogEntry]:
        found = []
        # Another thread may append or trim meanwhile. What is entered before the transaction begins is seen by it, and
        # what it sees stays readable; bases are moved before what lies behind them is deleted.
        last = self._last
        with self._environment.read() as transaction:
            number, records = 0, memoryview(b"")
            for each in self._logs[partition].held.wanted(after, bytes_max):
                if each.batch > last:
                    break
                if each.batch != number:
                    number, records = each.batch, self._records(transaction, each.batch)
                found.append(each.entry(partition, bytes(records[each.start : each.start + each.size])))
        return found

    def _records(self, transaction: Transaction, number: int) -> memoryview:
        """Return the records of all entries of a batch."""
        payload = transaction.need(BATCHES, BATCH_KEY.pack(number), f"batch {number}")
        inline = batches.inline(payload)
        if inline:
            return inline
        batch = batches.decode(number, payload, f"{NAME}, batch {number}")
        parts = [
            transaction.need(RECORDS, RECORD_KEY.pack(number, piece), f"batch {number}, piece {piece}")
            for piece in range(pieces(batch.size))
        ]
        records = b"".join(parts)
        if len(records) != batch.size:
            raise DamagedError(f"{NAME}, batch {number}", f"{len(records)} bytes instead of {batch.size}")
        return memoryview(records)

    def cursor(self, partition: int, epoch: int) -> Cursor:
        return self._logs[partition].held.cursor(epoch)

    def trim_step(self, upto: int, keep: Collection[int]) -> bool:
        dropped = [partition for partition in self._logs if partition not in keep]
        left = TRIM_ENTRIES
        trimmed: dict[int, list[Described]] = {}
        for partition, log in self._logs.items():
            if partition in keep and left:
                taken = log.held.entries[: min(left, log.held.upto(upto))]
                left -= len(taken)
                if taken:
                    trimmed[partition] = taken
        if dropped or trimmed or not all(self._live.values()):
            self._trim(dropped, trimmed)
        kept = [log.held for log in self._logs.values()]
        return any(log.entries and log.entries[0].epoch <= upto for log in kept) or not all(self._live.values())

    def trim(self, upto: int, keep: Collection[int]) -> None:
        while self.trim_step(upto, keep):
            pass

    def _trim(self, dropped: list[int], trimmed: dict[int, list[Described]]) -> None:
        """Drop logs, move bases behind what is trimmed, and delete some batches in which nothing counts then."""
        counted = dict(self._live)
        for each in (each for partition in dropped for each in self._logs[partition].held.entries):
            counted[each.batch] -= 1
        for each in (each for taken in trimmed.values() for each in taken):
            counted[each.batch] -= 1
        dead = self._deletable(counted)
        for number in dead:
            del counted[number]
        first = min(counted, default=self._last + 1)
        changed = {}
        for partition, taken in trimmed.items():
            log = self._logs[partition]
            held = HeldLog(log.held.adopted, log.held.base, list(log.held.entries))
            held.trim(len(taken))
            changed[partition] = StoredLog(held, log.since, [cut for cut in log.cuts if cut[0] >= first])

        def action(transaction: Transaction, head: Head) -> Head:
            for partition in dropped:
                transaction.delete(LOGS, LOG_KEY.pack(partition), f"log of partition {partition}")
            _put_logs(transaction, changed)
            for partition, taken in trimmed.items():
                _keep_rows(transaction, partition, [each.row for each in taken])
            for number in dead:
                self._delete(transaction, number)
            return replace(head, batches=len(counted), spans=transaction.entries(ROWS))

        self._logs = {p: changed.get(p, log) for p, log in self._logs.items() if p not in dropped}
        self._change(action)
        self._live = counted
        for number in dead:
            self._pieces.pop(number, None)

    def _deletable(self, counted: dict[int, int]) -> list[int]:
        """Return batches in which nothing counts, as many as a step may delete."""
        found = []
        pieces_left = TRIM_PIECES
        for number, count in counted.items():
            if count == 0:
                found.append(number)
                pieces_left -= self._pieces.get(number, 0)
                if len(found) == TRIM_BATCHES or pieces_left <= 0:
                    break
        return found

    def _delete(self, transaction: Transaction, number: int) -> None:
        transaction.delete(BATCHES, BATCH_KEY.pack(number), f"batch {number}")
        for piece in range(self._pieces.get(number, 0)):
            transaction.delete(RECORDS, RECORD_KEY.pack(number, piece), f"batch {number}, piece {piece}")

    def rows(self, partition: int) -> Iterator[EntryRow]:
        last = -1
        while span := self._rows_behind(partition, last):
            yield from span
            last = span[-1].epoch

    def _rows_behind(self, partition: int, epoch: int) -> list[EntryRow]:
        """Return some rows behind an epoch; a read of its own, so that a slow reader holds no pages."""
        rows: list[EntryRow] = []
        with self._environment.read() as transaction:
            for _, span in _spans(transaction, partition, epoch + 1):
                rows = [row for row in span if row.epoch > epoch]
                if rows:
                    break
        log = self._logs.get(partition)
        behind = [] if log is None else log.held.entries[log.held.upto(epoch) :]
        held = [each.row for each in behind if not rows or each.epoch < rows[-1].epoch]
        return _merged(rows, held)

    def partitions(self) -> list[int]:
        """Return the partitions of which there are logs or rows, for `inspect`."""
        with self._environment.read() as transaction, transaction.cursor(ROWS) as cursor:
            found = {ROW_KEY.unpack(key)[0] for key in cursor.iternext(values=False)}
        return sorted(found | self._logs.keys())

    def held(self, partition: int) -> list[Described]:
        """Return what is held of a partition's log, for `inspect`."""
        return self._logs[partition].held.entries

    def batches(self) -> list[int]:
        """Return the numbers of the batches in which something counts, for `inspect`."""
        return [number for number, count in self._live.items() if count]

    def check_batch(self, number: int) -> None:
        """Raise DamagedError if a batch can't be read, for `inspect`."""
        with self._environment.read() as transaction:
            self._records(transaction, number)

    def size(self) -> PartitionLogSize:
        entries = [each for log in self._logs.values() for each in log.held.entries]
        return PartitionLogSize(len(self._logs), len(entries), sum(each.size for each in entries))

    def close(self) -> None:
        self._environment.close()


def open_partition_log(
    path: Path,
    marks: Marks,
    directory: str,
    *,
    readonly: bool = False,
    sync: bool = True,
    reached: Reached | None = None,
) -> LmdbPartitionLog:
    """Open the partition log at `path`, or make it if the marks say that it never was made."""
    environment = Environment(path, DATABASES, marks.read(NAME), readonly=readonly, sync=sync, reached=reached)
    try:
        return LmdbPartitionLog(environment, marks, directory, readonly=readonly)
    except BaseException:
        environment.close()
        raise


def _put_logs(transaction: Transaction, logs: dict[int, StoredLog]) -> None:
    for partition, log in sorted(logs.items()):
        transaction.put(LOGS, LOG_KEY.pack(partition), log.pack())


def _keep_rows(transaction: Transaction, partition: int, rows: list[EntryRow]) -> None:
    """Add rows to a partition's packed ones: in general to the last span until it is full, then to a new one.

    Where rows are there that follow these, because the log was installed behind an older base than it once had, all
    spans from there on are packed anew.
    """
    spans = list(_spans(transaction, partition, rows[0].epoch))
    merged = _merged([row for _, span in spans for row in span], rows)
    for key, _ in spans:
        transaction.delete(ROWS, key, f"epoch table of partition {partition}")
    for start in range(0, len(merged), SPAN_ROWS):
        span = merged[start : start + SPAN_ROWS]
        transaction.put(ROWS, ROW_KEY.pack(partition, span[0].epoch), pack_entry_rows(span))


def _spans(transaction: Transaction, partition: int, epoch: int) -> Iterator[tuple[bytes, list[EntryRow]]]:
    """Yield (key, rows) of the span that `epoch` falls into, if there is one, and of all behind it."""
    wanted = ROW_KEY.pack(partition, epoch)
    with transaction.cursor(ROWS) as cursor:
        found = cursor.set_range(wanted)
        if not found:
            found = cursor.last()
        elif cursor.key() != wanted and not cursor.prev():
            found = cursor.first()
        while found:
            of, first = ROW_KEY.unpack(cursor.key())
            if of == partition:
                place = f"{NAME}, epoch table of partition {partition}, rows from epoch {first}"
                yield cursor.key(), unpack_entry_rows(unseal(ROWS, cursor.key(), cursor.value(), place))
            found = of <= partition and cursor.next()


def _merged(known: list[EntryRow], more: list[EntryRow]) -> list[EntryRow]:
    """Return all rows in order; where there are two of an epoch, the one that was known."""
    if known and more and more[0].epoch <= known[-1].epoch:
        return sorted(({row.epoch: row for row in more} | {row.epoch: row for row in known}).values())
    return known + more


def _all(transaction: Transaction, database: bytes, kind: str) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor(database) as cursor:
        for key, value in cursor:
            yield key, unseal(database, key, value, f"{NAME}, {kind} {int.from_bytes(key)}")
