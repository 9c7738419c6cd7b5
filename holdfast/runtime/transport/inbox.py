"""The inbox of a member's engine thread: what other threads put into it, and sockets that this thread reads itself.

A message that another thread reads costs two wake-ups and the wait for the interpreter; read here, where it is handled,
it costs a system call, and all that has come is handled at once. What can't be handled yet stays in the socket.
Invariants: what is put comes out in the order in which it was put, each once; nobody who puts something is ever waited
for by a `take` that sleeps; nothing of a socket comes in once `remove` has returned.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Read = Callable[[], bool]  # reads some of what there is, without waiting, and puts what came of it; False at the end


class Inbox:
    """`put`, `add` and `remove` are for any thread, the rest for the one that it belongs to."""

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._poll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN)
        self._sleeps = False  # whoever puts something then rings
        # Of the sockets, and held while one is read; and of the descriptors, whose numbers may be others' once closed.
        self._lock = threading.Lock()
        self._reads: dict[int, Read] = {}  # by file descriptor
        self._closed = False

    def put(self, event: Any) -> None:
        """Tell the thread."""
        self._events.append(event)
        if self._sleeps:
            self._ring()

    def _ring(self) -> None:
        with self._lock:
            if self._sleeps and not self._closed:
                self._sleeps = False
                os.eventfd_write(self._bell, 1)

    def add(self, descriptor: int, read: Read) -> None:
        """Call `read` whenever there is something to read, until it is the end or `remove` is called."""
        with self._lock:
            if not self._closed:
                self._reads[descriptor] = read
                self._poll.register(descriptor, select.EPOLLIN)

    def remove(self, descriptor: int) -> None:
        """Read it no more; to be called before it is closed. It may have been removed already."""
        with self._lock:
            self._remove(descriptor)

    def _remove(self, descriptor: int) -> None:
        if self._reads.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def empty(self) -> bool:
        """Whether nothing was put; sockets are not looked at."""
        return not self._events

    def take(self, seconds: float = 0) -> list[Any]:
        """All that has come, after waiting for something for so long at most."""
        for descriptor, _ in self._found(seconds):
            if descriptor == self._bell:
                os.eventfd_read(self._bell)
                continue
            with self._lock:
                read = self._reads.get(descriptor)  # it may have been removed since it was found
                if read is not None and not read():
                    self._remove(descriptor)
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def _found(self, seconds: float) -> list[tuple[int, int]]:
        """The descriptors of which there is something to read."""
        if seconds == 0:
            return self._poll.poll(0)
        self._sleeps = True
        try:
            # Looked at after the flag was set: what was put before that has rung for nobody.
            return self._poll.poll(0 if self._events else seconds)
        finally:
            self._sleeps = False

    def close(self) -> None:
        """Nothing is taken any more; what is put from now on is forgotten."""
        with self._lock:
            self._closed = True
            self._reads.clear()
            self._poll.close()
            os.close(self._bell)
