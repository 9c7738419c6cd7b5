"""The state: checkpoints as chunks, rows (one per entity) and small durable records, as a Protocol.

Invariant: a checkpoint's chunks count only once it is complete, and then all of them are there; a row is
given back as it was folded, is absent only because it was deleted or never folded, or `DamagedError` names
the place. `storage.lmdb_state` keeps it on disk, `storage.memory` in memory; tests/storage/conformance.py is
the contract as tests. What a chunk, a record or an image means is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# One entity's row as it is folded: (step, canonical key, image or None to delete the row).
Row = tuple[int, bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose data directory this is, and in which life."""

    version: int  # of the format
    directory: str  # drawn when the directory was created
    incarnation: int  # drawn at every open, rising
    generation: int  # the meta record "generation", 0 before the first


@dataclass(frozen=True, slots=True)
class StateSize:
    """What `inspect` says about the state."""

    checkpoints: int  # whose chunks are kept
    chunks: int
    chunk_bytes: int
    rows: int


class State(Protocol):
    """Checkpoints, rows and small records of one worker.

    Raises: `DamagedError` where something read is not what was written, `DiskFullError` and `StorageError`
    where something could not be written; after these two nothing more may be called but `close`.
    """

    def identity(self) -> Identity:
        """Return the directory's identity and this life's incarnation."""
        ...

    def get_meta(self, name: str) -> object | None:
        """Return the record put under `name`, or None."""
        ...

    def put_meta(self, name: str, value: object) -> None:
        """Make one record durable. `value` is anything msgpack packs; tuples come back as lists."""
        ...

    def put_metas(self, values: Mapping[str, object]) -> None:
        """Make several records durable in one transaction."""
        ...

    def stage(self, checkpoint: int, chunks: Sequence[bytes]) -> None:
        """Write chunks of a checkpoint that is not complete yet, numbered from 0 in the order of the calls.

        `checkpoint` must be newer than the last complete one, and not the prepared one. What is staged or prepared
        of another checkpoint is dropped.
        """
        ...

    def prepare(self, checkpoint: int, record: bytes) -> None:
        """Make durable that all chunks of a checkpoint are staged: other than what is merely staged it survives the
        end of this life. It counts once it is complete.

        What is staged or prepared of another checkpoint is dropped.
        """
        ...

    def prepared(self) -> tuple[int, bytes] | None:
        """Return (checkpoint, record) of what is prepared and neither complete nor dropped, perhaps in another life."""
        ...

    def abandon(self) -> None:
        """Drop what is staged or prepared."""
        ...

    def complete(self, checkpoint: int, record: bytes, drop_before: int) -> None:
        """Make `record` the checkpoint, count its staged or prepared chunks, drop those of checkpoints <
        `drop_before`; all or nothing.

        What is staged or prepared of another checkpoint is dropped.
        """
        ...

    def checkpoint(self) -> int:
        """Return the number of the last complete checkpoint, 0 before the first."""
        ...

    def record(self) -> bytes | None:
        """Return the record of the last complete checkpoint."""
        ...

    def manifest(self) -> list[tuple[int, int]]:
        """Return (checkpoint, number of its chunks) for every complete checkpoint that is kept, oldest
        first.
        """
        ...

    def chunk(self, checkpoint: int, index: int) -> bytes:
        """Return one chunk of a complete checkpoint that is kept."""
        ...

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield (checkpoint, chunk) for all that `manifest` names, oldest first. Nothing may be dropped
        meanwhile.
        """
        ...

    def fold(self, rows: Sequence[Row], upto: tuple[int, int]) -> None:
        """Put and delete rows and record `upto` (checkpoint, number of its chunks that are folded) in one
        transaction.
        """
        ...

    def folded(self) -> tuple[int, int]:
        """Return the `upto` of the last `fold`, (0, 0) before the first."""
        ...

    def load(self, step: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the images of a step's keys, None where there is no row."""
        ...

    def rows_of(self, step: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield (canonical key, image) of every row of a step. Nothing may be folded meanwhile."""
        ...

    def all_rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (step, canonical key, image) of every row, by step. Nothing may be folded meanwhile."""
        ...

    def size(self) -> StateSize:
        """Return how much is held."""
        ...

    def close(self) -> None:
        """Release what is held; nothing may be called afterwards."""
        ...
