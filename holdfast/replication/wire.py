"""The bytes of what members of a generation tell each other.

A frame is the msgpack array [version, kind, generation, sender, incarnation, number, reached, body]; the kind says
which message the body is. Columns, chunks and raw records stand in it as they are, each copied once on the way in and
once on the way out.
Invariant: unpack(pack(envelope)) == envelope; any other bytes are a `FrameError`. A kind is never used again for
something else; a change of fields is a new version.
Not here: frames on a connection, their length and who may send them (runtime).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from holdfast.core.errors import FrameError
from holdfast.replication.fields import (
    ITEMS_MAX,
    CursorFields,
    EntryFields,
    Natural,
    NodeBytes,
    Place,
    Whole,
    cursor_fields,
    entry_fields,
    frame,
    kind_of,
    read,
    to_bytes,
    to_cursor,
    to_entries,
    to_text,
)
from holdfast.replication.messages import (
    Answered,
    Beat,
    Envelope,
    ImagesHeld,
    LogCopied,
    LogHeld,
    LogInstalled,
    Message,
    Opening,
    Reached,
    Records,
    Snapshot,
    Stage,
    Tokens,
    UpdateSet,
)

VERSION: Final = 2
# All that one epoch has for one member travels in one message, however much it is.
FRAME_BYTES_MAX: Final = 1 << 28

_FIELDS: Final = 8
_few: Final = Meta(max_length=ITEMS_MAX)

_ReachedFields: TypeAlias = tuple[Natural, Natural, Natural, Natural, Whole | None]
_Times: TypeAlias = Annotated[tuple[tuple[Whole, Natural, Whole], ...], _few]
_OpeningFields: TypeAlias = tuple[bool, Whole, _Times, Natural | None, bool, Natural]
_Columns: TypeAlias = Annotated[tuple[tuple[Natural, bytes], ...], _few]
_StageFields: TypeAlias = tuple[Natural, Place, _Columns, _OpeningFields | None]
_Numbers: TypeAlias = Annotated[tuple[Natural, ...], _few]
_Chunks: TypeAlias = Annotated[tuple[bytes, ...], _few]
_Answers: TypeAlias = Annotated[tuple[tuple[Natural, _Chunks], ...], _few]
_SinkFields: TypeAlias = Annotated[tuple[tuple[Natural, Natural, bytes], ...], _few]


class _Kind(NamedTuple):
    """How the body of one message is written and read."""

    fields: Callable[[Any], tuple[object, ...]]
    decoder: msgspec.msgpack.Decoder[Any]
    message: Callable[[Any], Message]


def pack(envelope: Envelope) -> bytes:
    """The frame of a message."""
    message, reached = envelope.message, envelope.reached
    code = _CODES[type(message)]
    fields = (
        VERSION,
        code,
        envelope.generation,
        to_bytes(envelope.sender),
        envelope.incarnation,
        envelope.number,
        (reached.durable, reached.replicated, reached.delivered, reached.closed, reached.due),
        _KINDS[code].fields(message),
    )
    return frame(fields, FRAME_BYTES_MAX)


def unpack(packed: bytes | memoryview) -> Envelope:
    """The message of a frame; FrameError if it is none."""
    kind = _KINDS.get(kind_of(packed, VERSION, _FIELDS))
    if kind is None:
        raise FrameError(f"a frame of kind {packed[2]}, which this version has not")
    _, _, generation, sender, incarnation, number, reached, body = read(kind.decoder, packed, FRAME_BYTES_MAX)
    return Envelope(generation, to_text(sender), incarnation, number, Reached(*reached), kind.message(body))


def _decoder(body: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(
        tuple[int, int, Natural, NodeBytes, Natural, Natural, _ReachedFields, body]
    )


def _stage_fields(stage: Stage) -> tuple[object, ...]:
    o = stage.opening
    opening = None if o is None else (o.logged, o.time, o.times, o.rounds, o.cut, o.checkpoint)
    return (stage.epoch, stage.feeder, stage.columns, opening)


def _stage(body: _StageFields) -> Stage:
    epoch, feeder, columns, opening = body
    return Stage(epoch, feeder, columns, None if opening is None else Opening(*opening))


def _log_copied_fields(copied: LogCopied) -> tuple[object, ...]:
    return (copied.partition, copied.previous, [entry_fields(entry) for entry in copied.entries])


def _log_copied(body: tuple[int, int, tuple[EntryFields, ...]]) -> LogCopied:
    partition, previous, entries = body
    return LogCopied(partition, previous, to_entries(entries))


_KINDS: Final[dict[int, _Kind]] = {
    1: _Kind(_stage_fields, _decoder(_StageFields), _stage),
    2: _Kind(lambda m: (m.partition, m.tail), _decoder(tuple[Natural, Place]), lambda body: LogHeld(*body)),
    3: _Kind(
        lambda m: (m.partition, cursor_fields(m.base)),
        _decoder(tuple[Natural, CursorFields]),
        lambda body: LogInstalled(body[0], to_cursor(body[1])),
    ),
    4: _Kind(
        _log_copied_fields,
        _decoder(tuple[Natural, Place, Annotated[tuple[EntryFields, ...], _few]]),
        _log_copied,
    ),
    5: _Kind(
        lambda m: (m.ranges, m.chunks, m.last),
        _decoder(tuple[_Numbers, _Chunks, bool]),
        lambda body: Snapshot(*body),
    ),
    6: _Kind(
        lambda m: (m.cut, m.chunks, m.last),
        _decoder(tuple[Natural, _Chunks, bool]),
        lambda body: UpdateSet(*body),
    ),
    7: _Kind(lambda m: (m.cut,), _decoder(tuple[Natural]), lambda body: ImagesHeld(*body)),
    8: _Kind(
        lambda m: (m.cut, m.time, m.sinks),
        _decoder(tuple[Natural, Whole, _SinkFields]),
        lambda body: Tokens(*body),
    ),
    9: _Kind(lambda m: (), _decoder(tuple[()]), lambda body: Beat()),
    10: _Kind(
        lambda m: (m.epoch, [entry_fields(entry) for entry in m.entries]),
        _decoder(tuple[Natural, Annotated[tuple[EntryFields, ...], _few]]),
        lambda body: Records(body[0], to_entries(body[1])),
    ),
    11: _Kind(
        lambda m: (m.partition, m.first, m.count, m.answers, m.forgotten),
        _decoder(tuple[Natural, Natural, Natural, _Answers, _Numbers]),
        lambda body: Answered(*body),
    ),
}
_CODES: Final[dict[type, int]] = {
    Stage: 1,
    LogHeld: 2,
    LogInstalled: 3,
    LogCopied: 4,
    Snapshot: 5,
    UpdateSet: 6,
    ImagesHeld: 7,
    Tokens: 8,
    Beat: 9,
    Records: 10,
    Answered: 11,
}
