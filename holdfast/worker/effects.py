"""What a worker orders: the only way out. Named as orders, frozen, without behaviour.

A shell carries them out in the order given. An order marked "answer" leads to exactly one event of that name; several
orders to the same store or sink are carried out one after the other, orders to different ones may overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.epochs import Epoch
from holdfast.core.errors import HoldfastError
from holdfast.core.replies import Answers


@dataclass(frozen=True, slots=True)
class ReadChunks:
    """Read the complete checkpoint's chunks. Answers: ChunksRead, as many as it takes."""


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read epochs after `after`, about `bytes_max` of them. Answer: LogRead."""

    after: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class OpenSource:
    """Open a partition where it resumes (`offset` None: at its start), before the first ReadSource."""

    partition: int
    offset: object


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Read up to `records_max` records. Answer: SourceRead, for a live source once at least one is there."""

    partition: int
    records_max: int


@dataclass(frozen=True, slots=True)
class AppendLog:
    """Write this epoch to the log and sync it; several may share one commit. Answer: LogSynced."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The partition's records before number `upto` are durable: their senders may be told."""

    partition: int
    upto: int


@dataclass(frozen=True, slots=True)
class TellSource:
    """Of this partition all that lies before the offset is durable: its source may be told. No answer."""

    partition: int
    offset: object


@dataclass(frozen=True, slots=True)
class Answer:
    """These records are applied, and this is what they sent through reply steps; also ordered of replayed epochs."""

    partition: int
    first: int
    count: int
    answers: Answers  # by number; FORGOTTEN for a repeat whose answer is not remembered


@dataclass(frozen=True, slots=True)
class OpenSink:
    """Open a sink as of the checkpoint resumed from (number 0 and token None at first), before the first Deliver.

    Where not `synced` it is a cut in memory: what the token names was written, but a power loss may have taken it. Then
    the answer may be OutputLost, and the sink is not open.
    """

    sink: int
    token: object
    number: int
    synced: bool = True


@dataclass(frozen=True, slots=True)
class Deliver:
    """Give outputs first, first + 1, … to the sink. Answer: Delivered."""

    sink: int
    epoch: int
    first: int
    count: int
    payload: tuple[object, ...]  # what the sink's encode gave for one output, or encode_column for many


@dataclass(frozen=True, slots=True)
class TakeToken:
    """Say where the sink stands after all deliveries ordered before this. Answer: TokenTaken."""

    sink: int
    checkpoint: int


@dataclass(frozen=True, slots=True)
class StageChunks:
    """Write chunks that do not count yet. Answer: ChunksStaged."""

    checkpoint: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SyncSinks:
    """Make durable what the sinks were given before this checkpoint's tokens. Answer: SinksSynced."""

    checkpoint: int


@dataclass(frozen=True, slots=True)
class CompleteCheckpoint:
    """Make `record` the checkpoint and drop chunks of checkpoints < `drop_before`. Answer: CheckpointCompleted."""

    checkpoint: int
    record: bytes
    drop_before: int


@dataclass(frozen=True, slots=True)
class TrimLog:
    """Drop the records of epochs <= `upto`; only ever ordered after the checkpoint that covers them is complete."""

    upto: int


@dataclass(frozen=True, slots=True)
class LoadRows:
    """Read entities from the rows. Answer: RowsLoaded."""

    step: int
    keys: tuple[bytes, ...]  # canonical


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Read all rows of a step. Answers: RowsRead, as many as it takes."""

    step: int


@dataclass(frozen=True, slots=True)
class FoldRows:
    """Write entities of a complete checkpoint's chunk as rows. Answer: RowsFolded."""

    checkpoint: int
    chunk: int
    rows: tuple[tuple[int, bytes, bytes | None], ...]  # (step, canonical key, image or None for removed)


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send Ticked at this time (Unix milliseconds): a timer is due then. Replaces the one before; None for never."""

    time: int | None


@dataclass(frozen=True, slots=True)
class Return:
    """Drop this machine and start another one from the stores, with these settings changed.

    A call failed after state was touched: the work since the last checkpoint is done again, with the steps in
    `careful` saving every entity before its call, and, once the place is known, ending before it.
    """

    careful: frozenset[int]
    stop_before: tuple[int, int, bool] | None  # (epoch, records of it that are worked off, the next turn's timers too)
    error: HoldfastError | None  # what to end with at `stop_before`


@dataclass(frozen=True, slots=True)
class Finish:
    """All is delivered and checkpointed. Nothing follows; `error` is why, None when all inputs are worked off."""

    error: HoldfastError | None
    ended: bool  # every source has ended and everything is sealed


Effect = (
    ReadChunks
    | ReadLog
    | OpenSource
    | ReadSource
    | AppendLog
    | Acknowledge
    | TellSource
    | Answer
    | OpenSink
    | Deliver
    | TakeToken
    | StageChunks
    | SyncSinks
    | CompleteCheckpoint
    | TrimLog
    | LoadRows
    | ReadRows
    | FoldRows
    | WakeAt
    | Return
    | Finish
)
