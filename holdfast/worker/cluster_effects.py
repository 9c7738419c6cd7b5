"""What a member of a cluster orders beyond the orders of a single worker (`effects`).

As there: carried out in the order given; "answer" leads to exactly one event of that name. Orders to one store are
carried out one after the other, orders to different ones may overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.epochs import Cursor, LogEntry
from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Status
from holdfast.replication.messages import Envelope


@dataclass(frozen=True, slots=True)
class SendPeer:
    """Send to another member, in order, on the link of the envelope's generation; may be lost only with the link."""

    to: str  # node
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class SendStatus:
    """Tell the coordinator; replaces any status that has not left yet."""

    status: Status


@dataclass(frozen=True, slots=True)
class Quiesce:
    """Drop orders that have not begun, let what runs end, close sources and sinks. Answer: Quiet.

    No answer to an order given before comes after it.
    """


@dataclass(frozen=True, slots=True)
class AdoptFormation:
    """In one durable transaction: this generation is the latest; these logs take its number and are cut off.

    What is prepared of another checkpoint than the formation's is dropped. Answer: Adopted.
    """

    formation: Formation
    logs: tuple[tuple[int, int], ...]  # (partition, keep entries up to this epoch), of the partitions to hold


@dataclass(frozen=True, slots=True)
class InstallLog:
    """The log of a partition begins anew, empty, behind `base`, in the generation adopted. No answer."""

    partition: int
    base: Cursor


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """Write entries of any partitions held; several orders may share a commit. Answer: EntriesSynced."""

    ticket: int  # rising
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """Read a partition's entries of epochs after `after`, about `bytes_max` of them. Answer: EntriesRead."""

    partition: int
    after: int
    bytes_max: int
    reader: str  # who wants them: "" for the own replay, or the node of a backup


@dataclass(frozen=True, slots=True)
class ReadCursor:
    """Find where a partition stands after an epoch, at or behind the log's base. Answer: CursorRead."""

    partition: int
    epoch: int


@dataclass(frozen=True, slots=True)
class TrimEntries:
    """Drop entries of epochs <= `upto` of all logs held; bases move there. No answer.

    Partitions that are not in `keep` are dropped whole.
    """

    upto: int
    keep: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PrepareCheckpoint:
    """All its chunks are staged: make durable that it is whole. It survives a restart. Answer: CheckpointPrepared."""

    checkpoint: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Restart:
    """End this process and start a new incarnation of it. Nothing follows."""


ClusterEffect = (
    SendPeer
    | SendStatus
    | Quiesce
    | AdoptFormation
    | InstallLog
    | AppendEntries
    | ReadEntries
    | ReadCursor
    | TrimEntries
    | PrepareCheckpoint
    | Restart
)
