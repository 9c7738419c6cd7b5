"""What the frames of all messages are made of: msgpack arrays of fields in a fixed order, read by their types.

A frame begins [version, kind, …]; every array in it has a fixed length or is a list of equal things, so msgspec checks
all of it while it reads, without ever making more than the bytes at hand can fill. Text is utf-8 in bytes, as a lone
surrogate is text as well.
Invariant: whatever the bytes are, `read` gives fields of exactly these types or raises `FrameError`.
Not here: which message has which fields (wire, recovery.wire).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from holdfast.core.epochs import Chunk, Cursor, LogEntry
from holdfast.core.errors import FrameError

_INT_MAX: Final = 2**63 - 1
NODE_BYTES_MAX: Final = 255
TEXT_BYTES_MAX: Final = 1 << 20
# Of one list. An element takes three bytes of the frame and a hundred of memory: the frame's size alone is no limit.
ITEMS_MAX: Final = 1 << 20
OFFSET_DEPTH_MAX: Final = 64  # the connectors' own have two levels
# Empty lists in lists take eighty times their bytes, so offsets are packed on their own and have limits of their own.
OFFSET_BYTES_MAX: Final = 1 << 20
OFFSETS_BYTES_MAX: Final = 1 << 24  # of one frame; what is sent at once has thousands of a few bytes each

Natural: TypeAlias = Annotated[int, Meta(ge=0, le=_INT_MAX)]
Whole: TypeAlias = Annotated[int, Meta(ge=-_INT_MAX - 1, le=_INT_MAX)]
Place: TypeAlias = Annotated[int, Meta(ge=-1, le=_INT_MAX)]  # an epoch, a partition, a feeder; -1 where there is none
NodeBytes: TypeAlias = Annotated[bytes, Meta(max_length=NODE_BYTES_MAX)]
TextBytes: TypeAlias = Annotated[bytes, Meta(max_length=TEXT_BYTES_MAX)]
OffsetBytes: TypeAlias = Annotated[bytes, Meta(max_length=OFFSET_BYTES_MAX)]
CursorFields: TypeAlias = tuple[Natural, Natural, OffsetBytes, bool, Whole]
ChunkFields: TypeAlias = tuple[Natural, Natural, Natural, Whole, OffsetBytes, bool, bytes]
EntryFields: TypeAlias = tuple[Natural, Natural, Whole, ChunkFields]

Given = TypeVar("Given")
Made = TypeVar("Made")

_encoder = msgspec.msgpack.Encoder()
_any = msgspec.msgpack.Decoder()


def frame(fields: tuple[object, ...], bytes_max: int) -> bytes:
    """The bytes of a message; large bytes in it are copied once, right here."""
    packed = _encoder.encode(fields)
    if len(packed) > bytes_max:
        raise FrameError(f"a message of {len(packed)} bytes is larger than a frame may be, {bytes_max}")
    return packed


def kind_of(packed: bytes | memoryview, version: int, fields: int) -> int:
    """The kind of a frame that is an array of so many fields."""
    if len(packed) < 3 or packed[0] != 0x90 | fields:
        raise FrameError("this is no frame of a message")
    if packed[1] != version:
        raise FrameError(f"a frame of version {packed[1]}; this program knows {version}")
    return packed[2]


def read(decoder: msgspec.msgpack.Decoder[Any], packed: bytes | memoryview, bytes_max: int) -> Any:
    """The fields of a frame, checked by their types."""
    if len(packed) > bytes_max:
        raise FrameError(f"a frame of {len(packed)} bytes, at most {bytes_max}")
    try:
        return decoder.decode(packed)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        # Beside what msgspec finds: text that is no utf-8, keys of an offset that no dict takes, depth.
        raise FrameError(f"a malformed frame: {error}") from error


def optional(convert: Callable[[Given], Made], thing: Given | None) -> Made | None:
    """None stays None."""
    return None if thing is None else convert(thing)


def to_bytes(text: str) -> bytes:
    """Text as a field."""
    return text.encode("utf-8", "surrogatepass")


def to_text(field: bytes) -> str:
    """The text in a field."""
    try:
        return field.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise FrameError(f"a malformed frame: {error}") from error


def cursor_fields(cursor: Cursor) -> CursorFields:
    """Where a partition stands, as fields."""
    return (cursor.epoch, cursor.number, _encoder.encode(cursor.offset), cursor.ended, cursor.clock)


def to_cursor(fields: CursorFields) -> Cursor:
    """What `cursor_fields` gave."""
    epoch, number, offset, ended, clock = fields
    return Cursor(epoch, number, to_offset(offset), ended, clock)


def entry_fields(entry: LogEntry) -> tuple[object, ...]:
    """An entry of a log, as `EntryFields`."""
    c = entry.chunk
    chunk = (c.partition, c.first, c.count, c.time, _encoder.encode(c.offset), c.ended, c.raw)
    return (entry.epoch, entry.generation, entry.time, chunk)


def to_entries(fields: tuple[EntryFields, ...]) -> tuple[LogEntry, ...]:
    """What `entry_fields` gave of each."""
    if sum(len(chunk[4]) for _, _, _, chunk in fields) > OFFSETS_BYTES_MAX:
        raise FrameError("a malformed frame: its offsets are too large")
    return tuple(map(_to_entry, fields))


def _to_entry(fields: EntryFields) -> LogEntry:
    epoch, generation, time, (partition, first, count, chunk_time, offset, ended, raw) = fields
    chunk = Chunk(partition, first, count, chunk_time, to_offset(offset), ended, raw)
    return LogEntry(epoch, generation, time, chunk)


def to_offset(packed: bytes) -> object:
    """An offset. Refuses what msgspec makes of extensions, and depth that the log would not take."""
    offset = read(_any, packed, OFFSET_BYTES_MAX)
    level = [offset]
    for _ in range(OFFSET_DEPTH_MAX):
        if _ATOMS.issuperset(map(type, level)):
            return offset
        containers = [item for item in level if type(item) not in _ATOMS]
        level = []
        for container in containers:
            if type(container) is list:
                level += container
            elif type(container) is dict:
                level += (*container, *container.values())
            else:
                raise FrameError(f"a malformed frame: a {type(container).__name__} stands in an offset")
    raise FrameError("a malformed frame: an offset is nested too deep")


_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
