"""Turns: the steps in which serial order and time advance inside an epoch.

With finite sources only, a turn is a round of ROUND records of every partition; with any live source it is the epoch.
Inside a turn partitions go in order. A turn is cut into slices, which only bound how much is in hand at once: they
follow one another in serial order, so where they are cut changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

ROUND: Final = 64  # records of one partition in a round; fixed for ever, it decides the order of outputs


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one partition that stand together in a turn."""

    turn: int
    partition: int
    first: int  # number of the first record in its partition
    records: Sequence[Any]


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """One partition's part of an epoch, decoded."""

    partition: int
    first: int
    records: Sequence[Any]
    times: Sequence[int | None] | None  # per record, where the source gives them
    time: int  # otherwise: the logged time of the chunk


def greatest(times: Iterable[int | None]) -> int:
    """The greatest record time; an undecodable record has none, and time starts at 0."""
    return max((time for time in times if time is not None), default=0)


@dataclass(slots=True)
class Turn:
    """One turn: its parts in order, the time of each partition's part and the turn's own."""

    number: int
    parts: list[Part]
    part_times: dict[int, int]
    time: int = 0

    @property
    def count(self) -> int:
        """Records in it."""
        return sum(len(part.records) for part in self.parts)


def turns_of(
    chunks: Sequence[DecodedChunk], *, live: bool, clocks: dict[int, int], time: int
) -> Iterator[Turn]:
    """The turns of an epoch: of finite sources only, an epoch without records has none.

    `clocks` holds the time of every partition's previous chunk and is moved on; `time` is that of the turn before.
    """
    rounds = 1 if live else max(((len(c.records) + ROUND - 1) // ROUND for c in chunks), default=0)
    for number in range(rounds):
        turn = Turn(number, [], {})
        for chunk in chunks:
            start, end = (0, len(chunk.records)) if live else (number * ROUND, (number + 1) * ROUND)
            records = chunk.records[start:end]
            if not records and not live:
                continue
            own = chunk.time if chunk.times is None else greatest(chunk.times[start:end])
            clocks[chunk.partition] = max(own, clocks.get(chunk.partition, 0))
            time = max(time, clocks[chunk.partition])
            turn.part_times[chunk.partition] = clocks[chunk.partition]
            if records:
                turn.parts.append(Part(number, chunk.partition, chunk.first + start, records))
        turn.time = time
        yield turn
