"""Which kill comes next: the schedules behind `holdfast chaos --scenario`.

All chance comes from one seeded generator. What a seed fixes is the schedule, not where in its work the killed process
is when a random moment comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from random import Random

from holdfast.runtime.points import (
    APPENDING,
    APPLIED,
    COMPLETING,
    KILL_POINTS,
    STAGING,
    SYNCED,
    TRIMMING,
    WRITING,
)

# About what a process needs until it reads new input.
STARTING_SECONDS = 0.6
# How often a point is passed before the kill, at most. What happens in every epoch is passed more often than what
# happens in every checkpoint.
EVERY_EPOCH = 12
_PASSAGES = dict.fromkeys((APPENDING, SYNCED, APPLIED, WRITING), EVERY_EPOCH) | {STAGING: 4, COMPLETING: 3, TRIMMING: 3}


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: at a passage of a named point, or after some time."""

    point: str = ""
    passage: int = 0
    seconds: float = 0.0
    recovering: bool = False  # counted from the start of the process instead of from its first new input

    def __str__(self) -> str:
        text = f"{self.point}, passage {self.passage}" if self.point else "random moment"
        return f"{text}, recovering" if self.recovering else text


def kills(scenario: str, random: Random, *, life_seconds: float, passages_max: int) -> Iterator[Kill]:
    """Yield kills for ever; a life that is killed at random lasts about `life_seconds`, others not many passages."""

    def at_random() -> Kill:
        return Kill(seconds=random.uniform(0.0, 2 * life_seconds))

    def recovering() -> Kill:
        return Kill(seconds=random.uniform(0.0, STARTING_SECONDS), recovering=True)

    def at(points: tuple[str, ...], *, recovering: bool = False) -> Iterator[Kill]:
        for point in cycle(random.sample(points, len(points))):
            # Before its first passage a life that has caught up has done nothing new.
            least = 2 if _PASSAGES[point] == EVERY_EPOCH and not recovering else 1
            most = max(least, min(_PASSAGES[point], passages_max))
            yield Kill(point, random.randint(least, most), recovering=recovering)

    match scenario:
        case "random":
            while True:
                yield at_random()
        case "points":
            yield from at(KILL_POINTS)
        case "delivery":
            yield from at((APPLIED, WRITING))
        case "checkpoint":
            yield from at((STAGING, COMPLETING, TRIMMING))
        case "recovery":
            for new, again in zip(at(KILL_POINTS), at(KILL_POINTS, recovering=True), strict=True):
                yield from (new, again, recovering())
        case _:
            for new, again in zip(at(KILL_POINTS), at(KILL_POINTS, recovering=True), strict=True):
                yield from (new, at_random(), again, at_random())
