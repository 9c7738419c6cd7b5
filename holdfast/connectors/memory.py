"""Records from, and outputs to, plain Python lists in this process: for tests and for embedding.

The source encodes a record when it is read, so what was read can be told from what stands there now: its
offset is a count and a digest of the images up to it. The sink keeps its outputs across runs of an engine in
one process and skips those it has by their number; one sink object belongs to one data directory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

import xxhash

from holdfast.connectors import framing
from holdfast.connectors.framing import ValueFrames
from holdfast.connectors.interface import Block
from holdfast.connectors.record_times import RecordTimes
from holdfast.core.connector import Undecodable
from holdfast.core.copying import ATOMS, copy_value
from holdfast.core.errors import ApplicationError, InputChangedError, UsageError
from holdfast.core.serial_order import ONLY_PARTITION
from holdfast.core.types import TypeRegistry

T = TypeVar("T")


class MemorySource(Generic[T]):
    """Finite: the given records, in order; `{partition: records}` for several partitions."""

    live = False

    @overload
    def __init__(self, records: Mapping[str, Iterable[T]], *, time: Callable[[T], int] | None = None) -> None: ...

    @overload
    def __init__(self, records: Iterable[T], *, time: Callable[[T], int] | None = None) -> None: ...

    def __init__(
        self, records: Iterable[Any] | Mapping[str, Iterable[Any]], *, time: Callable[[Any], int] | None = None
    ) -> None:
        by_partition: Mapping[Any, Iterable[Any]]
        by_partition = records if isinstance(records, Mapping) else {ONLY_PARTITION: records}
        if not by_partition:
            raise ApplicationError("sources.Memory needs at least one partition")
        for name in by_partition:
            if not isinstance(name, str):
                raise ApplicationError(f"sources.Memory: the name of a partition is a str, not {name!r}")
        self._records: dict[str, list[T]] = {name: list(given) for name, given in by_partition.items()}
        self._frames = ValueFrames()
        self._times = None if time is None else RecordTimes(time)

    def bind(self, registry: TypeRegistry) -> None:
        self._frames = ValueFrames(registry)

    def partitions(self) -> list[str]:
        return list(self._records)

    def open(self, partition: str, offset: object | None) -> MemoryReader:
        if partition not in self._records:
            raise UsageError(f"sources.Memory has no partition {partition!r} any more")
        return MemoryReader(partition, self._records[partition], self._frames, offset)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[T | Undecodable]:
        records: list[Any] = self._frames.records(raw)
        if self._times is not None:
            self._times.mark(records, lambda index: framing.unpack(raw)[index])
        return records

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return None if self._times is None else self._times.times(records)


class MemoryReader:
    """Offset: [records before it, digest of their framed images]."""

    def __init__(self, partition: str, records: Sequence[object], frames: ValueFrames, offset: object | None) -> None:
        self._records = records
        self._frames = frames
        self._digest = xxhash.xxh3_64()
        self._given: deque[bytes] = deque()  # frames given that no offset covers yet
        self._covered = 0  # records before the last offset
        if offset is not None:
            assert isinstance(offset, list | tuple), offset
            self._covered, digest = offset
            self._verify(partition, digest)
        self._opened_at = self._position = self._covered

    def _verify(self, partition: str, digest: int) -> None:
        if len(self._records) < self._covered:
            raise InputChangedError(
                f"sources.Memory, partition {partition!r}: {self._covered} records were read, "
                f"only {len(self._records)} are there now"
            )
        for record in self._records[: self._covered]:
            self._digest.update(framing.pack([self._frames.image(record)]))
        if self._digest.intdigest() != digest:
            raise InputChangedError(
                f"sources.Memory, partition {partition!r}: the first {self._covered} records differ"
            )

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        stop = len(self._records) if records_max is None else min(self._position + records_max, len(self._records))
        frames: list[bytes] = []
        size = 0
        for record in self._records[self._position : stop]:
            frame = framing.pack([self._frames.image(record)])
            size += len(frame)
            if frames and size > bytes_max:
                break
            frames.append(frame)
        if not frames:
            return None
        self._position += len(frames)
        raw = b"".join(frames)
        self._given.extend(frames)
        return Block(raw, len(frames), ended=self._position == len(self._records))

    def offset_after(self, count: int) -> object:
        target = self._opened_at + count
        assert self._covered <= target <= self._position, (self._covered, target, self._position)
        for _ in range(target - self._covered):
            self._digest.update(self._given.popleft())
        self._covered = target
        return [target, self._digest.intdigest()]

    def close(self) -> None:
        pass


class MemorySink:
    """Keeps every output, in order, in `outputs`."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []
        self._before = 0  # outputs of an earlier process: `outputs[0]` has the number after it

    def bind(self, registry: TypeRegistry) -> None:
        """Values are kept as they are, so no types are needed."""

    def encode(self, value: object, /) -> object:
        """The value itself, out of reach of later changes."""
        return copy_value(value)

    def encode_column(self, values: list[Any], /) -> list[Any] | None:
        """The values where all of them are deeply immutable, else None."""
        return values if set(map(type, values)) <= ATOMS else None

    def paths(self) -> list[str]:
        return []

    def open(self, token: object | None, number: int, owned: bool) -> MemoryWriter:
        if not self.outputs:
            self._before = number
        return MemoryWriter(self)

    def append(self, first_number: int, values: Sequence[object]) -> None:
        """Keep the values that are not here yet, by their numbers."""
        last_number = self._before + len(self.outputs)
        assert first_number <= last_number + 1, (first_number, last_number)
        self.outputs.extend(values[last_number + 1 - first_number :])


class MemoryWriter:
    """Writes into its sink."""

    def __init__(self, sink: MemorySink) -> None:
        self._sink = sink

    def write(self, first_number: int, payload: Sequence[object], count: int) -> None:
        assert len(payload) == count, (len(payload), count)
        self._sink.append(first_number, payload)

    def token(self) -> object | None:
        return None

    def sync(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass
