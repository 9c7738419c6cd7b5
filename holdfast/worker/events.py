"""What happened to a worker: the only way in. Named in the past, frozen, without behaviour.

A shell turns completions of disks, sources and sinks into these and hands them to `Worker.handle` in the order in which
they happened. Time rides in the events (`now`, Unix milliseconds); the machine never reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.epochs import Epoch


@dataclass(frozen=True, slots=True)
class Started:
    """The stores are open and hold what survived: the answer to nothing, always the first event."""

    now: int
    record: bytes | None  # of the last complete checkpoint
    log_tail: int  # last epoch held by the log, 0 for none


@dataclass(frozen=True, slots=True)
class ChunksRead:
    """Answer to `ReadChunks`: checkpoint chunks, oldest first."""

    now: int
    chunks: tuple[bytes, ...]
    last: bool  # nothing follows


@dataclass(frozen=True, slots=True)
class LogRead:
    """Answer to `ReadLog`: consecutive epochs; empty when the log holds no more."""

    now: int
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, slots=True)
class SourceRead:
    """Answer to `ReadSource`. A finite source gives exactly as many records as asked, or ends."""

    now: int
    partition: int
    raw: bytes
    count: int
    offset: object  # opaque and packable: where to resume after this block
    ended: bool


@dataclass(frozen=True, slots=True)
class LogSynced:
    """Every epoch up to `epoch` is on disk."""

    now: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink has every output up to number `last`."""

    now: int
    sink: int
    last: int


@dataclass(frozen=True, slots=True)
class TokenTaken:
    """Answer to `TakeToken`: what the sink resumes from, as of that place in the order of deliveries."""

    now: int
    sink: int
    checkpoint: int
    token: object


@dataclass(frozen=True, slots=True)
class ChunksStaged:
    """Answer to `StageChunks`: these chunks of the checkpoint are on disk, but do not count yet."""

    now: int
    checkpoint: int
    chunks: int  # how many of them


@dataclass(frozen=True, slots=True)
class SinksSynced:
    """What the sinks were given before this checkpoint's tokens is durable."""

    now: int
    checkpoint: int


@dataclass(frozen=True, slots=True)
class CheckpointCompleted:
    """The checkpoint's record is on disk: from now on a return goes there."""

    now: int
    checkpoint: int


@dataclass(frozen=True, slots=True)
class RowsLoaded:
    """Answer to `LoadRows`: one row for each key asked, None where there is none."""

    now: int
    rows: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class RowsRead:
    """Answer to `ReadRows`: some of the rows."""

    now: int
    rows: tuple[tuple[bytes, bytes], ...]  # (canonical key, row)
    last: bool  # nothing follows


@dataclass(frozen=True, slots=True)
class RowsFolded:
    """Rows up to (checkpoint, chunk) stand in the rows; those chunks need not be read at a start any more."""

    now: int
    checkpoint: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed: at least every few milliseconds while something is in flight, and at the time `WakeAt` named."""

    now: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """End cleanly: no more intake, work off what is logged, checkpoint, finish."""

    now: int


Event = (
    Started
    | ChunksRead
    | LogRead
    | SourceRead
    | LogSynced
    | Delivered
    | TokenTaken
    | ChunksStaged
    | SinksSynced
    | CheckpointCompleted
    | RowsLoaded
    | RowsRead
    | RowsFolded
    | Ticked
    | StopAsked
)
