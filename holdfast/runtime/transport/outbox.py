"""What waits to be sent on one link.

Filled by any thread, emptied by the one that writes. While nothing waits and the writer rests, who puts a short message
sends it himself: waking the writer costs more than sending, in time and in work (a fifth of a hop between workers).
Invariants: messages leave in the order in which they came, each once; only one thread sends at a time; `clear` drops
all that waits, so that a link that was lost never sends a part of what it was given before.
Not here: what follows when it overflows (peers), and frames (connection).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

Message = tuple[int, bytes]  # channel, bytes
SendNow = Callable[[int, Sequence[bytes]], bytes]
SHORT_BYTES_MAX: Final = 1 << 16


class Outbox:
    """A queue of messages with a size."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called, from any thread, when something waits and nothing did."""
        self._wake = wake
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._taken = 0  # messages taken so far, to see whether it moves
        self._send_now: SendNow | None = None
        self._writing = False  # the writer sends what it has taken
        self._rest = b""  # of a message that was sent at once, as far as there was room

    def connect(self, send_now: SendNow) -> None:
        """The writer is there, and rests. `send_now` sends what there is room for and gives the rest of its frames."""
        with self._lock:
            self._send_now = send_now

    def disconnect(self, send_now: SendNow | None = None) -> None:
        """The writer of that function ends, or whoever it is: nothing is sent in its place once this has returned."""
        with self._lock:
            if send_now is None or send_now == self._send_now:
                self._send_now = None
                self._writing = False
                self._rest = b""

    def put(self, channel: int, message: bytes) -> int:
        """Append a message, or send it; gives how many bytes wait now."""
        return self._put(channel, (message,), replaces=False)

    def put_all(self, channel: int, messages: Sequence[bytes]) -> int:
        """Append these messages, or send them at once together; gives how many bytes wait now."""
        return self._put(channel, messages, replaces=False)

    def put_latest(self, channel: int, message: bytes) -> None:
        """Put a message in place of those of its channel that have not left yet."""
        self._put(channel, (message,), replaces=True)

    def _put(self, channel: int, messages: Sequence[bytes], *, replaces: bool) -> int:
        size = sum(map(len, messages))
        with self._lock:
            wakes = not self._messages
            if self._is_free and size <= SHORT_BYTES_MAX:
                wakes = self._send(channel, messages)
            else:
                if replaces:
                    self._messages = deque(waiting for waiting in self._messages if waiting[0] != channel)
                    self._bytes = sum(len(waiting) for _, waiting in self._messages)
                self._messages.extend((channel, message) for message in messages)
                self._bytes += size
            waiting_bytes = self._bytes
        if wakes:
            self._wake()
        return waiting_bytes

    @property
    def _is_free(self) -> bool:
        return self._send_now is not None and not (self._writing or self._rest or self._messages)

    def _send(self, channel: int, messages: Sequence[bytes]) -> bool:
        """Send them here; whether the writer must send the rest."""
        assert self._send_now is not None
        self._rest = self._send_now(channel, messages)
        self._taken += len(messages)
        return bool(self._rest)

    def take_rest(self) -> bytes:
        """What is to be sent before anything else."""
        with self._lock:
            rest, self._rest = self._rest, b""
            self._writing = bool(rest)
        return rest

    def take(self, bytes_max: int) -> list[Message]:
        """The next messages, about so many bytes of them; at least one if there is any and no rest goes before it."""
        taken: list[Message] = []
        size = 0
        with self._lock:
            while not self._rest and self._messages and (not taken or size + len(self._messages[0][1]) <= bytes_max):
                taken.append(self._messages.popleft())
                size += len(taken[-1][1])
            self._bytes -= size
            self._taken += len(taken)
            self._writing = bool(taken)
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
