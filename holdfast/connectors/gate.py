"""A reader that waits in one thread and is closed from another: who comes last lets go of what it holds.

Invariant: `let_go` is called once, when the gate is closed and nobody is inside, by the thread that was inside if
there was one; so what belongs to one thread may be let go of there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Gate:
    """One thread at a time is inside; any thread may close."""

    def __init__(self, let_go: Callable[[], None], wake: Callable[[], object] = lambda: None) -> None:
        """`wake` ends a wait inside for something other than `closed`."""
        self.closed = threading.Event()
        self._let_go = let_go
        self._wake = wake
        self._lock = threading.Lock()
        self._inside = False

    @contextmanager
    def inside(self) -> Iterator[bool]:
        """Be inside, unless it is closed: False then."""
        with self._lock:
            enters = self._inside = not self.closed.is_set()
        try:
            yield enters
        finally:
            if enters:
                with self._lock:
                    self._inside = False
                    if self.closed.is_set():
                        self._let_go()

    def close(self) -> None:
        """Nobody enters any more."""
        with self._lock:
            if self.closed.is_set():
                return
            self.closed.set()
            if self._inside:
                self._wake()
            else:
                self._let_go()
