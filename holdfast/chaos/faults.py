"""What goes wrong in a world, and when: a list drawn before the run, to be printed and shortened.

A boundary is a moment between two things that a process does: an event was handled, one order of its effects
was given, one work was done by a disk or sink whose answer has not arrived. A fault names a kind of boundary
and strikes at the n-th one after the fault before it; if that never comes, it strikes after `PATIENCE`
boundaries of any kind. What a fault does to a process is the node's; a fault never does more than the promise
covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Generic, Protocol, TypeVar

PATIENCE = 150  # boundaries; about as long as a small application runs


class FaultKind(Enum):
    """What goes wrong."""

    KILL = "kill"  # the process ends here; what it wrote is still in the page cache
    POWER_LOSS = "power-loss"  # and what was not synced is lost, in part or torn
    STOP = "stop"  # a clean stop is asked for, and a start once it has ended
    PAUSE = "pause"  # the process stands still, its disks and sources go on
    SLOW = "slow"  # its disks and sinks take many times as long for a while
    CLOCK_JUMP = "clock-jump"  # its clock is set forward or back


ENDINGS = (FaultKind.KILL, FaultKind.POWER_LOSS, FaultKind.STOP)
# How often a kind comes among those that a seed may meet; without kills and power losses nothing is proved.
WEIGHTS = {
    FaultKind.KILL: 3,
    FaultKind.POWER_LOSS: 3,
    FaultKind.STOP: 2,
    FaultKind.PAUSE: 1,
    FaultKind.SLOW: 1,
    FaultKind.CLOCK_JUMP: 1,
}
ANY = "any"

# Boundaries that are rare among all of them and dangerous: faults look for these half of the time.
MOMENTS = (
    "done ReadChunks",
    "done ReadLog",
    "handled LogRead",
    "done ReadSource",
    "handled SourceRead",
    "ordered AppendLog",
    "done AppendLog",
    "handled LogSynced",
    "ordered Deliver",
    "done Deliver",
    "handled Delivered",
    "done TakeToken",
    "ordered StageChunks",
    "done StageChunks",
    "handled ChunksStaged",
    "ordered SyncSinks",
    "done SyncSinks",
    "ordered CompleteCheckpoint",
    "done CompleteCheckpoint",
    "handled CheckpointCompleted",
    "ordered TrimLog",
    "done TrimLog",
    "ordered FoldRows",
    "done FoldRows",
    "done LoadRows",
    "ordered Return",
    "handled Started",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    moment: str  # a boundary as the node names it, or ANY
    count: int  # the how-manieth such boundary after the fault before
    amount: float  # how long (PAUSE, SLOW) or far (CLOCK_JUMP), in milliseconds
    down_ms: float  # from the end of the process to the next start

    def __str__(self) -> str:
        text = f"{self.kind.value} at {self.moment!r} #{self.count}"
        if self.kind in ENDINGS:
            return f"{text}, back after {self.down_ms:.0f} ms"
        return f"{text}, {self.amount:.0f} ms"


def draw_faults(random: Random) -> tuple[Fault, ...]:
    """Draw which kinds this seed may meet, how close together they come, and then the list."""
    kinds = [kind for kind, weight in WEIGHTS.items() if random.random() < 0.6 for _ in range(weight)]
    if not kinds or random.random() < 0.03:
        return ()  # some worlds are quiet: what fails there is no matter of recovery
    storm = random.random() < 0.25  # many in quick succession
    reach = random.choice((2, 6, 15, 50, 200))
    moments = random.sample(MOMENTS, k=random.randint(1, len(MOMENTS)))
    number = random.randint(6, 24) if storm else random.choice((1, 2, 3, 4, 6, 9, 14))
    faults = [_draw_fault(random, kinds, moments, 3 if storm else reach) for _ in range(number)]
    if random.random() < 0.1:
        # Some partitions have answered and some not; otherwise seldom met, as most inputs are read at once.
        faults.insert(0, Fault(FaultKind.STOP, "handled SourceRead", random.randint(1, 4), 0.0, 1.0))
    return tuple(faults)


def _draw_fault(random: Random, kinds: Sequence[FaultKind], moments: Sequence[str], reach: int) -> Fault:
    kind = random.choice(kinds)
    if random.random() < 0.5:
        moment, count = ANY, random.randint(1, reach)
    else:
        moment, count = random.choice(moments), random.choice((1, 1, 1, 2, 2, 3, 5))
    amount = random.choice((3.0, 20.0, 150.0, 2_000.0, 60_000.0))
    if kind is FaultKind.CLOCK_JUMP and random.random() < 0.5:
        amount = -amount
    return Fault(kind, moment, count, amount, random.choice((0.0, 1.0, 30.0, 5_000.0)))


class Armed(Protocol):
    """What every fault says: where it strikes."""

    @property
    def moment(self) -> str: ...

    @property
    def count(self) -> int: ...


F = TypeVar("F", bound=Armed)


class FaultList(Generic[F]):
    """The faults of one world, armed one after the other."""

    def __init__(self, faults: Sequence[F], kept: Sequence[int] | None, patience: int = PATIENCE) -> None:
        """Arm the first of `faults`; of these only the ones numbered in `kept`, all where that is None."""
        chosen = range(len(faults)) if kept is None else kept
        self._patience = patience
        self._faults = [(number, faults[number]) for number in chosen]
        self._next = 0
        self._passed = 0  # boundaries since the fault before
        self._seen = 0  # of these, the ones that the armed fault waits for
        self.struck: list[int] = []  # numbers of the faults that have struck

    @property
    def over(self) -> bool:
        """Whether nothing more goes wrong."""
        return self._next == len(self._faults)

    def pass_boundary(self, name: str) -> F | None:
        """Return the fault that strikes at this boundary, if one does."""
        if self.over:
            return None
        _, fault = self._faults[self._next]
        self._passed += 1
        self._seen += fault.moment in (ANY, name)
        if self._seen < fault.count and self._passed < self._patience:
            return None
        return self.strike()

    def strike(self) -> F:
        """Return the fault that is armed, which strikes now, and arm the next."""
        number, fault = self._faults[self._next]
        self.struck.append(number)
        self._next += 1
        self._passed = self._seen = 0
        return fault
