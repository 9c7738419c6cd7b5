"""Posts: the records of requests, from their arrival until they are durable.

Invariants: records are given in the order in which they came, those of one request behind one another; a request is
answered with success only when its last record is durable. What a life of the engine has read and not logged is given
back, and its requester sends it again. One that has gone changes nothing: its records are in the order already.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

WAITING_RECORDS_MAX: Final = 10_000  # beyond these, or these bytes, requests are told to come later
WAITING_BYTES_MAX: Final = 64 << 20


class Post:
    """One request, and what came of it."""

    __slots__ = ("is_durable", "left", "settled")

    def __init__(self, count: int) -> None:
        self.left = count  # records of it that are not durable yet
        self.is_durable = False
        self.settled = threading.Event()

    def settle(self, *, durable: bool) -> None:
        """Tell the requester; only the first time counts."""
        if not self.settled.is_set():
            self.is_durable = durable
            self.settled.set()


class Posts:
    """All of one source."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[bytes, Post]] = deque()
        self._waiting_bytes = 0
        self._given: deque[tuple[bytes, Post]] = deque()  # to the engine, not known to be durable
        self._first_given = 0  # number of the first of these
        self._open = False

    # --- requests, each in a thread of its own

    def put(self, records: Sequence[bytes]) -> Post | None:
        """Take a request; None where nothing is taken now."""
        post = Post(len(records))
        size = sum(map(len, records))
        with self._changed:
            full = len(self._waiting) >= WAITING_RECORDS_MAX or self._waiting_bytes + size > WAITING_BYTES_MAX
            if not self._open or (full and self._waiting):
                return None
            self._waiting.extend((record, post) for record in records)
            self._waiting_bytes += size
            self._changed.notify_all()
        return post

    # --- the reader

    def reopen(self, offset: int) -> None:
        """Reading begins behind record `offset`: what was given and is not logged will not come, unless sent again."""
        with self._changed:
            while self._given and self._first_given + len(self._given) > offset:
                self._given.pop()[1].settle(durable=False)
            if not self._given:
                self._first_given = offset
            self._open = True

    def take(self, records_max: int, bytes_max: int, is_closed: Callable[[], bool]) -> list[bytes]:
        """The next records; waits for the first, and gives none once the reader is closed."""
        with self._changed:
            while not self._waiting:
                if is_closed():
                    return []
                self._changed.wait()
            if is_closed():
                return []
            taken: list[bytes] = []
            size = 0
            while self._waiting and len(taken) < records_max:
                record, _ = self._waiting[0]
                if taken and size + len(record) > bytes_max:
                    break
                self._given.append(self._waiting.popleft())
                taken.append(record)
                size += len(record)
            self._waiting_bytes -= size
            return taken

    def wake(self) -> None:
        """Have `take` look whether its reader is closed."""
        with self._changed:
            self._changed.notify_all()

    def refuse(self) -> None:
        """Nothing is taken any more until reading begins again; what nobody has read is given back."""
        with self._changed:
            self._open = False
            left, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
            self._changed.notify_all()
        # Of a request that was read in part the beginning may be logged: it is given back all the same, for its
        # requester sends it again, and ids tell what is there.
        for _, post in left:
            post.settle(durable=False)

    def forget(self) -> None:
        """Another engine begins, perhaps over other data: what was given to the one before is not its business."""
        self.refuse()
        with self._changed:
            while self._given:
                self._given.pop()[1].settle(durable=False)

    # --- what is durable

    def acknowledge(self, upto: int) -> None:
        """Records before number `upto` are durable."""
        with self._changed:
            while self._given and self._first_given < upto:
                _, post = self._given.popleft()
                self._first_given += 1
                post.left -= 1
                if not post.left:
                    post.settle(durable=True)
