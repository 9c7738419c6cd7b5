"""What happens to a member of a cluster beyond what happens to a single worker (`events`).

As there: named in the past, frozen, in the order in which it happened; time rides in the events.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.epochs import Cursor, Lineage, LogEntry
from holdfast.recovery.messages import Order
from holdfast.replication.messages import Envelope


@dataclass(frozen=True, slots=True)
class Found:
    """What the disk holds, durably."""

    adopted: int  # the latest generation adopted, 0 for none
    logs: tuple[tuple[int, Lineage], ...]  # by partition
    complete: tuple[int, bytes] | None  # the last complete checkpoint and its record
    prepared: tuple[int, bytes] | None  # a prepared one that does not count yet


@dataclass(frozen=True, slots=True)
class Booted:
    """The stores are open: always the first event."""

    now: int
    node: str
    incarnation: int  # drawn durably for this life
    found: Found


@dataclass(frozen=True, slots=True)
class Ordered:
    """The coordinator has sent an order; perhaps an old one, or the same again."""

    now: int
    order: Order


@dataclass(frozen=True, slots=True)
class LineMade:
    """The connection to the coordinator was made, perhaps again: what was said before may be lost."""

    now: int


@dataclass(frozen=True, slots=True)
class PeerSent:
    """A message of another worker has come; perhaps an old one, or the same again."""

    now: int
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The connection to or from a node broke, could not be made, or has been silent for too long."""

    now: int
    node: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """Answer to `Quiesce`."""

    now: int
    found: Found


@dataclass(frozen=True, slots=True)
class Adopted:
    """Answer to `AdoptFormation`."""

    now: int
    generation: int


@dataclass(frozen=True, slots=True)
class EntriesSynced:
    """Entries up to those of this ticket are on disk."""

    now: int
    ticket: int


@dataclass(frozen=True, slots=True)
class EntriesRead:
    """Answer to `ReadEntries`: consecutive entries; none when the log holds no more."""

    now: int
    partition: int
    reader: str  # as it was ordered
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class CursorRead:
    """Answer to `ReadCursor`: where a partition stands after an epoch."""

    now: int
    partition: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class CheckpointPrepared:
    """Answer to `PrepareCheckpoint`."""

    now: int
    checkpoint: int


@dataclass(frozen=True, slots=True)
class OutputLost:
    """A sink that was to be opened as of a cut in memory does not certainly have all that was written up to it."""

    now: int
    sink: int


ClusterEvent = (
    Booted
    | Ordered
    | LineMade
    | PeerSent
    | LinkLost
    | Quiet
    | Adopted
    | EntriesSynced
    | EntriesRead
    | CursorRead
    | CheckpointPrepared
    | OutputLost
)
