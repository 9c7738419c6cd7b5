"""Runs: many numbers of ranges, or many equal things in a row, as few numbers.

A run is two numbers, (first, count) of ranges that follow each other or (thing, count) of what repeats; runs stand
flat, one behind the other. Any sequence has runs; those that layouts are made of have few.
Invariant: reading gives back the sequence, and no bytes, however short, make it longer than `RUN_MEMBERS_MAX`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from holdfast.core.errors import FrameError

NUMBER_MAX: Final = 2**32 - 1
# In all runs of one frame together: 4096 ranges, held by 16 nodes each in four of its parts.
RUN_MEMBERS_MAX: Final = 1 << 18

_Number: TypeAlias = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Runs: TypeAlias = Annotated[tuple[_Number, ...], Meta(max_length=2 * RUN_MEMBERS_MAX)]


def runs(numbers: Iterable[int]) -> list[int]:
    """The runs of numbers that follow each other."""
    flat: list[int] = []
    following = -1
    for number in numbers:
        if number == following:
            flat[-1] += 1
        else:
            flat += (number, 1)
        following = number + 1
    return flat


def repeats(things: Iterable[int]) -> list[int]:
    """The runs of numbers that repeat."""
    flat: list[int] = []
    for thing in things:
        if flat and flat[-2] == thing:
            flat[-1] += 1
        else:
            flat += (thing, 1)
    return flat


class RunsReader:
    """Reads the runs of one frame."""

    def __init__(self) -> None:
        self._left = RUN_MEMBERS_MAX

    def numbers(self, flat: tuple[int, ...]) -> tuple[int, ...]:
        """What `runs` was given."""
        return tuple(number for first, count in self._pairs(flat) for number in range(first, first + count))

    def things(self, flat: tuple[int, ...]) -> list[int]:
        """What `repeats` was given."""
        return [thing for thing, count in self._pairs(flat) for _ in range(count)]

    def _pairs(self, flat: tuple[int, ...]) -> list[tuple[int, int]]:
        if len(flat) % 2:
            raise FrameError("a malformed frame: a run lacks its length")
        self._left -= sum(flat[1::2])
        if self._left < 0:
            raise FrameError(f"a malformed frame: more than {RUN_MEMBERS_MAX} ranges")
        return list(zip(flat[::2], flat[1::2], strict=True))
