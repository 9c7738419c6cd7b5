"""What the core needs to know of sources and sinks: how one record is decoded and how one output is encoded.

Both are pure. Opening, reading, cutting and writing belong to connectors and runtime; nothing of that may be
asked for here. A user's own source or sink may follow the smaller contracts at the end; runtime adapts them.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Record_co = TypeVar("Record_co", covariant=True)
Value_contra = TypeVar("Value_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A record that could not be decoded. It keeps its number; the source's `on_error` says what becomes of
    it."""

    raw: bytes
    error: Exception


class Sound(list[Any]):
    """Records none of which is `Undecodable`: a source that knows it says so by giving them as this."""

    __slots__ = ()


@dataclass(slots=True)
class Sent:
    """A record that came with its sender's id: a later one with the same id is a repeat and has no effect.

    The first step gets the message alone. `sequence` rises from message to message of one producer, by any step.
    """

    message: Any
    producer: str
    sequence: int


class Source(Protocol[Record_co]):
    """A source as the core sees it. `decode` must be deterministic in the raw bytes."""

    live: bool  # records arrive as they come and are ordered by logged epochs; otherwise finite and replayable

    def decode(self, raw: bytes) -> Sequence[Record_co | Undecodable]:
        """The records of one block, in order, as the first step gets them; never raises for what the block
        holds."""
        ...

    def times(self, records: list[Any], /) -> Sequence[int | None] | None:
        """Unix milliseconds per record (None where it is undecodable), or None: the logged clock counts."""
        ...


class Sink(Protocol[Value_contra]):
    """A sink as the core sees it. A sink may also have `encode_column(values) -> list | bytes | None`, a fast way for
    many, and `encode_each(values) -> list | None`, one that leaves them apart; and `partitions` (int) with
    `partition_of(value) -> int` and `by`, the user's function that this asks, if each of its partitions is a sequence
    of outputs of its own."""

    def encode(self, value: Value_contra, /) -> object:
        """One output as it will be written; raises for what this sink cannot write."""
        ...


class RecordReader(Protocol[Record_co]):
    """The contract for a source of the user's own: plain generators or async ones, no knowledge of the
    engine."""

    def partitions(self) -> Any:
        """The partitions' names, in order."""
        ...

    def read(
        self, partition: str, offset: Any, /
    ) -> Iterable[tuple[Record_co, Any]] | AsyncIterable[tuple[Record_co, Any]]:
        """Records with the offset after each, from `offset` on (None: from the start)."""
        ...


class OutputWriter(Protocol[Value_contra]):
    """The contract for a sink of the user's own: plain methods or async ones."""

    def resume(self, partition: str, token: Any, /) -> Any:
        """The number of the last output it has: 0 for none, None if it can't tell."""
        ...

    def write(self, partition: str, first_number: int, outputs: Sequence[Value_contra], /) -> Any:
        """Take outputs numbered from `first_number`; those it has already it skips."""
        ...

    def flush(self, partition: str, /) -> Any:
        """Make what was written durable; the result is the token that `resume` gets."""
        ...


def is_live(source: Any) -> bool:
    """Whether the source is live. A source of the user's own is, unless it says `live = False`."""
    return bool(getattr(source, "live", True))


def acknowledges(source: Any) -> bool:
    """Whether the source is to be told what is durable."""
    return getattr(source, "acknowledges", False) is True


def never_ends(source: Any) -> bool:
    """Whether more may come of a partition at any time, also where a former source of this name had ended it."""
    return getattr(source, "endless", False) is True


def remembered_by(source: Any) -> int | None:
    """Of how many messages the ids are remembered, by a source whose records may be `Sent`; None for all others."""
    remembered = getattr(source, "remembered", None)
    return remembered if type(remembered) is int else None


def partitions_of_sink(sink: Any) -> int | None:
    """Into how many partitions a sink parts its outputs, each numbered on its own; None where it is one sequence."""
    partitions = getattr(sink, "partitions", None)
    return partitions if type(partitions) is int and _has(sink, "partition_of") else None


def is_source(candidate: object) -> bool:
    """Whether the object looks like a source (an object, not a class)."""
    if isinstance(candidate, type):
        return False
    return _has(candidate, "decode") or _has(candidate, "partitions", "read")


def is_sink(candidate: object) -> bool:
    """Whether the object looks like a sink (an object, not a class)."""
    if isinstance(candidate, (type, str, bytes)):  # str has an `encode` of its own
        return False
    return _has(candidate, "encode") or _has(candidate, "write", "resume")


def _has(candidate: object, *methods: str) -> bool:
    return all(callable(getattr(candidate, method, None)) for method in methods)
