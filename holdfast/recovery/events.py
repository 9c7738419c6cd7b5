"""What happens to the coordinator: the only way in. Time rides in the events; the machine reads no clock."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.recovery.messages import Status


@dataclass(frozen=True, slots=True)
class Kept:
    """What the coordinator's store holds: all that it must not forget."""

    drawn: int = 0  # the last generation number drawn
    life: int = 0  # of the coordinator; orders are numbered from it
    formation: Formation | None = None
    checkpoint: Checkpoint | None = None  # the last complete one
    reserved: int = 0  # the last checkpoint number that may have been ordered; never ordered in another life


@dataclass(frozen=True, slots=True)
class Started:
    """The store is open: always the first event. `kept.life` has been raised, durably, for this life."""

    now: int
    kept: Kept


@dataclass(frozen=True, slots=True)
class Heard:
    """A worker's status has come; perhaps an old one."""

    now: int
    status: Status


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The connection to a worker broke, or it has been silent for longer than the limit. Safety never rests on it."""

    now: int
    node: str
    incarnation: int = 0  # whose connection it was; 0: not known


@dataclass(frozen=True, slots=True)
class Stored:
    """Answer to `Store`."""

    now: int
    ticket: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed; comes every few tens of milliseconds."""

    now: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """End cleanly: no more intake, everything logged is worked off, a last checkpoint, finish."""

    now: int


@dataclass(frozen=True, slots=True)
class LeaveAsked:
    """These nodes are to hold nothing any more, and then to end."""

    now: int
    nodes: tuple[str, ...]


Event = Started | Heard | WorkerLost | Stored | Ticked | StopAsked | LeaveAsked
