"""The inbox: nothing is lost, repeated or overtaken, whoever puts it, and nobody sleeps beside what has come."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.runtime.transport.inbox import Inbox

SECONDS_MAX = 60
CHUNK = 3  # bytes that a read takes at most: more is there often


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


class Line:
    """A socket that an inbox reads, and the other end of it."""

    def __init__(self, inbox: Inbox, name: int) -> None:
        self.inbox = inbox
        self.name = name
        self.own, self.other = socket.socketpair()
        self.own.setblocking(False)
        self.sent = 0  # bytes, each the number of those before it
        self.heard = 0
        self.is_added = False
        self.ended = False

    def add(self) -> None:
        self.is_added = True
        self.inbox.add(self.own.fileno(), self.read)

    def remove(self) -> None:
        self.is_added = False
        self.inbox.remove(self.own.fileno())

    def read(self) -> bool:
        assert self.is_added, "read though it was removed"
        data = os.read(self.own.fileno(), CHUNK)
        for byte in data:
            self.inbox.put((self.name, byte))
        self.ended = not data
        return bool(data)

    def send(self, count: int) -> None:
        self.other.send(bytes(number % 256 for number in range(self.sent, self.sent + count)))
        self.sent += count

    def close(self) -> None:
        self.inbox.remove(self.own.fileno())
        self.own.close()
        self.other.close()


class Inboxes(RuleBasedStateMachine):
    """Any order of what threads and sockets do; model: what was put or sent, and how much of it has come."""

    @initialize()
    def begin(self) -> None:
        self.inbox = Inbox()
        self.put, self.taken = 0, 0
        self.lines: list[Line] = []

    @rule()
    def put_one(self) -> None:
        self.inbox.put(self.put)
        self.put += 1

    @precondition(lambda self: len(self.lines) < 4)
    @rule(data=st.integers(0, 5))
    def open_line(self, data: int) -> None:
        line = Line(self.inbox, len(self.lines))
        line.send(data)  # perhaps before it is added
        line.add()
        self.lines.append(line)

    def _line(self, which: int) -> Line | None:
        return self.lines[which % len(self.lines)] if self.lines else None

    @rule(which=st.integers(0, 3), count=st.integers(1, 7))
    def send(self, which: int, count: int) -> None:
        line = self._line(which)
        if line is not None and line.other.fileno() >= 0:
            line.send(count)

    @rule(which=st.integers(0, 3))
    def hang_up(self, which: int) -> None:
        line = self._line(which)
        if line is not None:
            line.other.close()

    @rule(which=st.integers(0, 3))
    def remove(self, which: int) -> None:
        line = self._line(which)
        if line is not None:
            line.remove()

    @rule(which=st.integers(0, 3))
    def replace(self, which: int) -> None:
        """Another socket takes its place, and most likely its number."""
        if self.lines:
            place = which % len(self.lines)
            self.lines[place].close()
            self.lines[place] = Line(self.inbox, self.lines[place].name)
            self.lines[place].add()

    def _take(self, seconds: float) -> None:
        before = [(line, line.heard) for line in self.lines]
        put, had_put = self.taken, self.put > self.taken
        readable = [line for line in self.lines if line.is_added and not line.ended and line.heard < line.sent]
        events = self.inbox.take(seconds)
        for event in events:
            if isinstance(event, tuple):
                line = self.lines[event[0]]
                assert event[1] == line.heard % 256, "not the next byte of its line"
                line.heard += 1
            else:
                assert event == self.taken, "not the next that was put"
                self.taken += 1
        assert self.taken == self.put, "what was put has come"
        for line, heard in before:
            assert line.heard - heard <= CHUNK, "one read of each line"
        for line in readable:
            assert line.heard > dict(before)[line], "each line that has something is read"
        assert events or not (had_put or readable), put

    @rule()
    def take(self) -> None:
        self._take(0)

    @rule()
    def take_with_patience(self) -> None:
        """Where there is something nobody waits for more."""
        if self.put > self.taken or any(line.is_added and line.heard < line.sent for line in self.lines):
            self._take(SECONDS_MAX)

    @invariant()
    def everything_put_is_seen(self) -> None:
        if hasattr(self, "inbox"):
            assert self.inbox.empty() == (self.put == self.taken)

    def teardown(self) -> None:
        if hasattr(self, "inbox"):
            for line in self.lines:
                line.close()
            self.inbox.close()


TestInboxes = Inboxes.TestCase
TestInboxes.settings = settings(max_examples=80, stateful_step_count=40, deadline=None, derandomize=True, database=None)


def test_whoever_sleeps_is_woken_by_every_thread_and_hears_all_in_order(inbox: Inbox) -> None:
    """A ring that is lost would let a take sleep to its end beside something that was put."""
    count, names = 3000, range(3)
    heard: dict[int, list[int]] = {name: [] for name in names}
    taken = threading.Semaphore(0)  # the putters go slower than the taker, which therefore sleeps most of the time

    def put(name: int) -> None:
        for number in range(count):
            inbox.put((name, number))
            assert taken.acquire(timeout=SECONDS_MAX)

    threads = [threading.Thread(target=put, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    while sum(map(len, heard.values())) < count * len(names):
        began = time.monotonic()
        events = inbox.take(SECONDS_MAX)  # nothing, where a ring was for what the take before had found already
        assert events or time.monotonic() - began < SECONDS_MAX / 2, "slept beside something that was put"
        for name, number in events:
            heard[name].append(number)
            taken.release()
    for thread in threads:
        thread.join(SECONDS_MAX)

    assert heard == {name: list(range(count)) for name in names}


def test_whoever_sleeps_is_woken_by_a_socket_that_is_added_meanwhile(inbox: Inbox) -> None:
    line = Line(inbox, 0)
    line.send(1)
    thread = threading.Thread(target=line.add)
    line.is_added = True
    thread.start()

    assert inbox.take(SECONDS_MAX) == [(0, 0)]

    thread.join(SECONDS_MAX)
    line.close()


def test_nothing_of_a_socket_comes_once_it_is_removed_by_another_thread(inbox: Inbox) -> None:
    """`remove` waits for the end of a read: whoever closes the socket then closes it under nobody."""
    reads, goes_on = threading.Event(), threading.Event()
    line = Line(inbox, 0)
    line.send(1)
    heard: list[Any] = []

    def read() -> bool:
        reads.set()
        assert goes_on.wait(SECONDS_MAX)
        return line.read()

    line.is_added = True
    inbox.add(line.own.fileno(), read)
    engine = threading.Thread(target=lambda: heard.extend(inbox.take(SECONDS_MAX)))
    engine.start()
    assert reads.wait(SECONDS_MAX)
    removed = threading.Event()

    def remove() -> None:
        inbox.remove(line.own.fileno())
        removed.set()

    other = threading.Thread(target=remove)
    other.start()
    assert not removed.is_set(), "the read is not over"
    goes_on.set()
    engine.join(SECONDS_MAX)
    other.join(SECONDS_MAX)

    assert heard == [(0, 0)]
    line.is_added = False
    line.send(1)
    assert inbox.take() == []
    line.close()


def test_an_event_that_a_read_puts_needs_no_ring(inbox: Inbox) -> None:
    line = Line(inbox, 0)
    line.add()
    line.send(1)

    assert inbox.take(SECONDS_MAX) == [(0, 0)]
    assert inbox.take() == []
    line.close()


def test_after_the_end_nothing_is_an_error() -> None:
    inbox, line = Inbox(), None
    line = Line(inbox, 0)
    line.add()
    inbox.close()

    inbox.put("late")
    inbox.remove(line.own.fileno())
    line.add()
    line.close()


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Inbox().close()

    assert len(os.listdir("/proc/self/fd")) == before
