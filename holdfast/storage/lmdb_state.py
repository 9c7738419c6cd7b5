"""The state on disk: one LMDB environment (docs/data-format.md says every key and value).

Invariants: every change is one transaction that also writes the head, which counts commits and says the last
complete checkpoint; a manifest says how many chunks a complete checkpoint has and how long each is, and
chunks without a manifest don't count and are dropped at the next open. What is prepared has a manifest and a
record, and the head names it. Meta records, manifests and rows are
all checked at open, so that a record or row that is not found was never put. Rows themselves are in
storage.lmdb_rows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from holdfast.core.errors import DamagedError
from holdfast.storage.environment import Environment, Reached, Transaction
from holdfast.storage.lmdb_rows import ROWS, Rows, RowTotals
from holdfast.storage.marks import Marks
from holdfast.storage.packing import pack, unpack, unseal
from holdfast.storage.state import Identity, Row, StateSize

ABOUT = b"about"  # "identity" -> [format version, directory]; "head" -> the head
META = b"meta"  # name -> value
RECORDS = b"records"  # checkpoint -> its record; only those of the last complete one and the prepared one are kept
MANIFESTS = b"manifests"  # checkpoint -> sizes of its chunks
CHUNKS = b"chunks"  # (checkpoint, index, piece) -> bytes
DATABASES = (ABOUT, META, RECORDS, MANIFESTS, CHUNKS, ROWS)

CHECKPOINT_KEY = struct.Struct(">Q")
CHUNK_KEY = struct.Struct(">QIH")
PIECE_SIZE = 1 << 20  # a longer run of pages is slow to find in a fragmented file
META_NAME_MAX = 400  # bytes; LMDB allows keys of 511


@dataclass(frozen=True, slots=True)
class Head:
    """What changes in every transaction."""

    commits: int = 0  # rises by one
    incarnation: int = 0
    checkpoint: int = 0  # last complete one
    folded: tuple[int, int] = (0, 0)
    rows: RowTotals = field(default_factory=RowTotals)
    prepared: int = 0  # the checkpoint that is whole and does not count yet, 0 for none


class LmdbState:
    """The state of one data directory. See storage.state for the contract."""

    def __init__(
        self, environment: Environment, marks: Marks, identity: tuple[int, str], *, readonly: bool = False
    ) -> None:
        self._environment = environment
        self._marks = marks
        self._version, self._directory = identity
        self._head = Head()
        self._meta: dict[str, bytes] = {}  # packed
        self._sizes: dict[int, list[int]] = {}  # of the chunks of complete checkpoints
        self._staged: tuple[int, list[int]] = (0, [])
        self._rows = Rows(environment)
        if environment.created:
            with environment.read() as transaction:
                self._look(transaction)
        elif not readonly:
            environment.create(self._put_about)
        self._check_mark()
        if not readonly:
            for problem in self.row_problems():
                raise problem
            self._change(self._begin_life)
            self._check_chunk_pieces()

    def _put_about(self, transaction: Transaction) -> None:
        transaction.put(ABOUT, b"identity", pack((self._version, self._directory)))
        transaction.put(ABOUT, b"head", pack(astuple(self._head)))

    def _look(self, transaction: Transaction) -> None:
        """Read what is small, all of it."""
        identity = unpack(transaction.need(ABOUT, b"identity", "identity"))
        if identity != [self._version, self._directory]:
            raise DamagedError("state", "it belongs to another data directory")
        packed = transaction.need(ABOUT, b"head", "head")
        # Directories from before there were prepared checkpoints have no `prepared`.
        commits, incarnation, checkpoint, folded, rows, *prepared = cast("list[Any]", unpack(packed))
        self._head = Head(commits, incarnation, checkpoint, (folded[0], folded[1]), RowTotals(*rows), *prepared)
        for key, payload in _all(transaction, META, "meta record"):
            self._meta[key.decode()] = payload
        for key, payload in _all(transaction, MANIFESTS, "manifest"):
            self._sizes[CHECKPOINT_KEY.unpack(key)[0]] = cast("list[int]", unpack(payload))
        for named in (self._head.checkpoint, self._head.prepared):
            if named and named not in self._sizes:
                raise DamagedError(f"state, checkpoint {named}", "its manifest is missing")

    def _begin_life(self, transaction: Transaction, head: Head) -> Head:
        self._drop_staged(transaction)
        return replace(head, incarnation=head.incarnation + 1)

    def _check_mark(self) -> None:
        noted = self._marks.read("state").values
        if noted is not None and (noted[0] > self._head.commits or noted[1] > self._head.checkpoint):
            now = f"now it has {self._head.commits} and {self._head.checkpoint}"
            what = f"it held {noted[0]} commits and checkpoint {noted[1]}, {now}: commits are lost"
            raise DamagedError("state", what)

    def chunk_pieces(self) -> tuple[int, int]:
        """Return how many pieces of chunks there are, and how many the manifests name."""
        expected = sum(_pieces(size) for sizes in self._sizes.values() for size in sizes)
        with self._environment.read() as transaction:
            return transaction.entries(CHUNKS), expected

    def _check_chunk_pieces(self) -> None:
        found, expected = self.chunk_pieces()
        if found != expected:
            raise DamagedError("state, checkpoints", f"{found} pieces of chunks instead of {expected}")

    def _change(self, action: Callable[[Transaction, Head], Head]) -> None:
        """Do `action`, which gets the head and returns it changed, in one transaction."""

        def write(transaction: Transaction) -> Head:
            head = action(transaction, replace(self._head, commits=self._head.commits + 1))
            transaction.put(ABOUT, b"head", pack(astuple(head)))
            return head

        prepared = self._head.prepared
        self._head = self._environment.write(write)
        if prepared not in (self._head.prepared, self._head.checkpoint):
            self._sizes.pop(prepared, None)  # it was dropped
        self._marks.note("state", (self._head.commits, self._head.checkpoint))

    def identity(self) -> Identity:
        generation = cast("int", self.get_meta("generation") or 0)
        return Identity(self._version, self._directory, self._head.incarnation, generation)

    def get_meta(self, name: str) -> object | None:
        packed = self._meta.get(name)
        return None if packed is None else unpack(packed)

    def put_meta(self, name: str, value: object) -> None:
        self.put_metas({name: value})

    def put_metas(self, values: Mapping[str, object]) -> None:
        packed = {name: pack(value) for name, value in values.items()}

        def action(transaction: Transaction, head: Head) -> Head:
            for name, payload in packed.items():
                key = name.encode()
                assert 0 < len(key) <= META_NAME_MAX, "a meta record's name is short"
                transaction.put(META, key, payload)
            return head

        self._change(action)
        self._meta |= packed

    def stage(self, checkpoint: int, chunks: Sequence[bytes]) -> None:
        assert checkpoint > self._head.checkpoint, "a staged checkpoint is newer than the last complete one"
        assert checkpoint != self._head.prepared, "a prepared checkpoint is whole"
        continued = self._staged[0] == checkpoint
        sizes = self._staged[1] if continued else []

        def action(transaction: Transaction, head: Head) -> Head:
            if not continued:
                head = self._drop_uncounted(transaction, head)
            for index, chunk in enumerate(chunks, len(sizes)):
                view = memoryview(chunk)
                for piece in range(_pieces(len(view))):
                    key = CHUNK_KEY.pack(checkpoint, index, piece)
                    part = view[piece * PIECE_SIZE : (piece + 1) * PIECE_SIZE]
                    transaction.put(CHUNKS, key, part, append=True)
            return head

        self._change(action)
        self._staged = (checkpoint, [*sizes, *(len(chunk) for chunk in chunks)])

    def prepare(self, checkpoint: int, record: bytes) -> None:
        assert checkpoint > self._head.checkpoint, "a prepared checkpoint is newer than the last complete one"
        assert checkpoint != self._head.prepared, "a checkpoint is prepared once"
        staged = self._staged[0] == checkpoint
        sizes = self._staged[1] if staged else []

        def action(transaction: Transaction, head: Head) -> Head:
            if not staged:
                head = self._drop_uncounted(transaction, head)
            transaction.put(RECORDS, CHECKPOINT_KEY.pack(checkpoint), record)
            transaction.put(MANIFESTS, CHECKPOINT_KEY.pack(checkpoint), pack(sizes))
            return replace(head, prepared=checkpoint)

        self._change(action)
        self._sizes[checkpoint] = list(sizes)
        self._staged = (0, [])

    def prepared(self) -> tuple[int, bytes] | None:
        checkpoint = self._head.prepared
        return (checkpoint, self._record(checkpoint)) if checkpoint else None

    def abandon(self) -> None:
        self._change(self._drop_uncounted)
        self._staged = (0, [])

    def complete(self, checkpoint: int, record: bytes, drop_before: int) -> None:
        assert checkpoint > self._head.checkpoint, "checkpoints are completed in order"
        assert drop_before <= checkpoint, "a checkpoint does not drop itself"
        before = self._head
        prepared = before.prepared == checkpoint
        staged = self._staged[0] == checkpoint
        sizes = self._sizes[checkpoint] if prepared else self._staged[1] if staged else []
        dropped = [number for number in self._sizes if number < drop_before and number != before.prepared]

        def action(transaction: Transaction, head: Head) -> Head:
            if not prepared and not staged:
                head = self._drop_uncounted(transaction, head)
            if before.checkpoint:
                place = f"checkpoint {before.checkpoint}, record"
                transaction.delete(RECORDS, CHECKPOINT_KEY.pack(before.checkpoint), place)
            transaction.put(RECORDS, CHECKPOINT_KEY.pack(checkpoint), record)
            transaction.put(MANIFESTS, CHECKPOINT_KEY.pack(checkpoint), pack(sizes))
            for number in dropped:
                self._drop(transaction, number)
            return replace(head, checkpoint=checkpoint, prepared=0)

        self._change(action)
        self._sizes[checkpoint] = list(sizes)
        for number in dropped:
            del self._sizes[number]
        self._staged = (0, [])

    def _drop(self, transaction: Transaction, checkpoint: int) -> None:
        """Delete a complete checkpoint's manifest and chunks."""
        transaction.delete(MANIFESTS, CHECKPOINT_KEY.pack(checkpoint), f"checkpoint {checkpoint}, manifest")
        for index, size in enumerate(self._sizes[checkpoint]):
            for piece in range(_pieces(size)):
                place = f"checkpoint {checkpoint}, chunk {index}, piece {piece}"
                transaction.delete(CHUNKS, CHUNK_KEY.pack(checkpoint, index, piece), place)

    def _drop_staged(self, transaction: Transaction) -> None:
        """Delete chunks that were staged for a checkpoint that has no manifest: all beyond the last that has one, and
        before a prepared one.
        """
        with transaction.cursor(CHUNKS) as cursor:
            found = cursor.set_range(CHUNK_KEY.pack(self._head.checkpoint + 1, 0, 0))
            while found and cursor.key():
                if CHUNK_KEY.unpack(cursor.key())[0] == self._head.prepared:
                    found = cursor.set_range(CHUNK_KEY.pack(self._head.prepared + 1, 0, 0))
                else:
                    found = cursor.delete()

    def _drop_uncounted(self, transaction: Transaction, head: Head) -> Head:
        """Delete all that is staged or prepared."""
        self._drop_staged(transaction)
        if self._head.prepared:
            place = f"checkpoint {self._head.prepared}, record"
            transaction.delete(RECORDS, CHECKPOINT_KEY.pack(self._head.prepared), place)
            self._drop(transaction, self._head.prepared)
        return replace(head, prepared=0)

    def checkpoint(self) -> int:
        return self._head.checkpoint

    def record(self) -> bytes | None:
        checkpoint = self._head.checkpoint
        return self._record(checkpoint) if checkpoint else None

    def _record(self, checkpoint: int) -> bytes:
        with self._environment.read() as transaction:
            key = CHECKPOINT_KEY.pack(checkpoint)
            return transaction.need(RECORDS, key, f"checkpoint {checkpoint}, record")

    def manifest(self) -> list[tuple[int, int]]:
        complete = sorted(self._sizes.keys() - {self._head.prepared})
        return [(checkpoint, len(self._sizes[checkpoint])) for checkpoint in complete]

    def prepared_chunks(self) -> int:
        """Return how many chunks the prepared checkpoint has, for `inspect`."""
        return len(self._sizes.get(self._head.prepared, ()))

    def chunk(self, checkpoint: int, index: int) -> bytes:
        size = self._sizes[checkpoint][index]
        place = f"checkpoint {checkpoint}, chunk {index}"
        with self._environment.read() as transaction:
            pieces = [
                transaction.need(CHUNKS, CHUNK_KEY.pack(checkpoint, index, piece), f"{place}, piece {piece}")
                for piece in range(_pieces(size))
            ]
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if len(whole) != size:
            raise DamagedError(f"state, {place}", f"{len(whole)} bytes instead of {size}")
        return whole

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        for checkpoint, count in self.manifest():
            for index in range(count):
                yield checkpoint, self.chunk(checkpoint, index)

    def fold(self, rows: Sequence[Row], upto: tuple[int, int]) -> None:
        def action(transaction: Transaction, head: Head) -> Head:
            return replace(head, folded=upto, rows=self._rows.fold(transaction, head.rows, rows))

        self._change(action)

    def folded(self) -> tuple[int, int]:
        return self._head.folded

    def load(self, step: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._rows.load(step, keys)

    def rows_of(self, step: int) -> Iterator[tuple[bytes, bytes]]:
        return self._rows.of(step)

    def all_rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        return self._rows.all()

    def row_problems(self) -> Iterator[DamagedError]:
        """Yield what is wrong with rows: nothing if exactly those that were folded are there."""
        return self._rows.problems(self._head.rows)

    def size(self) -> StateSize:
        complete = self._sizes.keys() - {self._head.prepared}
        sizes = [size for checkpoint in complete for size in self._sizes[checkpoint]]
        return StateSize(len(complete), len(sizes), sum(sizes), self._head.rows.count)

    def close(self) -> None:
        self._environment.close()


def open_state(
    path: Path,
    marks: Marks,
    identity: tuple[int, str],
    *,
    readonly: bool = False,
    sync: bool = True,
    reached: Reached | None = None,
) -> LmdbState:
    """Open the state at `path`, or make it if the marks say that it never was made.

    Unless `readonly` this begins a new incarnation and drops what was staged and never completed.
    """
    environment = Environment(path, DATABASES, marks.read("state"), readonly=readonly, sync=sync, reached=reached)
    try:
        return LmdbState(environment, marks, identity, readonly=readonly)
    except BaseException:
        environment.close()
        raise


def _pieces(size: int) -> int:
    return -(-size // PIECE_SIZE)


def _all(transaction: Transaction, database: bytes, kind: str) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor(database) as cursor:
        for key, value in cursor:
            yield key, unseal(database, key, value, f"state, {kind} {key!r}")
