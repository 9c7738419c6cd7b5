"""The threads that write log and state: what is grouped, what waits, and that their end waits for what was ordered."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from holdfast.core.epochs import Chunk, Epoch, LogEntry
from holdfast.core.errors import StorageError
from holdfast.core.types import TypeRegistry
from holdfast.runtime.log_writer import LogWriter
from holdfast.runtime.member_log_writer import MemberLogWriter
from holdfast.runtime.points import Probe
from holdfast.runtime.state_writer import HINTS, StateWriter
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker.cluster_effects import AppendEntries, TrimEntries
from holdfast.worker.cluster_events import EntriesSynced
from holdfast.worker.events import CheckpointCompleted, ChunksStaged, LogSynced, SinksSynced

SECONDS_MAX = 10.0


def epochs(first: int, last: int) -> list[Epoch]:
    return [Epoch(number, 1, 0, ()) for number in range(first, last + 1)]


class SlowLog(MemoryLog):
    """A log whose commits wait until they are let go."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk)
        self.let_go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.commits: list[list[int]] = []

    def append(self, epochs: Sequence[Epoch]) -> None:
        self.begun.release()
        assert self.let_go.acquire(timeout=SECONDS_MAX)
        super().append(epochs)
        self.commits.append([epoch.number for epoch in epochs])


class FailingLog(MemoryLog):
    def append(self, epochs: Sequence[Epoch]) -> None:
        raise StorageError("the disk is gone")


def test_what_gathers_during_a_commit_is_one_commit() -> None:
    log, inbox = SlowLog(MemoryDisk()), queue.SimpleQueue[Any]()
    writer = LogWriter(log, inbox.put, Probe())
    writer.append(epochs(1, 1))
    assert log.begun.acquire(timeout=SECONDS_MAX)
    for number in (2, 3, 4):
        writer.append(epochs(number, number))
    assert not writer.idle

    log.let_go.release(2)
    synced = [inbox.get(timeout=SECONDS_MAX) for _ in range(2)]
    writer.close()

    assert log.commits == [[1], [2, 3, 4]]
    assert [event.epoch for event in synced if isinstance(event, LogSynced)] == [1, 4]
    assert writer.idle


def test_closing_waits_for_appends_and_trims_that_were_ordered() -> None:
    log, inbox = MemoryLog(MemoryDisk()), queue.SimpleQueue[Any]()
    for last in (100, 200):
        writer = LogWriter(log, inbox.put, Probe())
        writer.append(epochs(log.tail() + 1, last))
        writer.trim(last - 10)
        writer.close()
        assert (log.tail(), log.base()) == (last, last - 10)


def test_a_commit_that_fails_is_told_and_nothing_more_is_written() -> None:
    inbox = queue.SimpleQueue[Any]()
    writer = LogWriter(FailingLog(MemoryDisk()), inbox.put, Probe())
    writer.append(epochs(1, 1))

    failure = inbox.get(timeout=SECONDS_MAX)
    writer.append(epochs(2, 2))
    writer.close()

    assert isinstance(failure, StorageError)
    assert inbox.empty()


def test_a_commit_in_place_is_only_for_an_idle_log() -> None:
    log = SlowLog(MemoryDisk())
    writer = LogWriter(log, queue.SimpleQueue[Any]().put, Probe())
    writer.append(epochs(1, 1))

    with pytest.raises(AssertionError):
        writer.append_here(epochs(2, 2))

    log.let_go.release(1)
    writer.close()


class Tagged:
    """A class whose name the images of a checkpoint use."""


def test_names_of_types_are_durable_before_the_checkpoint_that_uses_them() -> None:
    state, inbox = MemoryState(MemoryDisk()), queue.SimpleQueue[Any]()
    registry = TypeRegistry([Tagged])
    writer = StateWriter(state, registry, inbox.put, Probe())
    writer.stage(1, [b"chunk"])
    registry.tag(Tagged)
    writer.complete(1, b"record", 0)
    answers = [inbox.get(timeout=SECONDS_MAX) for _ in range(2)]
    writer.close()

    assert [type(answer) for answer in answers] == [ChunksStaged, CheckpointCompleted]
    assert state.get_meta(HINTS) == {"Tagged": __name__}
    assert state.record() == b"record"


def test_a_hurried_end_leaves_out_what_was_not_begun() -> None:
    state, inbox = MemoryState(MemoryDisk()), queue.SimpleQueue[Any]()
    writer = StateWriter(state, TypeRegistry(), inbox.put, Probe())
    begun, let_go = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert let_go.wait(SECONDS_MAX)

    writer.sync(1, [slow])
    writer.stage(1, [b"chunk"])
    assert begun.wait(SECONDS_MAX)
    closing = threading.Thread(target=lambda: writer.close(hurried=True))
    closing.start()
    while not writer._hurried:
        pass
    let_go.set()
    closing.join(SECONDS_MAX)

    assert [type(inbox.get_nowait()) for _ in range(inbox.qsize())] == [SinksSynced]
    assert list(state.chunks()) == []
    assert writer.idle


class EndlessTrims(MemoryPartitionLog):
    """A log of which there is always more to trim."""

    def trim_step(self, upto: int, keep: Collection[int]) -> bool:
        return True


def test_a_hurried_end_of_a_members_log_appends_what_was_ordered_and_leaves_trims_to_later_ones() -> None:
    log, inbox = EndlessTrims(MemoryDisk()), queue.SimpleQueue[Any]()
    log.adopt(b"formation", 1, ((0, 0),))
    writer = MemberLogWriter(log, inbox.put)
    writer.give(TrimEntries(0, (0,)))
    entry = LogEntry(1, 1, 0, Chunk(0, 0, 1, 0, None, False, b"a"))
    writer.give(AppendEntries(1, (entry,)))

    writer.close(hurried=True)

    assert isinstance(inbox.get(timeout=SECONDS_MAX), EntriesSynced)
    assert list(log.read(0, 0, 100)) == [entry]
