"""A user's function that gives items, as a live source.

The function is called at every start and the items already logged are skipped, so it must give the same ones
again. An item is encoded at once: what the function does to it afterwards changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from functools import cached_property
from typing import Any, Generic, TypeVar

from holdfast.connectors import framing
from holdfast.connectors.event_loop import EventLoop
from holdfast.connectors.framing import ValueFrames
from holdfast.connectors.interface import Block
from holdfast.connectors.pull import END, Pull
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError, InputChangedError
from holdfast.core.serial_order import ONLY_PARTITION
from holdfast.core.types import TypeRegistry

T = TypeVar("T")


class Generator(Generic[T]):
    """Live: the items that `fn()` gives, a generator function plain or async; one partition."""

    live = True

    def __init__(self, fn: Callable[[], Iterable[T] | AsyncIterable[T]]) -> None:
        if not callable(fn):
            raise ApplicationError(
                f"sources.Generator takes a function that gives items, not {type(fn).__name__}: "
                "it is called at every start"
            )
        self._fn = fn
        self._frames = ValueFrames()

    def bind(self, registry: TypeRegistry) -> None:
        self._frames = ValueFrames(registry)

    def partitions(self) -> list[str]:
        return [ONLY_PARTITION]

    @cached_property
    def _loop(self) -> EventLoop:
        return EventLoop("holdfast-generator")

    def open(self, partition: str, offset: object | None) -> GeneratorReader:
        assert offset is None or type(offset) is int, offset
        pull = Pull(self._fn, lambda: self._loop, "the function of sources.Generator")
        return GeneratorReader(pull, self._frames, 0 if offset is None else offset)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[T | Undecodable]:
        records: list[Any] = self._frames.records(raw)
        return records

    def times(self, records: list[Any], /) -> None:
        """None: the logged clock counts."""


class GeneratorReader:
    """One item a block, given as soon as it is there. Offset: the number of items before it."""

    def __init__(self, pull: Pull, frames: ValueFrames, offset: int) -> None:
        self._pull = pull
        self._frames = frames
        self._offset = offset
        self._skipped = 0

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        while self._skipped < self._offset:
            if self._pull.next() is END:
                if self._pull.closed:
                    return None
                raise InputChangedError(
                    f"the function of sources.Generator gave {self._offset} items, now only {self._skipped}"
                )
            self._skipped += 1
        item = self._pull.next()
        return None if item is END else Block(framing.pack([self._frames.image(item)]), 1, ended=False)

    def offset_after(self, count: int) -> object:
        return self._offset + count

    def close(self) -> None:
        self._pull.close()
