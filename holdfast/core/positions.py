"""Positions: where messages stand in the serial order, and merging by them.

A position is a tuple: (turn, partition, number, *path) for what a record caused, (turn, TIMER, due, step, canonical
key, timer's name, *path) for what a timer caused. TIMER sorts before every partition, so a turn's timers come before
its records. Tuples compare lexicographically; two positions of one inlet never are equal and never of mixed types at
one place, because they part at the latest where their message became several.
Where `Plan.numbers_suffice`, an int stands for each in its order: `number_base(turn, partition)` and a count.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Position: TypeAlias = tuple[Any, ...]

TIMER: Final = -1
NUMBER_BITS: Final = 32  # of the count: messages that one member's sources give in one epoch


def number_base(turn: int, partition: int, partitions: int) -> int:
    """What is added to the count of messages, so that numbers sort as (turn, partition, count)."""
    return (turn * partitions + partition) << NUMBER_BITS


class Column:
    """What one inlet received from one feeder, in order: parallel lists, reused from slice to slice."""

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
