"""Simulated time and chance: what happens next in a world, and by which draw.

Invariant: two runs from one seed make the same calls in the same order. Hence no clock, no module-level
generator and no order of a set here or in anything that a schedule calls; every use of chance has a stream
with a name of its own, so that one more draw in one place leaves the others as they were.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

Action = Callable[[], None]


class Streams:
    """One generator per name, each derived from the seed alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def __getitem__(self, name: str) -> Random:
        """Return the stream of that name, the same one every time."""
        stream = self._streams.get(name)
        if stream is None:
            # Seeded with a text, a generator takes its digest, which does not depend on the hash seed.
            stream = self._streams[name] = Random(f"{self._seed}/{name}")
        return stream


class Schedule:
    """Actions by simulated time, in milliseconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ordered = 0  # breaks ties: first ordered, first done
        self._heap: list[tuple[float, int, Action]] = []

    def at(self, time: float, action: Action) -> None:
        """Do `action` at `time`, or now where that has passed."""
        self._ordered += 1
        heapq.heappush(self._heap, (max(time, self.now), self._ordered, action))

    def after(self, delay: float, action: Action) -> None:
        """Do `action` when `delay` milliseconds have passed."""
        self.at(self.now + delay, action)

    def step(self) -> bool:
        """Do the next action; return False where there is none."""
        if not self._heap:
            return False
        self.now, _, action = heapq.heappop(self._heap)
        action()
        return True
