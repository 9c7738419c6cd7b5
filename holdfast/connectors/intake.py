"""A source with an intake function: what the function returns is the record, and is what is logged.

The function may ask the outside world, so it is called before the log and its result is kept: a replay reads the
result and never calls it again. It may be called more than once for a record: what was not logged is read again.
Invariant: results stand in the order of the records they are of, one for each, however the calls overlap.
A record is the image of [0, result, time or None], or of [1, what was given, why it failed] where the call failed and
the source's rule is not to stop; one that could not be decoded is kept raw as [2, raw] and decoded again.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, Final

from holdfast.connectors.calls import Calls
from holdfast.connectors.interface import Block, OpenSource, Reader
from holdfast.core.connector import Undecodable, acknowledges, never_ends
from holdfast.core.errors import HoldfastError, ProcessingError
from holdfast.core.failures import error_text, value_text
from holdfast.core.types import TypeRegistry
from holdfast.core.values import codec_of, cut_images

RESULT, FAILED, UNDECODABLE = 0, 1, 2
LIVE_BLOCK_BYTES_MAX: Final = 1 << 18


class IntakeError(Exception):
    """An intake function failed, under a rule that goes on: the text is `TypeName: text` of what it raised."""


class WithIntake:
    """Adapts any source."""

    def __init__(
        self, source: OpenSource, name: str, function: Callable[[Any], Any], concurrency: int, *, stops: bool
    ) -> None:
        self.source: Any = source
        self.live = source.live
        self.acknowledges = acknowledges(source)
        self.endless = never_ends(source)
        self.name = name
        self.stops = stops
        self.calls = Calls(function, concurrency, f"holdfast-intake-{name}")
        self.codec = codec_of(TypeRegistry())
        self._last: tuple[list[Any], list[int | None]] | None = None  # what was just decoded, with its times

    def bind(self, registry: TypeRegistry) -> None:
        self.source.bind(registry)
        self.codec = codec_of(registry)

    def partitions(self) -> list[str]:
        partitions: list[str] = self.source.partitions()
        return partitions

    def open(self, partition: str, offset: object | None) -> Reader:
        reader: Reader = self.source.open(partition, offset)
        return LiveReader(self, reader) if self.live else FiniteReader(self, reader)

    def acknowledge(self, partition: str, offset: object) -> None:
        self.source.acknowledge(partition, offset)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return cut_images(raw, start, size, together=1)

    def decode(self, raw: bytes) -> list[Any]:
        records: list[Any] = []
        times: list[int | None] = []
        for kind, what, more in self.codec.decode_all(raw):
            times.append(more if kind == RESULT else None)
            if kind == RESULT:
                records.append(what)
            elif kind == FAILED:
                records.append(Undecodable(what.encode(), IntakeError(more)))
            else:
                records += self.source.decode(what)
        self._last = (records, times)
        return records

    def times(self, records: list[Any], /) -> list[int | None] | None:
        if self.source.times([]) is None:
            return None
        last, self._last = self._last, None
        if last is not None and last[0] is records:
            return last[1]
        return [None] * len(records)

    def _raw_of(self, raw: bytes, index: int) -> bytes:
        """The bytes of one record of a block."""
        start = 0
        for _ in range(index):
            start = self.source.cut(raw, start, 1)
        return raw[start : self.source.cut(raw, start, 1)]

    # --- for the readers

    def begin(self, block: Block) -> Iterator[Callable[[], bytes]]:
        """Begin the call of each record of a block, as the iterator goes on; each gives its image when it is over."""
        records = self.source.decode(block.raw)
        times = self.source.times(records)
        for index, record in enumerate(records):
            if type(record) is Undecodable:
                image = self.codec.encode([UNDECODABLE, self._raw_of(block.raw, index), None])
                yield lambda image=image: image  # type: ignore[misc]
            else:
                time = None if times is None else times[index]
                given = value_text(record)
                future = self.calls.submit(record)
                yield lambda future=future, given=given, time=time: self._image(future, given, time)  # type: ignore[misc]

    def _image(self, future: Future[Any], given: str, time: int | None) -> bytes:
        try:
            return self.codec.encode([RESULT, future.result(), time])
        except CancelledError:
            raise
        except Exception as error:
            if not self.stops:
                return self.codec.encode([FAILED, given, error_text(error)])
            if isinstance(error, HoldfastError):
                raise
            raise ProcessingError(
                f"the intake function of source {self.name!r} failed for {given}: {error_text(error)}"
            ) from error


class FiniteReader:
    """Gives blocks as the source gives them; offsets are the source's own."""

    def __init__(self, source: WithIntake, reader: Reader) -> None:
        self._source = source
        self._reader = reader

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        block = self._reader.read(records_max, bytes_max)
        if block is None:
            return None
        images: list[bytes] = []
        pending: deque[Callable[[], bytes]] = deque()
        for call in self._source.begin(block):
            pending.append(call)
            if len(pending) >= self._source.calls.concurrency:
                images.append(pending.popleft()())
        images += [call() for call in pending]
        return Block(b"".join(images), block.count, block.ended)

    def offset_after(self, count: int) -> object:
        return self._reader.offset_after(count)

    def close(self) -> None:
        self._reader.close()
        self._source.calls.close()


