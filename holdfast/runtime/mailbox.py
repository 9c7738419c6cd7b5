"""Mailbox: what callers have sent to one source, from the call until it is durable, or answered.

Callers put letters in, from any thread; everything else happens on the engine thread, for all that has arrived at once.
Invariants: letters are logged in the order in which they were put; a letter is given back to the machine of the next
life unless it was logged; each is settled once: acknowledged, answered, or failed.
A caller that has gone (cancelled) changes nothing: its letter is in the order already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from holdfast.core.replies import Answers
from holdfast.runtime.clock import now
from holdfast.worker.events import SourceRead


class Front(Protocol):
    """Where callers wait: an event loop, or their own threads."""

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        """Tell the callers what came of these letters: an answer, or an exception. Any thread may call it."""


class Letter:
    """One message on its way, or one question."""

    __slots__ = ("asks", "front", "payload", "waiter")

    def __init__(self, payload: Any, front: Front, *, asks: bool) -> None:
        self.payload = payload  # the record as it is logged
        self.front = front
        self.asks = asks  # whether the caller waits for the answer and not only until it is durable
        self.waiter: Any = None  # the front's own


class Mailbox:
    """The letters of one partition."""

    def __init__(self) -> None:
        self.waiting: deque[Letter] = deque()  # nobody has taken them yet
        self.is_hungry = False  # the machine waits for records, and `arrived` is to be told
        self.arrived: Callable[[], None] = lambda: None
        self.refusal: Callable[[], Exception] | None = None  # why nothing new is taken; what waits still is
        self.failure: Callable[[], Exception] | None = None  # why nothing is taken any more
        self._taken: deque[Letter] = deque()  # given to the machine, not yet durable
        self._first_taken = 0  # number of the first of them
        self._unanswered: deque[tuple[int, Letter]] = deque()  # durable, not yet answered, with their numbers

    # --- any thread

    def put(self, letter: Letter) -> None:
        """Send it."""
        if self.refusal is not None:
            raise self.refusal()
        self.admit(letter)

    def admit(self, letter: Letter) -> None:
        """Send what was let in before anything was refused."""
        self.waiting.append(letter)
        if self.is_hungry:
            self.is_hungry = False
            self.arrived()
        if self.failure is not None:  # it ended in between: nobody else would look
            settle([(letter, self.failure()) for letter in take_all(self.waiting)])

    # --- the engine thread

    def reopen(self, offset: int) -> None:
        """A life begins to read after record `offset`: what was taken and is not logged is given again."""
        self.acknowledge(offset)
        self.waiting.extendleft(reversed(self._taken))
        self._taken.clear()
        self._first_taken = offset
        self.is_hungry = False

    def take(self, records_max: int, bytes_max: int, partition: int) -> SourceRead | None:
        """What has arrived; None, and `arrived` will be called, if it is nothing."""
        waiting = self.waiting
        if not waiting:
            self.is_hungry = True
            if not waiting:
                return None
        self.is_hungry = False
        records: list[bytes] = []
        size = 0
        take, keep = waiting.popleft, self._taken.append
        for _ in range(min(len(waiting), records_max)):
            letter = take()
            keep(letter)
            records.append(letter.payload)
            size += len(letter.payload)
            if size >= bytes_max:
                break
        offset = self._first_taken + len(self._taken)
        return SourceRead(now(), partition, b"".join(records), len(records), offset, False)

    def acknowledge(self, upto: int) -> None:
        """Records before number `upto` are durable."""
        durable = []
        while self._taken and self._first_taken < upto:
            letter = self._taken.popleft()
            if letter.asks:
                self._unanswered.append((self._first_taken, letter))
            else:
                durable.append((letter, None))
            self._first_taken += 1
        settle(durable)

    def answer(self, upto: int, answers: Answers) -> None:
        """Records before number `upto` are applied."""
        self.acknowledge(upto)  # what was applied was durable; of a replayed epoch nothing else says so
        answered = []
        unanswered = self._unanswered
        while unanswered and unanswered[0][0] < upto:
            number, letter = unanswered.popleft()
            answered.append((letter, answers.get(number)))
        settle(answered)

    def fail(self, failure: Callable[[], Exception]) -> None:
        """Nothing is taken any more, and nothing will be answered."""
        self.refusal = self.failure = failure
        left = [letter for _, letter in self._unanswered] + take_all(self._taken) + take_all(self.waiting)
        self._unanswered.clear()
        settle([(letter, failure()) for letter in left])


def take_all(letters: deque[Letter]) -> list[Letter]:
    """Empty it; several threads may do so at once."""
    taken = []
    try:
        while True:
            taken.append(letters.popleft())
    except IndexError:
        return taken


def settle(settled: list[tuple[Letter, Any]]) -> None:
    """Wake the callers, those of one front at once."""
    while settled:
        front = settled[0][0].front
        front.wake([pair for pair in settled if pair[0].front is front])
        settled = [pair for pair in settled if pair[0].front is not front]
