"""Recoveries: the latest changes of generation, and when each of their phases was over. For people and for metrics.

    detected ─ chosen ─ returned ─ replayed ─ flowing
Nothing is decided by it. Invariant: times of one recovery never fall, and none is told before those in front of it.
What the coordinator did and why, in words, is in the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Status

KEPT: Final = 50
REASONS_KEPT: Final = 8  # of one recovery: others may come before the first has led to anything


class Kind(Enum):
    """What led to another generation."""

    START = "start"  # of the cluster
    PLANNED = "planned"  # nothing was lost: somebody joins, leaves, or has got what it lacked
    FAILURE = "failure"  # a worker or a link was lost, or a call failed


@dataclass(slots=True)
class Recovery:
    """One of them. Times are Unix milliseconds; None: not yet."""

    why: list[str]
    kind: Kind
    detected: int  # it was found that the generation can't go on, or should not
    generation: int | None = None  # that came of it
    chosen: int | None = None  # the cut was chosen and the generation recorded
    returned: int | None = None  # every member stood at the cut
    replayed: int | None = None  # everything logged before was worked off again
    flowing: int | None = None  # its outputs were delivered: from here on outputs are new

    @property
    def phases(self) -> dict[str, int | None]:
        """Milliseconds from `detected` to the end of each phase."""
        ends = {"chosen": self.chosen, "returned": self.returned, "replayed": self.replayed, "flowing": self.flowing}
        return {name: None if end is None else end - self.detected for name, end in ends.items()}


class Recoveries:
    """The latest, oldest first; counts are of this life of the coordinator."""

    def __init__(self) -> None:
        self.latest: deque[Recovery] = deque(maxlen=KEPT)
        self.counts = dict.fromkeys(Kind, 0)
        self.over = 0  # of those of this life

    def resume(self, earlier: Iterable[Recovery]) -> None:
        """Begin with those of earlier lives that were over."""
        self.latest.extend(earlier)

    def begin(self, now: int, why: str, kind: Kind) -> None:
        """Another generation is needed. Before outputs flow again that only makes the recovery under way longer."""
        last = self.latest[-1] if self.latest else None
        if last is None or last.flowing is not None:
            self.latest.append(Recovery([why], kind, now))
            self.counts[kind] += 1
            return
        if len(last.why) < REASONS_KEPT and why not in last.why:
            last.why.append(why)
        if last.kind is Kind.PLANNED and kind is Kind.FAILURE:
            self.counts[last.kind] -= 1
            self.counts[kind] += 1
            last.kind = kind
        last.generation = last.chosen = last.returned = last.replayed = None

    def choose(self, now: int, generation: int) -> None:
        """The generation is recorded."""
        last = self._open
        if last is not None and last.chosen is None:
            last.generation, last.chosen = generation, now

    def advance(self, now: int, formation: Formation, statuses: Sequence[Status]) -> None:
        """All members work in the generation, and say how far they are."""
        last = self._open
        if last is None or last.generation != formation.number:
            return
        last.returned = last.returned or now
        if last.replayed is None and all(own.applied >= formation.level for own in statuses):
            last.replayed = now
        if last.replayed is not None and all(own.delivered >= formation.level for own in statuses):
            last.flowing = now
            self.over += 1

    @property
    def _open(self) -> Recovery | None:
        last = self.latest[-1] if self.latest else None
        return last if last is not None and last.flowing is None else None
