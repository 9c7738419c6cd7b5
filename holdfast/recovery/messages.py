"""What a worker and the coordinator tell each other: two messages, level-triggered, numbered, the newest wins.

Each says everything that the other has to know, so that any of them may be lost, doubled or late: the next one mends
it.
What follows from them is decided by the coordinator (`coordinator`) and the worker's machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from holdfast.core.epochs import Lineage
from holdfast.recovery.generation import Formation, Limit


class Phase(Enum):
    """Where a worker is."""

    JOIN = "join"  # it has started and belongs to no generation
    FENCED = "fenced"  # it has promised to take no part in older generations
    ADOPT = "adopt"  # it makes a generation durable and returns to its cut
    RUN = "run"  # it replays and works
    OVER = "over"  # it was told to finish, and ends


@dataclass(frozen=True, slots=True)
class Remembered:
    """Ranges whose images a worker has in memory at every cut from `base` to `top`."""

    ranges: tuple[int, ...]
    base: int
    top: int


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A checkpoint on one disk."""

    number: int
    epoch: int
    limit: Limit | None
    ranges: tuple[int, ...]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker holds, once it has promised and its writers are idle: only what is durable, and its memory."""

    promise: int  # the number that was asked with
    adopted: int  # the latest generation that its disk has adopted, 0 for none
    sealed: int  # the greatest cut that it knows to be sealed, in `remembers`
    remembers: int  # the generation to whose cut its memory was last returned, 0: it has nothing in memory
    memory: tuple[Remembered, ...]
    logs: tuple[tuple[int, Lineage], ...]  # partition -> what its disk has
    complete: OnDisk | None  # the last checkpoint that its disk counts
    prepared: OnDisk | None  # one that is whole on its disk and counts once the coordinator says so


@dataclass(frozen=True, slots=True)
class Failure:
    """A call failed under on_error="stop"; everything before `limit` is to be worked off, then the cluster ends."""

    limit: Limit
    error: str


@dataclass(frozen=True, slots=True)
class Status:
    """A worker to the coordinator."""

    node: str
    incarnation: int
    number: int  # of this message in this life, rising
    phase: Phase
    generation: int  # that it runs or adopts; 0 for none
    promised: int  # takes no part in generations before this
    heard: int = 0  # number of the last order taken by this incarnation; all that follows is as of after it
    report: Report | None = None  # while FENCED and idle
    sealed: int = 0  # the last cut that it knows to be sealed
    closed: int = 0  # the last epoch that it has closed
    applied: int = 0
    changed: bool = False  # something was applied since the cut of the last checkpoint
    resting: bool = False  # closed = applied = durable = delivered at every member, nothing waits to be read here
    located: bool = False  # it knows where its partitions stand, and so whether they have ended
    ended: bool = False  # its partitions have all ended
    caught_up: bool = False  # its backups have everything that they lacked
    prepared: int = 0  # the checkpoint that is whole on its disk, sealed, with every range that it holds …
    prepared_at: int = 0  # … and its cut
    completed: int = 0  # the last one that counts
    lost: tuple[str, ...] = ()  # members that it can't reach or no longer hears
    careful: tuple[int, ...] = ()  # steps that must work carefully, beyond those of the generation
    failure: Failure | None = None  # told only once the epoch of its limit is durable at every member
    fatal: str | None = None  # it can't go on at all (a value that is none, say): the cluster ends with this error
    # The last epoch that its sinks have. For people: alone it is nothing new to say.
    delivered: int = field(default=0, compare=False)
    output_lost: bool = False  # an own sink has lost what it had at the cut in memory: only a checkpoint will do


@dataclass(frozen=True, slots=True)
class Ask:
    """Promise to take no part in generations before `promise`, and report."""

    promise: int


@dataclass(frozen=True, slots=True)
class Announce:
    """This is the generation."""

    formation: Formation


@dataclass(frozen=True, slots=True)
class Run:
    """Work in this generation."""

    generation: int
    stopping: bool = False  # open no epoch of your own, work off what others opened
    checkpoint: int = 0  # make this one as soon as possible; 0 for none
    complete: int = 0  # this one counts from now on
    finish: bool = False  # everything is sealed and checkpointed: end. Obeyed in any phase, by any generation


@dataclass(frozen=True, slots=True)
class Restart:
    """You belong to no generation any more: start again as a new incarnation."""


@dataclass(frozen=True, slots=True)
class Order:
    """The coordinator to a worker."""

    incarnation: int  # of the worker that is meant; others ignore it
    number: int  # rising over all lives of the coordinator
    order: Ask | Announce | Run | Restart
