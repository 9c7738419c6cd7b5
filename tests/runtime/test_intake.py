"""Reading sources: exact counts from files, and threads that read ahead only so far."""

from __future__ import annotations

import queue
import threading
from typing import Any

from holdfast.connectors.interface import Block
from holdfast.runtime.intake import (
    READ_AHEAD_RECORDS_MAX,
    FiniteIntake,
    LiveIntake,
    SourceFailed,
    ThreadedIntake,
)
from holdfast.worker.events import SourceRead

SECONDS_MAX = 10.0


class Ones:
    """A reader that gives one record at a time, as many as it is told to."""

    def __init__(self, count: int, *, error: Exception | None = None) -> None:
        self.given = 0
        self.closed = threading.Event()
        self._count = count
        self._error = error

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        if self.given == self._count:
            if self._error is not None:
                raise self._error
            return None
        self.given += 1
        return Block(b"%d\n" % self.given, 1, ended=False)

    def offset_after(self, count: int) -> object:
        return count

    def close(self) -> None:
        self.closed.set()


def test_a_finite_source_gives_exactly_what_is_asked_for_until_it_ends() -> None:
    intake = FiniteIntake(0, Ones(5))

    first, second = intake.ask(3), intake.ask(3)

    assert (first.raw, first.count, first.offset, first.ended) == (b"1\n2\n3\n", 3, 3, False)
    assert (second.raw, second.count, second.offset, second.ended) == (b"4\n5\n", 2, 5, True)


def test_a_users_finite_source_answers_from_its_own_thread() -> None:
    inbox = queue.SimpleQueue[Any]()
    intake = ThreadedIntake(0, "p", Ones(5), inbox.put)

    intake.ask(4)

    assert inbox.get(timeout=SECONDS_MAX).count == 4
    intake.close()


def test_a_live_source_reads_ahead_only_so_far_and_gives_everything_in_order() -> None:
    inbox = queue.SimpleQueue[Any]()
    reader = Ones(3 * READ_AHEAD_RECORDS_MAX)
    intake = LiveIntake(0, "p", reader, inbox.put)
    raws, count, ended = [], 0, False
    while not ended:
        read = intake.ask(1000) or inbox.get(timeout=SECONDS_MAX)
        assert isinstance(read, SourceRead)
        count += read.count
        assert read.offset == count
        assert reader.given <= count + READ_AHEAD_RECORDS_MAX + 1
        raws.append(read.raw)
        ended = read.ended

    assert b"".join(raws) == b"".join(b"%d\n" % number for number in range(1, 3 * READ_AHEAD_RECORDS_MAX + 1))
    assert not intake._blocks


def test_a_live_source_that_waits_for_room_ends_when_it_is_closed() -> None:
    reader = Ones(10 * READ_AHEAD_RECORDS_MAX)
    intake = LiveIntake(0, "p", reader, queue.SimpleQueue[Any]().put)
    while not intake._blocks:
        pass

    intake.close()
    intake._thread.join(SECONDS_MAX)

    assert not intake._thread.is_alive()
    assert reader.closed.is_set()


def test_an_error_of_a_live_source_comes_after_what_it_gave() -> None:
    inbox = queue.SimpleQueue[Any]()
    intake = LiveIntake(0, "p", Ones(2, error=OSError("gone")), inbox.put)

    given = b""
    while not isinstance(event := intake.ask(10) or inbox.get(timeout=SECONDS_MAX), SourceFailed):
        given += event.raw

    assert given == b"1\n2\n"
    assert str(event.error) == "source 'p' failed: OSError: gone"
