"""What members of a generation tell each other: bodies, and the envelope that every one of them travels in.

A link is one direction between two members in one generation. Its messages are numbered from 1; a receiver takes them in
order and drops what it had. A number that is missing means that the link is broken, and a broken link is answered with a
new generation, never with a second try: so there is nothing to send again, and no message may meet a state that it was
not meant for.
Not here: how messages become bytes (wire), and what follows from them (worker).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.epochs import Cursor, LogEntry


@dataclass(frozen=True, slots=True)
class Reached:
    """What the sender has reached, in epochs; on every message, so that the minima need no round trip."""

    durable: int  # its inputs are logged as the policy asks
    replicated: int  # the last cut that all its backups hold, and whose tokens it holds itself
    delivered: int  # its sinks have all outputs up to here
    closed: int  # it can add nothing more to epochs up to here; others close them too
    due: int | None  # when its earliest timer is due, with live sources


@dataclass(frozen=True, slots=True)
class Opening:
    """What only the first stage of an epoch carries: how the sender opened it."""

    logged: bool  # something of it stands in the sender's logs; an epoch that is logged nowhere is no turn
    time: int  # the greatest time that the sender logged for it, 0 for none
    times: tuple[tuple[int, int, int], ...]  # (turn, partition, time of its part), where contexts or timers need them
    rounds: int | None  # of finite partitions, proposed for the epoch after the next; None: nothing to propose
    cut: bool  # the sender asks for a cut at the end of this epoch
    checkpoint: int  # … that is to become this checkpoint; 0 for none


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a feeder's segment gave in one epoch for the receiver's keys and sinks; perhaps nothing."""

    epoch: int
    feeder: int  # SOURCES or the index of the stateful step
    columns: tuple[tuple[int, bytes], ...]  # (inlet, packed column)
    opening: Opening | None  # given where the feeder is SOURCES


@dataclass(frozen=True, slots=True)
class Records:
    """All that one epoch has, in the sender's logs, of partitions whose senders the receiver keeps; perhaps nothing.

    They are durable where they come from as those are whose first stage is sent.
    """

    epoch: int
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What an epoch's records of one partition are answered: by their numbers, the images of the replies of each."""

    partition: int
    first: int
    count: int
    answers: tuple[tuple[int, tuple[bytes, ...]], ...]
    forgotten: tuple[int, ...]  # records whose answers are not remembered any more


@dataclass(frozen=True, slots=True)
class LogHeld:
    """A backup holds the partition's log, equal to the adopted one and durable, up to and including this epoch."""

    partition: int
    tail: int


@dataclass(frozen=True, slots=True)
class LogInstalled:
    """The backup's log of this partition begins anew, empty, after this place."""

    partition: int
    base: Cursor


@dataclass(frozen=True, slots=True)
class LogCopied:
    """Entries of the partition's log; `previous` is the epoch of the entry before them, or the base."""

    partition: int
    previous: int
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that ranges hold at the generation's cut, for a backup that has nothing of them."""

    ranges: tuple[int, ...]
    chunks: tuple[bytes, ...]
    last: bool  # no more snapshots follow from this sender


@dataclass(frozen=True, slots=True)
class UpdateSet:
    """The images of the receiver's ranges that were touched since the cut before; perhaps none. Or a part of them."""

    cut: int
    chunks: tuple[bytes, ...]
    last: bool = True  # no more of this cut follow from this sender


@dataclass(frozen=True, slots=True)
class ImagesHeld:
    """The receiver of snapshots and update sets holds all images of the sender's ranges as of this cut."""

    cut: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where the sender's sinks stand at a cut, once they have all outputs up to it.

    At the generation's own cut everyone sends this first of all, for those who were not there before.
    """

    cut: int
    time: int  # of the last turn at the cut; 0: the sender does not know
    sinks: tuple[tuple[int, int, bytes], ...]  # (sink, number of its last output, packed token)


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing but what the sender has reached."""


Message = (
    Stage | Records | Answered | LogHeld | LogInstalled | LogCopied | Snapshot | UpdateSet | ImagesHeld | Tokens | Beat
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on one link."""

    generation: int
    sender: str  # node
    incarnation: int  # of the sender
    number: int  # on this link in this generation, from 1
    reached: Reached
    message: Message


def size_of(message: Message) -> int:
    """About how many bytes of others' data a message keeps in memory."""
    match message:
        case Stage():
            return sum(len(packed) for _, packed in message.columns)
        case LogCopied() | Records():
            return sum(len(entry.chunk.raw) for entry in message.entries)
        case Snapshot() | UpdateSet():
            return sum(map(len, message.chunks))
        case _:
            return 0
