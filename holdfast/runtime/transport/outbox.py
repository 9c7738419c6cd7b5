"""What waits to be sent on one link.

Filled by any thread, emptied by the one that writes. Invariants: messages leave in the order in which they came, each
once; `clear` drops all that waits, so that a link that was lost never sends a part of what it was given before.
Not here: what follows when it overflows (peers), and frames (connection).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Message = tuple[int, bytes]  # channel, bytes


class Outbox:
    """A queue of messages with a size."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, from any thread, when something waits and nothing did."""
        self._wake = wake
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._taken = 0  # messages taken so far, to see whether it moves

    def put(self, channel: int, message: bytes) -> int:
        """Append a message; gives how many bytes wait now."""
        with self._lock:
            was_empty = not self._messages
            self._messages.append((channel, message))
            self._bytes += len(message)
            waiting = self._bytes
        if was_empty:
            self._wake()
        return waiting

    def put_latest(self, channel: int, message: bytes) -> None:
        """Put a message in place of those of its channel that have not left yet."""
        with self._lock:
            was_empty = not self._messages
            kept = [waiting for waiting in self._messages if waiting[0] != channel]
            self._messages = deque([*kept, (channel, message)])
            self._bytes = sum(len(waiting) for _, waiting in self._messages)
        if was_empty:
            self._wake()

    def take(self, bytes_max: int) -> list[Message]:
        """The next messages, about so many bytes of them; at least one if there is any."""
        taken: list[Message] = []
        size = 0
        with self._lock:
            while self._messages and (not taken or size + len(self._messages[0][1]) <= bytes_max):
                taken.append(self._messages.popleft())
                size += len(taken[-1][1])
            self._bytes -= size
            self._taken += len(taken)
        return taken

    def clear(self) -> int:
        """Drop everything; gives how many messages those were."""
        with self._lock:
            count = len(self._messages)
            self._messages.clear()
            self._bytes = 0
        return count

    @property
    def bytes_waiting(self) -> int:
        """Size of what waits."""
        return self._bytes

    @property
    def taken(self) -> int:
        """Messages taken so far."""
        return self._taken
