"""Memory twins of the log and the state, for the simulator and for tests; they stand on a `MemoryDisk`.

Every changing call is `begin_…` (written) and then `finish_sync` (durable and visible), which the simulator
may call apart to kill in between; the calls of the Protocols do both. A twin is one life of one process:
after a crash of the disk make a new one, which finds what the disk kept and raises `DamagedError` where that
is not whole. They pass the same suite as the LMDB ones. No digests here: nothing flips bits in this memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from holdfast.core.epochs import Chunk, Epoch, EpochRow
from holdfast.core.errors import DamagedError
from holdfast.storage.log import check_order, size_in_memory
from holdfast.storage.memory_disk import MemoryDisk, MemoryStore, Operations
from holdfast.storage.packing import pack, unpack
from holdfast.storage.state import Identity, Row, StateSize

TRIM_STEP_EPOCHS = 16  # few, so that a simulated kill often falls between two steps


class MemoryLog:
    """The log in memory. Keys: ("entry", epoch), ("chunk", epoch, nth), ("row", epoch), ("base",)."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._store = disk.log
        contents = self._store.contents
        self._base = cast("int", contents.get(("base",), 0))
        held = sorted(cast("int", key[1]) for key in contents if key[0] == "entry")
        self._tail = held[-1] if held else self._base
        if held != list(range(self._base + 1, self._tail + 1)):
            raise DamagedError("log, epochs", f"epochs {self._base + 1} to {self._tail} are not all there")
        _check_mark("log", self._store, (self._tail, self._base))

    def begin_append(self, epochs: Sequence[Epoch]) -> None:
        """Write epochs; they are held after `finish_sync`."""
        check_order(self._tail, epochs)
        operations: Operations = {}
        for epoch in epochs:
            operations["entry", epoch.number] = epoch
            operations["row", epoch.number] = epoch.row
            for nth, chunk in enumerate(epoch.chunks):
                operations["chunk", epoch.number, nth] = replace(chunk, offset=unpack(pack(chunk.offset)))
        tail = epochs[-1].number if epochs else self._tail
        self._store.begin(operations, (tail, self._base))

    def begin_trim(self, upto: int) -> bool:
        """Write one step of trimming; return whether more is left after it."""
        end = min(upto, self._tail, self._base + TRIM_STEP_EPOCHS)
        operations: Operations = {("base",): max(end, self._base)}
        for number in range(self._base + 1, end + 1):
            operations["entry", number] = None
            for nth in range(len(self._entry(number).chunks)):
                operations["chunk", number, nth] = None
        self._store.begin(operations, (self._tail, max(end, self._base)))
        return end < min(upto, self._tail)

    def finish_sync(self) -> None:
        """Make durable and visible what has begun."""
        self._store.finish_sync()
        assert self._store.mark is not None
        self._tail, self._base = self._store.mark

    def append(self, epochs: Sequence[Epoch]) -> None:
        self.begin_append(epochs)
        self.finish_sync()

    def trim_step(self, upto: int) -> bool:
        more = self.begin_trim(upto)
        self.finish_sync()
        return more

    def trim(self, upto: int) -> None:
        while self.trim_step(upto):
            pass

    def tail(self) -> int:
        return self._tail

    def base(self) -> int:
        return self._base

    def read(self, after: int, bytes_max: int) -> list[Epoch]:
        assert after >= self._base, "these epochs are trimmed"
        found: list[Epoch] = []
        held = 0
        while after + len(found) < self._tail and (not found or held < bytes_max):
            epoch = self._entry(after + len(found) + 1)
            chunks = tuple(self._chunk(epoch.number, nth) for nth in range(len(epoch.chunks)))
            found.append(Epoch(epoch.number, epoch.generation, epoch.time, chunks))
            held += size_in_memory(chunks)
        return found

    def rows(self) -> Iterator[EpochRow]:
        for number in range(1, self._tail + 1):
            row = self._store.contents.get(("row", number))
            if row is None:
                raise DamagedError(f"log, epoch table, epoch {number}", "it is missing")
            yield cast("EpochRow", row)

    def close(self) -> None:
        """Nothing is held."""

    def _entry(self, number: int) -> Epoch:
        entry = self._store.contents.get(("entry", number))
        if entry is None:
            raise DamagedError(f"log, epoch {number}", "its entry is missing")
        return cast("Epoch", entry)

    def _chunk(self, number: int, nth: int) -> Chunk:
        chunk = self._store.contents.get(("chunk", number, nth))
        if chunk is None:
            raise DamagedError(f"log, epoch {number}", "its records are missing")
        return cast("Chunk", chunk)


