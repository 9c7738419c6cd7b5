"""Sources and sinks of the user's own: a few plain methods, adapted to what the runtime asks for.

A source has `partitions()` and `read(partition, offset)` giving (record, next offset), optionally
`acknowledge(partition, offset)`. A sink has `resume(partition, token)`, `write(partition, first_number,
outputs)` and `flush(partition)`, optionally `encode(value)`, `claim(owner)` and `close()`. Methods may be
plain or coroutines (`encode` may not); a source is read in the thread that reads its partition, a sink is
called in one thread of its own. Offsets and tokens are any values: they are kept as images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

from holdfast.connectors import framing
from holdfast.connectors.event_loop import EventLoop
from holdfast.connectors.file_writer import failure
from holdfast.connectors.framing import ValueFrames
from holdfast.connectors.interface import Block, OpenSink, OpenSource
from holdfast.connectors.pull import END, Pull
from holdfast.core.connector import Undecodable, is_live
from holdfast.core.copying import ATOMS, copy_value
from holdfast.core.errors import ApplicationError, HoldfastError, OutputShortError, ProcessingError, SinkError
from holdfast.core.serial_order import ONLY_PARTITION
from holdfast.core.types import TypeRegistry

# Records that a finite source gives in one block when nobody says how many: enough to make the block's price
# vanish.
_BLOCK_RECORDS = 1024

_SOURCE_METHODS = ("bind", "partitions", "open", "cut", "decode", "times")
_SINK_METHODS = ("bind", "paths", "open", "encode")


def as_source(source: object) -> OpenSource:
    """The source as the runtime takes it, a user's own adapted; ApplicationError for what is none."""
    _refuse_class(source)
    if _has(source, _SOURCE_METHODS):
        return cast(OpenSource, source)
    if _has(source, ("partitions", "read")):
        return UserSource(source)
    raise ApplicationError(
        f"{type(source).__name__} is not a source: it needs partitions() and read(partition, offset)"
    )


def as_sink(sink: object) -> OpenSink:
    """The sink as the runtime takes it, a user's own adapted; ApplicationError for what is none."""
    _refuse_class(sink)
    if _has(sink, _SINK_METHODS):
        return cast(OpenSink, sink)
    if _has(sink, ("resume", "write", "flush")):
        return UserSink(sink)
    raise ApplicationError(
        f"{type(sink).__name__} is not a sink: it needs resume(partition, token), "
        "write(partition, first_number, outputs) and flush(partition)"
    )


def _refuse_class(connector: object) -> None:
    if isinstance(connector, type):
        raise ApplicationError(f"{connector.__name__} is a class; give an object of it: {connector.__name__}(...)")


def _has(connector: object, methods: Sequence[str]) -> bool:
    return all(callable(getattr(connector, method, None)) for method in methods)


class UserSource:
    """Adapts a user's source."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._name = f"source {type(source).__name__}"
        self._frames = ValueFrames()
        self.live = is_live(source)
        self.acknowledges = _has(source, ("acknowledge",))

    @cached_property
    def _loop(self) -> EventLoop:
        # One for all partitions: what a user opens in one coroutine can be used in the others.
        return EventLoop(f"holdfast-{self._name}")

    def bind(self, registry: TypeRegistry) -> None:
        self._frames = ValueFrames(registry)

    def partitions(self) -> list[str]:
        pull = Pull(self._source.partitions, lambda: self._loop, f"{self._name}: partitions()")
        names: list[str] = []
        while (name := pull.next()) is not END:
            if not isinstance(name, str) or name in names:
                raise ApplicationError(f"{self._name}: partitions() gives different str, not {name!r}")
            names.append(name)
        return names

    def open(self, partition: str, offset: object | None) -> UserReader:
        image, ended = (None, False) if offset is None else _resume_point(offset)
        start = None if image is None else self._frames.value(image)
        pull = Pull(lambda: self._source.read(partition, start), lambda: self._loop, f"{self._name}: read()")
        return UserReader(self._name, pull, self._frames, image, live=self.live, ended=ended)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[Any | Undecodable]:
        return self._frames.records(raw)

    def times(self, records: Sequence[Any], /) -> None:
        """None: the logged clock counts."""

    def acknowledge(self, partition: str, offset: object) -> None:
        """Tell the user's source, if it wants to know, that what lies before the offset is durable."""
        image, _ended = _resume_point(offset)
        if not self.acknowledges or image is None:
            return
        try:
            self._loop.submit(self._source.acknowledge, partition, self._frames.value(image)).result()
        except HoldfastError:
            raise
        except Exception as error:
            raise ProcessingError(
                f"{self._name}: acknowledge() raised {type(error).__name__}: {error}, partition {partition!r}"
            ) from error

    def user_offset(self, offset: object) -> object:
        """The offset as the user's source gave it; None at the start."""
        image, _ended = _resume_point(offset)
        return None if image is None else self._frames.value(image)


def _resume_point(offset: object) -> tuple[bytes | None, bool]:
    assert isinstance(offset, list | tuple), offset
    image, ended = offset
    return image, ended


