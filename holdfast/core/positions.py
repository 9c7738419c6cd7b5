"""Positions: where messages stand in the serial order, and merging by them.

A position is a tuple: (turn, partition, number, *path) for what a record caused, (turn, TIMER, due, step, canonical
key, timer's name, *path) for what a timer caused. TIMER sorts before every partition, so a turn's timers come before
its records. Tuples compare lexicographically; two positions of one inlet never are equal and never of mixed types at
one place, because they part at the latest where their message became several.
Where `Plan.numbers_suffice`, an int stands for each in its order: `number_base(turn, partition)` and a count.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

Position: TypeAlias = tuple[Any, ...]

TIMER: Final = -1
NUMBER_BITS: Final = 32  # of the count: messages that one member's sources give in one epoch


def number_base(turn: int, partition: int, partitions: int) -> int:
    """What is added to the count of messages, so that numbers sort as (turn, partition, count)."""
    return (turn * partitions + partition) << NUMBER_BITS


class Column:
    """What one inlet received from one feeder, or a piece of that, in order: parallel lists."""

    __slots__ = ("keys", "messages", "positions")

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.messages: list[Any] = []
        self.positions: list[Any] = []  # positions, or the numbers that stand for them

    def clear(self) -> None:
        """Forget the contents; the lists stay the same objects, because segments hold their methods."""
        self.keys.clear()
        self.messages.clear()
        self.positions.clear()

    def extend(self, other: Column) -> None:
        """Put the contents of another, which come later, behind the own."""
        self.keys += other.keys
        self.messages += other.messages
        self.positions += other.positions

    def part(self, start: int, end: int) -> Column:
        """The messages from `start` to `end` as a column of their own; this one, where that is all."""
        if start == 0 and end == len(self.messages):
            return self
        part = Column()
        part.keys = self.keys[start:end]
        part.messages = self.messages[start:end]
        part.positions = self.positions[start:end]
        return part


def merge(columns: list[Column]) -> Column:
    """One column in order of positions. A single filled one is returned as it is."""
    filled = [c for c in columns if c.messages]
    if len(filled) == 1:
        return filled[0]
    merged = Column()
    if not filled:
        return merged
    positions = [p for c in filled for p in c.positions]
    order = sorted(range(len(positions)), key=positions.__getitem__)  # finds and merges the sorted runs
    messages = [m for c in filled for m in c.messages]
    merged.positions = [positions[i] for i in order]
    merged.messages = [messages[i] for i in order]
    keys = [k for c in filled for k in c.keys]
    if keys:
        merged.keys = [keys[i] for i in order]
    return merged


def merge_runs(runs: Sequence[Iterator[Column]]) -> Iterator[Column]:
    """Several runs as one, in pieces. A run is columns none of which is empty, each in order and behind the one before.

    Every piece holds what lies up to the nearest end of a column, so it is about as large as the columns are: what
    works on one after the other stays in the processor's cache, which the whole of an epoch does not.
    """
    heads = [(head, 0, run) for run in runs if (head := next(run, None)) is not None]
    while len(heads) > 1:
        bound = min(column.positions[-1] for column, _, _ in heads)
        taken, left = [], []
        for column, start, run in heads:
            length = len(column.positions)
            end = length if column.positions[-1] == bound else bisect_right(column.positions, bound, start)
            if end > start:
                taken.append(column.part(start, end))
            if end < length:
                left.append((column, end, run))
            elif (following := next(run, None)) is not None:
                left.append((following, 0, run))
        heads = left
        yield merge(taken)
    for column, start, run in heads:
        yield column.part(start, len(column.messages))
        yield from run


def joined(columns: Iterable[Column]) -> Column:
    """A run as one column."""
    whole = Column()
    for column in columns:
        whole.extend(column)
    return whole


def in_order(
    keys: list[Any],
    messages: list[Any],
    positions: list[Position],
    alarms: list[tuple[Position, Any, str, int]],
) -> list[tuple[Position, Any, Any, int | None]]:
    """Messages and alarms of one step: (position, lookup key, message or timer's name, version or None)."""
    items: list[tuple[Position, Any, Any, int | None]] = [
        (p, k, m, None) for k, m, p in zip(keys, messages, positions, strict=True)
    ]
    if alarms:
        items.extend(alarms)
        items.sort(key=lambda item: item[0])
    return items
