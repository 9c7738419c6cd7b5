"""What the runtime asks of a source and of a sink beyond decoding and encoding: reading, resuming, writing.

`core/connector.py` holds the pure half (decode, times, encode); this is the half that touches the world.
Every connector of this folder keeps these contracts, a user's own class is adapted to them (`contract.py`).
One thread at a time calls a reader or a writer, except where a method says otherwise.
Nothing here knows a file, a socket or an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core.types import TypeRegistry


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of one partition, raw as they are logged."""

    raw: bytes
    count: int  # records in `raw`, at least 1
    ended: bool  # nothing follows in this partition


class Reader(Protocol):
    """One partition, open for reading from an offset on."""

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        """Give the next records, or None once everything was given.

        A block may hold fewer records than asked for; a single record longer than `bytes_max` is given whole.
        A live partition waits here for its next record; after `close` from another thread it gives None.
        """

    def offset_after(self, count: int) -> object:
        """Where to resume after the first `count` records given since `open`; opaque and packable.

        `count` never falls from call to call: what lies before it is forgotten.
        """

    def close(self) -> None:
        """Let go of the partition. Any thread may call it, more than once; nothing is called after it."""


class OpenSource(Protocol):
    """The reading half of a source.

    It may say `acknowledges = True` and have `acknowledge(partition, offset)`: then it is told, in a thread beside the
    reading, what is durable; and `endless = True`: it goes on behind the end that another source of its name had met.
    """

    live: bool  # records arrive over time: ordered by their logged epoch

    def bind(self, registry: TypeRegistry) -> None:
        """Take the application's value types. Called before everything below, in every process."""

    def partitions(self) -> list[str]:
        """The partitions there are, in order; UsageError when an input is missing."""

    def open(self, partition: str, offset: object | None) -> Reader:
        """Read on after `offset` (None: from the start).

        InputChangedError when what was read up to it is no longer what it was, where that can be told.
        """

    def cut(self, raw: bytes, start: int, size: int) -> int:
        """Where the whole records end that begin at `start` of a raw block and take up to `size` bytes; pure.

        Always behind at least one record; `start` lies before the end of the block.
        """


class InterruptedWriteError(Exception):
    """A write was given up because its writer is being closed."""


class Writer(Protocol):
    """One sink, open for writing.

    One that may have to wait for somebody is of a sink that says `threaded = True`, and may have, for any thread:
    `hurry()`, the run is to end, and `interrupt()`, it is being closed: what is under way raises InterruptedWriteError.
    """

    def write(self, first_number: int, payload: Sequence[object], count: int) -> None:
        """Deliver the outputs numbered `first_number` to `first_number + count - 1`, skipping what is there.

        The numbers are consecutive from call to call, from the one after the checkpoint's on. `payload` holds
        what `encode` or `encode_column` gave; for bytes an element may hold several outputs.
        """

    def token(self) -> object | None:
        """What `open` needs to resume after all that was written up to now; packable."""

    def sync(self) -> None:
        """Make durable what was written. Any thread may call it, also during a write."""

    def finish(self) -> None:
        """The last output was written: check that nothing stands behind it."""

    def close(self) -> None:
        """Let go of the sink, without making anything durable."""


class OpenSink(Protocol):
    """The writing half of a sink."""

    def bind(self, registry: TypeRegistry) -> None:
        """Take the application's value types. Called before everything below, in every process."""

    def paths(self) -> list[str]:
        """The files that this sink writes and the data directory must own; none for other sinks."""

    def open(self, token: object | None, number: int, owned: bool) -> Writer:
        """Resume after output `number` (0: none) with the `token` of that checkpoint (None: no checkpoint).

        `owned` says that the data directory has durably recorded that `paths` are its own.
        """