class MemoryState:
    """The state in memory.

    Keys: ("meta", name), ("chunk", checkpoint, index), ("manifest", checkpoint) -> number of chunks,
    ("record",), ("checkpoint",), ("prepared",) -> (checkpoint, number of chunks, record), ("row", step, key),
    ("rows",) -> how many, ("folded",), ("incarnation",), ("commits",).
    """

    def __init__(self, disk: MemoryDisk, directory: str = "memory") -> None:
        self._store = disk.state
        self._directory = directory
        contents = self._store.contents
        _check_mark("state", self._store, (self._number("commits"), self._number("checkpoint")))
        rows = sum(1 for key in contents if key[0] == "row")
        if rows != self._number("rows"):
            raise DamagedError("state, rows", f"{rows} are there, {self._number('rows')} were folded")
        self._staged: tuple[int, int] = (0, 0)  # (checkpoint, chunks)
        self._check_prepared()
        self._after: Callable[[], None] = _nothing
        leftover = self._leftover()
        incarnation: Operations = {("incarnation",): self._number("incarnation") + 1}
        self._begin(leftover | incarnation)
        self.finish_sync()
        self._store.sync_mark()

    def _number(self, name: str) -> int:
        return cast("int", self._store.contents.get((name,), 0))

    def _leftover(self) -> Operations:
        """Return the deletion of chunks that neither a manifest nor what is prepared names."""
        contents = self._store.contents
        named = {key[1] for key in contents if key[0] == "manifest"} | {self._prepared[0]}
        return {key: None for key in contents if key[0] == "chunk" and key[1] not in named}

    @property
    def _prepared(self) -> tuple[int, int, bytes]:
        """(checkpoint, number of chunks, record) of what is prepared; checkpoint 0 for nothing."""
        return cast("tuple[int, int, bytes]", self._store.contents.get(("prepared",), (0, 0, b"")))

    def _uncounted(self) -> Operations:
        """Return the deletion of all that is staged or prepared."""
        contents = self._store.contents
        prepared = [key for key in contents if key[0] == "chunk" and key[1] == self._prepared[0]]
        return self._leftover() | dict.fromkeys([("prepared",), *prepared])

    def _check_prepared(self) -> None:
        checkpoint, count, _ = self._prepared
        found = sum(1 for key in self._store.contents if key[0] == "chunk" and key[1] == checkpoint)
        if checkpoint and (found != count or checkpoint <= self.checkpoint()):
            raise DamagedError(f"state, checkpoint {checkpoint}", f"{found} chunks of {count} are prepared")

    def _begin(self, operations: Operations, after: Callable[[], None] | None = None) -> None:
        commits = self._number("commits") + 1
        operations[("commits",)] = commits
        checkpoint = cast("int", operations.get(("checkpoint",), self._number("checkpoint")))
        self._after = after or _nothing
        self._store.begin(operations, (commits, checkpoint))

    def finish_sync(self) -> None:
        """Make durable and visible what has begun."""
        self._store.finish_sync()
        self._after()

    def begin_put_metas(self, values: Mapping[str, object]) -> None:
        """Write records."""
        self._begin({("meta", name): pack(value) for name, value in values.items()})

    def begin_stage(self, checkpoint: int, chunks: Sequence[bytes]) -> None:
        """Write chunks of a checkpoint."""
        assert checkpoint > self.checkpoint(), "a staged checkpoint is newer than the last complete one"
        assert checkpoint != self._prepared[0], "a prepared checkpoint is whole"
        same = self._staged[0] == checkpoint
        first = self._staged[1] if same else 0
        operations: Operations = {} if same else self._uncounted()
        for index, chunk in enumerate(chunks, first):
            operations["chunk", checkpoint, index] = bytes(chunk)
        self._begin(operations, lambda: self._set_staged(checkpoint, first + len(chunks)))

    def begin_prepare(self, checkpoint: int, record: bytes) -> None:
        """Write that a staged checkpoint is whole."""
        assert checkpoint > self.checkpoint(), "a prepared checkpoint is newer than the last complete one"
        assert checkpoint != self._prepared[0], "a checkpoint is prepared once"
        staged, count = self._staged
        operations: Operations = {}
        if staged != checkpoint:
            operations = self._uncounted()
            count = 0
        operations[("prepared",)] = (checkpoint, count, bytes(record))
        self._begin(operations, lambda: self._set_staged(0, 0))

    def begin_abandon(self) -> None:
        """Write the deletion of what is staged or prepared."""
        self._begin(self._uncounted(), lambda: self._set_staged(0, 0))

    def begin_complete(self, checkpoint: int, record: bytes, drop_before: int) -> None:
        """Write the completion of a checkpoint."""
        assert checkpoint > self.checkpoint(), "checkpoints are completed in order"
        assert drop_before <= checkpoint, "a checkpoint does not drop itself"
        operations: Operations = {
            key: None
            for key in self._store.contents
            if key[0] in ("manifest", "chunk") and cast("int", key[1]) < drop_before
        }
        staged, count = self._staged
        if checkpoint == self._prepared[0]:
            count = self._prepared[1]
            operations |= self._leftover()
        elif staged != checkpoint:
            operations |= self._uncounted()
            count = 0
        operations[("prepared",)] = None
        operations["manifest", checkpoint] = count
        operations[("record",)] = bytes(record)
        operations[("checkpoint",)] = checkpoint
        self._begin(operations, lambda: self._set_staged(0, 0))

    def begin_fold(self, rows: Sequence[Row], upto: tuple[int, int]) -> None:
        """Write rows."""
        contents = self._store.contents
        operations: Operations = {("row", step, key): image for step, key, image in rows}
        change = sum((image is not None) - (key in contents) for key, image in operations.items())
        operations[("rows",)] = self._number("rows") + change
        operations[("folded",)] = upto
        self._begin(operations)

    def _set_staged(self, checkpoint: int, count: int) -> None:
        self._staged = (checkpoint, count)

    def identity(self) -> Identity:
        generation = self.get_meta("generation") or 0
        return Identity(1, self._directory, self._number("incarnation"), cast("int", generation))

    def get_meta(self, name: str) -> object | None:
        packed = self._store.contents.get(("meta", name))
        return None if packed is None else unpack(cast("bytes", packed))

    def put_meta(self, name: str, value: object) -> None:
        self.put_metas({name: value})

    def put_metas(self, values: Mapping[str, object]) -> None:
        self.begin_put_metas(values)
        self.finish_sync()

    def stage(self, checkpoint: int, chunks: Sequence[bytes]) -> None:
        self.begin_stage(checkpoint, chunks)
        self.finish_sync()

    def abandon(self) -> None:
        self.begin_abandon()
        self.finish_sync()

    def prepare(self, checkpoint: int, record: bytes) -> None:
        self.begin_prepare(checkpoint, record)
        self.finish_sync()

    def prepared(self) -> tuple[int, bytes] | None:
        checkpoint, _, record = self._prepared
        return (checkpoint, record) if checkpoint else None

    def complete(self, checkpoint: int, record: bytes, drop_before: int) -> None:
        self.begin_complete(checkpoint, record, drop_before)
        self.finish_sync()

    def checkpoint(self) -> int:
        return self._number("checkpoint")

    def record(self) -> bytes | None:
        return cast("bytes | None", self._store.contents.get(("record",)))

    def manifest(self) -> list[tuple[int, int]]:
        named = [(k[1], v) for k, v in self._store.contents.items() if k[0] == "manifest"]
        return sorted(cast("list[tuple[int, int]]", named))

    def chunk(self, checkpoint: int, index: int) -> bytes:
        chunk = self._store.contents.get(("chunk", checkpoint, index))
        if chunk is None:
            raise DamagedError(f"state, checkpoint {checkpoint}, chunk {index}", "it is missing")
        return cast("bytes", chunk)

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        for checkpoint, count in self.manifest():
            for index in range(count):
                yield checkpoint, self.chunk(checkpoint, index)

    def fold(self, rows: Sequence[Row], upto: tuple[int, int]) -> None:
        self.begin_fold(rows, upto)
        self.finish_sync()

    def folded(self) -> tuple[int, int]:
        return cast("tuple[int, int]", self._store.contents.get(("folded",), (0, 0)))

    def load(self, step: int, keys: Sequence[bytes]) -> list[bytes | None]:
        contents = self._store.contents
        return [cast("bytes | None", contents.get(("row", step, key))) for key in keys]

    def rows_of(self, step: int) -> Iterator[tuple[bytes, bytes]]:
        yield from ((key, image) for of, key, image in self.all_rows() if of == step)

    def all_rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        found = [(k[1], k[2], v) for k, v in self._store.contents.items() if k[0] == "row"]
        yield from sorted(cast("list[tuple[int, bytes, bytes]]", found))

    def size(self) -> StateSize:
        manifest = self.manifest()
        lengths = [len(chunk) for _, chunk in self.chunks()]
        return StateSize(len(manifest), len(lengths), sum(lengths), self._number("rows"))

    def close(self) -> None:
        """Nothing is held."""


def _nothing() -> None:
    """What follows a sync that changes nothing in the twin."""


def _check_mark(name: str, store: MemoryStore, holds: tuple[int, ...]) -> None:
    """Raise DamagedError if the mark says that the store once held more: un-synced commits are gone."""
    if store.mark is not None and any(noted > held for noted, held in zip(store.mark, holds, strict=True)):
        raise DamagedError(name, f"it held {store.mark} once and holds {holds}")
