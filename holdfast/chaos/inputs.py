"""Sources of a world: records that are there from the start, or arrive over simulated time.

A live input gives what has arrived; a finite one gives exactly what is asked for, or ends. Both keep records
in the blocks of the application's own value source, so that framing, offsets and their checks are the real
ones. A record may carry a time. What is read and not logged when a process dies is simply read again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from holdfast.connectors.memory import MemorySource
from holdfast.core.connector import Sent, Undecodable
from holdfast.core.serial_order import At
from holdfast.core.types import TypeRegistry

BYTES_MAX = 1 << 62  # records are counted here, never bytes
REMEMBERED = 1 << 20  # ids: more than there are, because what is forgotten depends on how finite inputs are cut
BROKEN = None  # stands in a block where the time of a record would, if that can't be decoded


class SimulatedSource:
    """Stands in for a source of the application: the same records, live or not, each with its time."""

    acknowledges = True  # what is told of is checked, and changes nothing: see `records_before`

    def __init__(self, records: Mapping[str, Sequence[object]], *, live: bool) -> None:
        self.live = live
        self.timed = any(isinstance(record, At) for part in records.values() for record in part)
        if any(isinstance(record, Sent) for part in records.values() for record in part):
            self.remembered = REMEMBERED
        self._blocks: MemorySource[Any] = MemorySource(
            {name: list(map(_pair, part)) for name, part in records.items()}
        )
        self._times: tuple[list[Any], list[int | None]] | None = None

    def bind(self, registry: TypeRegistry) -> None:
        """Take the application's value types."""
        self._blocks.bind(registry)

    def partitions(self) -> list[str]:
        """Names of the partitions, in order."""
        return self._blocks.partitions()

    def decode(self, raw: bytes) -> list[Any]:
        """The records of a block."""
        stored: list[Any] = self._blocks.decode(raw)
        records = [_unpair(time, record) for time, record in stored]
        self._times = (records, [0 if type(time) is tuple else time for time, _ in stored])
        return records

    def times(self, records: Sequence[Any]) -> list[int | None] | None:
        """The times of the records that were decoded last."""
        if not self.timed:
            return None
        if not records:
            return []
        assert self._times is not None, "times are asked for records that were decoded"
        assert self._times[0] is records, "times are asked for the records just decoded"
        return self._times[1]

    def cut(self, raw: bytes, start: int, size: int) -> int:
        """Where the whole records end that begin at `start` and take up to `size` bytes."""
        return self._blocks.cut(raw, start, size)

    def open(self, partition: str, offset: object | None) -> Any:
        """Read on after `offset`."""
        return self._blocks.open(partition, offset)


def records_before(offset: object) -> int:
    """How many records of a partition lie before an offset that its reader gave."""
    assert isinstance(offset, (list, tuple)), offset
    return int(offset[0])


def undecodable(raw: bytes) -> Undecodable:
    """A record that can't be decoded, the same for the machine and the reference."""
    return Undecodable(raw, ValueError("not to be read"))


def _unpair(time: Any, record: Any) -> Any:
    if time is BROKEN:
        return undecodable(record)
    return Sent(record, *time) if type(time) is tuple else record


def _pair(record: object) -> tuple[object, object]:
    if isinstance(record, Undecodable):
        return BROKEN, record.raw  # it has no time either
    if isinstance(record, Sent):
        return (record.producer, record.sequence), record.message  # in the place of a time, which it has not
    return (record.time, record.record) if isinstance(record, At) else (0, record)


@dataclass(frozen=True, slots=True)
class Input:
    """One partition of the world."""

    source: SimulatedSource
    name: str
    arrivals: tuple[float, ...]  # of its records, in milliseconds since the world began
    ends: bool  # says so when it has given everything; otherwise it goes on waiting
    notices_end: bool  # with the last record, not only when asked for more


class OpenInput:
    """One partition, open in one process."""

    def __init__(self, opened: Input, offset: object | None, now: Callable[[], float]) -> None:
        self._input = opened
        self._now = now
        self._reader = opened.source.open(opened.name, offset)
        self._start = 0 if offset is None else records_before(offset)
        self._given = 0

    @property
    def _position(self) -> int:
        return self._start + self._given

    def ready(self) -> float | None:
        """Return when the next read has something to give; None for never."""
        arrivals = self._input.arrivals
        if not self._input.source.live:
            return 0.0
        if self._position < len(arrivals):
            return arrivals[self._position]
        return 0.0 if self._input.ends else None

    def read(self, records_max: int) -> tuple[bytes, int, object, bool]:
        """Return (raw, records, offset after them, whether that was all)."""
        arrivals = self._input.arrivals
        there = len(arrivals)
        if self._input.source.live:
            there = bisect_right(arrivals, self._now())
        before = self._given
        wanted = min(records_max, there - self._position)
        raws = []
        while self._given - before < wanted:
            block = self._reader.read(wanted + before - self._given, BYTES_MAX)
            raws.append(block.raw)
            self._given += block.count
        ended = self._input.ends and self._position == len(arrivals)
        if wanted == records_max and not self._input.notices_end:
            ended = False
        return b"".join(raws), self._given - before, self._reader.offset_after(self._given), ended


def draw_arrivals(random: Random, count: int) -> tuple[float, ...]:
    """Draw when records come: in bursts and drops, with idle gaps between."""
    pace = random.choice((0.0, 0.05, 1.0, 8.0))
    gap = random.choice((0.0, 20.0, 300.0, 5_000.0))
    burst = random.choice((1, 3, 20, 200))
    time = 0.0
    arrivals = []
    for _ in range(count):
        time += random.expovariate(1.0) * (gap if random.random() * burst < 1 else pace)
        arrivals.append(time)
    return tuple(arrivals)
