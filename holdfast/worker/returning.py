"""Return: back to the last complete checkpoint, and from there through the log to where the worker was.

It serves the first start (nothing is there), a cold start, and a return in the same process after a call failed: always
the same way. Chunks restore entities, the system steps' entities restore offsets and output numbers; then the logged
epochs are applied again in the window that intake uses, and sinks compare what they are given with what they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core.entities import Book
from holdfast.core.epochs import Epoch
from holdfast.core.errors import CodeChangedError, DamagedError
from holdfast.core.images import Images, unpack
from holdfast.core.senders import SEND_STEP
from holdfast.core.types import TypeRegistry
from holdfast.worker.checkpoint import SINK_STEP, SOURCE_STEP, Record
from holdfast.worker.effects import Effect, ReadChunks, ReadLog
from holdfast.worker.events import LogRead, Started
from holdfast.worker.fold import Folding
from holdfast.worker.settings import Settings


class Returning:
    """Restores the state of a checkpoint and hands out logged epochs."""

    def __init__(
        self,
        books: Mapping[str, Book],
        registry: TypeRegistry,
        settings: Settings,
        folding: Folding,
    ) -> None:
        """`books` are by the names that they are stored under."""
        self.books = books
        self.registry = registry
        self.settings = settings
        self.folding = folding
        self.record: Record | None = None
        self.tail = 0  # of the log
        self.read = 0  # the last epoch asked for or read
        self.asked = False
        self.partitions: dict[int, tuple[Any, ...]] = {}  # index -> (number, offset, ended, clock)
        self.sinks: dict[str | bytes, tuple[int, Any]] = {}  # name -> (number, token)

    def started(self, event: Started) -> list[Effect]:
        """The stores are open. The next is to read the checkpoint, if there is one that can be gone on from."""
        self.tail = event.log_tail
        if event.record is None:
            return []
        record = self.record = Record.unpack(event.record)
        needed = record.epoch + (1 if record.skip or record.fired else 0)
        if self.tail < needed:
            raise DamagedError("log", f"it ends with epoch {self.tail}, the checkpoint needs epoch {needed}")
        if record.spaces and self.books and not self.folding.books:
            raise CodeChangedError(
                "entities_in_memory was taken away, but the entities are stored to be loaded one by one; set it again"
            )
        self.folding.take_over(record.spaces)
        self.read = record.epoch
        return [ReadChunks()]

    @property
    def epoch(self) -> int:
        """The epoch of the checkpoint returned to; 0 for the very start."""
        return self.record.epoch if self.record is not None else 0

    def restore(self, chunk: bytes) -> None:
        """One checkpoint chunk; later ones replace what earlier ones held."""
        images = unpack(chunk, self.registry)
        if images.step == SOURCE_STEP:
            self.partitions.update(zip(images.keys, images.states, strict=True))
        elif images.step == SINK_STEP:
            self.sinks.update(zip(images.keys, images.states, strict=True))
        elif images.step.startswith(SEND_STEP):
            if images.step in self.books:
                self._restore_entities(images)
        elif self.folding.books:
            self.folding.restore(images)
        else:
            self._restore_entities(images)

    def _restore_entities(self, images: Images) -> None:
        book = self.books.get(images.step)
        assert book is not None, f"the checkpoint holds entities of a step {images.step!r} that the application lacks"
        for key in images.removed:
            book.entities.pop(key, None)
        put = book.put
        if images.timers is None:
            for key, state in zip(images.keys, images.states, strict=True):
                put(key, state, None)
        else:
            for key, state, timers in zip(images.keys, images.states, images.timers, strict=True):
                put(key, state, timers)

    # --- the log

    @property
    def is_over(self) -> bool:
        """Whether every logged epoch has been handed out."""
        return self.read >= self.tail and not self.asked

    def ask(self) -> list[Effect]:
        """Ask for more of the log, one read at a time."""
        if self.asked or self.read >= self.tail:
            return []
        self.asked = True
        return [ReadLog(self.read, self.settings.replay_bytes)]

    def log_read(self, event: LogRead) -> tuple[Epoch, ...]:
        """Epochs were read; they are durable, for they came from the disk."""
        assert self.asked
        self.asked = False
        assert event.epochs, "the log ends before its tail"
        for epoch in event.epochs:
            assert epoch.number == self.read + 1, "the log has a gap"
            self.read = epoch.number
        return event.epochs