class LiveReader:
    """Reads ahead in a thread of its own, so that calls overlap although records come one by one."""

    def __init__(self, source: WithIntake, reader: Reader) -> None:
        self._source = source
        self._reader = reader
        self._under_way = threading.Semaphore(source.calls.concurrency)
        # (its call or None for the end, offset after it, whether it is the last) of each record; or what was raised
        self._calls: queue.SimpleQueue[tuple[Callable[[], bytes] | None, object, bool] | Exception]
        self._calls = queue.SimpleQueue()
        self._offsets: deque[object] = deque()  # of the records given since the last asked for
        self._covered = 0
        self._offset = reader.offset_after(0)
        self._closed = False
        threading.Thread(target=self._feed, name=f"holdfast-intake-{source.name}-feed", daemon=True).start()

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        found = self._calls.get()
        if isinstance(found, Exception):
            raise found
        call, offset, ended = found
        if self._closed:
            return None
        if call is None:
            self._offset = offset
            return None
        try:
            image = call()
        except CancelledError:
            return None
        finally:
            self._under_way.release()
        self._offsets.append(offset)
        return Block(image, 1, ended)

    def offset_after(self, count: int) -> object:
        for _ in range(count - self._covered):
            self._offset = self._offsets.popleft()
        self._covered = count
        return self._offset

    def close(self) -> None:
        self._closed = True
        self._reader.close()
        self._under_way.release()
        self._calls.put((None, None, True))
        self._source.calls.close()

    def _feed(self) -> None:
        given = 0
        try:
            while not self._closed:
                # One by one: an offset must be had for each record that may be the last to be logged.
                block = self._reader.read(1, LIVE_BLOCK_BYTES_MAX)
                if block is None or self._closed:
                    break
                assert block.count == 1, "a live source gave more than it was asked for"
                given += 1
                offset = self._reader.offset_after(given)
                for call in self._calls_of(block):
                    self._calls.put((call, offset, block.ended))
            self._calls.put((None, self._reader.offset_after(given), True))
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything; who reads says so
            self._calls.put(error)

    def _calls_of(self, block: Block) -> Iterator[Callable[[], bytes]]:
        self._under_way.acquire()
        yield from self._source.begin(block)


def results_are_logged(source: object) -> bool:
    """Whether the records of a source are found in the log alone, although it could be read again."""
    return isinstance(source, WithIntake)


def with_intake(
    source: OpenSource, name: str, function: Callable[[Any], Any] | None, concurrency: int, *, stops: bool
) -> OpenSource:
    """The source with its intake function, where it has one and not yet."""
    if function is None or isinstance(source, WithIntake):
        return source
    return WithIntake(source, name, function, concurrency, stops=stops)