class UserReader:
    """One partition of a user's source. Offset: [image of the user's offset or None at the start, ended]."""

    def __init__(
        self, name: str, pull: Pull, frames: ValueFrames, start: bytes | None, *, live: bool, ended: bool
    ) -> None:
        self._name = name
        self._pull = pull
        self._frames = frames
        self._live = live
        self._ended = ended
        self._offset = start  # after the first `_covered` records
        self._covered = 0
        self._offsets: deque[bytes] = deque()  # after each record given since
        self._held: bytes | None = None  # the frame of a record that the last block had no room for

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        # A live source may not have its next record for long: what is there is not kept waiting for it.
        wanted = 1 if self._live else min(records_max or _BLOCK_RECORDS, _BLOCK_RECORDS)
        frames: list[bytes] = []
        size = 0
        while len(frames) < wanted and (frame := self._next_frame()) is not None:
            size += len(frame)
            if frames and size > bytes_max:
                self._held = frame
                break
            frames.append(frame)
        return Block(b"".join(frames), len(frames), self._ended) if frames else None

    def _next_frame(self) -> bytes | None:
        if self._held is not None:
            frame, self._held = self._held, None
            return frame
        item = END if self._ended else self._pull.next()
        if item is END:
            self._ended = self._ended or not self._pull.closed
            return None
        if not isinstance(item, tuple) or len(item) != 2:
            raise ProcessingError(f"{self._name}: read() gives (record, next offset), not {type(item).__name__}")
        record, offset = item
        self._offsets.append(self._frames.image(offset))
        return framing.pack([self._frames.image(record)])

    def offset_after(self, count: int) -> object:
        for _ in range(count - self._covered):
            self._offset = self._offsets.popleft()
        self._covered = count
        return [self._offset, self._ended and not self._offsets]

    def close(self) -> None:
        self._pull.close()


class UserSink:
    """Adapts a user's sink."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._encode: Callable[[object], object] | None = getattr(sink, "encode", None)
        self.frames = ValueFrames()
        self.name = f"sink {type(sink).__name__}"

    @cached_property
    def _loop(self) -> EventLoop:
        return EventLoop(f"holdfast-{self.name}")

    def bind(self, registry: TypeRegistry) -> None:
        self.frames = ValueFrames(registry)

    def encode(self, value: object, /) -> object:
        """What the user's own `encode` gives, else the value itself, out of reach of later changes."""
        return copy_value(value if self._encode is None else self._encode(value))

    def encode_column(self, values: list[Any], /) -> list[Any] | None:
        """The values where all of them are deeply immutable and written as they are, else None."""
        return values if self._encode is None and set(map(type, values)) <= ATOMS else None

    def paths(self) -> list[str]:
        return []

    def claim(self, owner: str) -> None:
        """Tell the user's sink, if it wants to know, whose outputs it is going to get.

        The owner is the same in every life on one data directory, and another on any other directory or sink.
        """
        if hasattr(self._sink, "claim"):
            self._loop.submit(self._sink.claim, owner).result()

    def open(self, token: object | None, number: int, owned: bool) -> UserWriter:
        assert token is None or type(token) is bytes, token
        has = self.call("resume", None if token is None else self.frames.value(token))
        if has is not None and (type(has) is not int or has < 0):
            raise SinkError(f"{self.name}: resume() gives the number of the last output it has, or None, not {has!r}")
        if has is not None and has < number:
            raise OutputShortError(f"{self.name} has {has} outputs; at the checkpoint {number} were delivered")
        return UserWriter(self, self.frames, number if has is None else has)

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the user's sink, in the sink's thread."""
        try:
            return self._loop.submit(getattr(self._sink, method), ONLY_PARTITION, *args).result()
        except HoldfastError:
            raise
        except OSError as error:
            raise failure(self.name, error) from error
        except Exception as error:
            raise SinkError(f"{self.name}: {method}() raised {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Let the user's sink let go of what it holds, if it wants to; what it raises then belongs to no output."""
        function = getattr(self._sink, "close", None)
        if function is not None:
            self._loop.submit(function).exception()


class UserWriter:
    """Gives a user's sink the outputs that it does not have."""

    def __init__(self, sink: UserSink, frames: ValueFrames, has: int) -> None:
        self._sink = sink
        self._frames = frames
        self._has = has

    def write(self, first_number: int, payload: Sequence[object], count: int) -> None:
        assert len(payload) == count, (len(payload), count)
        known = max(0, self._has + 1 - first_number)
        if known < count:
            self._sink.call("write", first_number + known, list(payload[known:]))
            self._has = first_number + count - 1

    def token(self) -> object:
        """What the sink's `flush` gives, which makes durable what was written up to now."""
        return self._frames.image(self._sink.call("flush"))

    def sync(self) -> None:
        """Done by `token`."""

    def finish(self) -> None:
        """A sink of the user's own can't be asked what stands behind its last output."""

    def close(self) -> None:
        self._sink.close()
