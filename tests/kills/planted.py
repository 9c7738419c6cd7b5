"""Bugs to be planted into a process that is about to be the `holdfast` command: can the kills find them?

Each replaces one method of a running class by one that breaks one rule. The product knows nothing of them; only the
spawner of the tests plants, and only what a test named.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from holdfast.connectors.file_writer import FileWriter
from holdfast.core.agenda import Agenda
from holdfast.core.cache import CachedBook
from holdfast.core.entities import Book
from holdfast.runtime.clock import now
from holdfast.runtime.intake import FiniteIntake
from holdfast.runtime.life import Life
from holdfast.storage.lmdb_log import LmdbLog
from holdfast.worker import effects, events


def skip_the_comparison() -> None:
    """The file sink appends behind whatever stands instead of comparing with it."""
    opened = FileWriter.__init__

    def open_at_the_end(self: Any, *arguments: Any) -> None:
        opened(self, *arguments)
        self._position = self._standing

    replace(FileWriter, "__init__", open_at_the_end)


def apply_before_append() -> None:
    """An epoch counts as durable when it is handed to the log, which takes its time."""
    append = LmdbLog.append

    def append_late(self: Any, ordered: Any) -> None:
        time.sleep(0.002)
        append(self, ordered)

    def commit(self: Any) -> None:
        ordered, self._appends = self._appends, []
        self._log_writer.append(ordered)
        self.inbox.put(events.LogSynced(now(), ordered[-1].number))

    replace(LmdbLog, "append", append_late)
    replace(Life, "_commit", commit)


def trim_early() -> None:
    """The log is trimmed when a checkpoint begins to be written, not when it is complete."""
    stage = Life._stage_chunks

    def stage_and_trim(self: Any, order: effects.StageChunks) -> None:
        self._log_writer.trim(self.worker.checkpoints.writing.record.epoch)
        stage(self, order)

    replace(Life, "_stage_chunks", stage_and_trim)


def count_an_incomplete_checkpoint() -> None:
    """A checkpoint counts from its first chunks on."""
    complete = Life._complete_checkpoint
    counted = set()

    def count_and_stage(self: Any, order: effects.StageChunks) -> None:
        if order.checkpoint not in counted:
            counted.add(order.checkpoint)
            self._state.stage(order.checkpoint, order.chunks)
            self._state.complete(order.checkpoint, self.worker.checkpoints.writing.record.pack(), 0)
        self.inbox.put(events.ChunksStaged(now(), order.checkpoint, len(order.chunks)))

    def completed(self: Any, order: effects.CompleteCheckpoint) -> None:
        self.inbox.put(events.CheckpointCompleted(now(), order.checkpoint))

    assert complete is Life._complete_checkpoint
    replace(Life, "_stage_chunks", count_and_stage)
    replace(Life, "_complete_checkpoint", completed)


def lose_the_sinks_place() -> None:
    """A checkpoint keeps where a sink stood before its last write."""
    write = FileWriter.write

    def write_and_keep(self: Any, *arguments: Any) -> None:
        self.before = self._position
        write(self, *arguments)

    def token(self: Any) -> int:
        return int(getattr(self, "before", self._position))

    replace(FileWriter, "write", write_and_keep)
    replace(FileWriter, "token", token)


def lose_the_sources_place() -> None:
    """A block is logged with the offset where it began."""
    ask = FiniteIntake.ask
    before: dict[int, object] = {}

    def ask_late(self: Any, records_max: int) -> events.SourceRead:
        read = ask(self, records_max)
        late = dataclasses.replace(read, offset=before.get(id(self), read.offset))
        before[id(self)] = read.offset
        return late

    replace(FiniteIntake, "ask", ask_late)


def checkpoint_what_came_later() -> None:
    """An entity that is touched while its checkpoint is written gets into it as it is afterwards."""

    def touch(self: Any, entity: Any) -> None:
        if entity.mark != self.cut:
            entity.mark = self.interval
        self.dirty.append(entity)

    replace(Book, "touch", touch)


def forget_the_timers() -> None:
    """A return restores states without their timers."""
    put = Book.put

    def put_without(self: Any, lookup: Any, state: Any, timers: dict[str, int] | None) -> Any:
        return put(self, lookup, state, None)

    replace(Book, "put", put_without)


def forget_timers_on_disk() -> None:
    """A start doesn't look when entities that wait on disk have their timers."""
    replace(CachedBook, "note_rows", lambda self, rows: None)
    replace(Agenda, "remove", lambda self, due, key: None)  # what was never noted can't be taken off


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        skip_the_comparison,
        apply_before_append,
        trim_early,
        count_an_incomplete_checkpoint,
        lose_the_sinks_place,
        lose_the_sources_place,
        checkpoint_what_came_later,
        forget_the_timers,
        forget_timers_on_disk,
    )
}


def replace(owner: type, name: str, method: Callable[..., Any]) -> None:
    assert hasattr(owner, name), f"{owner.__name__} has no {name} any more; the bug is not planted"
    setattr(owner, name, method)


def plant(name: str) -> None:
    """Plant one bug into this process."""
    BUGS[name]()
