"""What was received and not yet handled: a bound on the memory that all peers together can fill.

Beyond it sockets are not read, so that the peers' own queues fill, and they stop reading their sources.
Invariant: sizes are taken back in the order in which they came, as the inbox of the engine is a queue.
"""

from __future__ import annotations

import threading
from collections import deque

import trio

from holdfast.runtime.transport.bell import Bell


class Inflow:
    """`handled` may be called by any thread, the rest by trio's."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._bells: set[Bell] = set()

    @property
    def bytes_waiting(self) -> int:
        """Size of what was not handled yet."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Whether sockets should not be read."""
        return self._bytes > self._bytes_max

    def came(self, size: int) -> None:
        """So many bytes were put into the inbox."""
        with self._lock:
            self._sizes.append(size)
            self._bytes += size

    def handled(self) -> None:
        """The oldest of what came has been handled."""
        with self._lock:
            was_full = self.is_full
            self._bytes -= self._sizes.popleft()
            bells = list(self._bells) if was_full and not self.is_full else []
        for bell in bells:
            bell.ring()

    async def wait_room(self) -> None:
        """Return once there is room."""
        bell = Bell(trio.lowlevel.current_trio_token())
        with self._lock:
            self._bells.add(bell)
        try:
            while self.is_full:
                await bell.wait()
        finally:
            with self._lock:
                self._bells.discard(bell)
