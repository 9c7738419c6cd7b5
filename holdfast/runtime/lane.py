"""Lane: letters whose message goes through an intake function before it is put into the mailbox.

Invariants: letters leave in the order in which they came, however their calls overlap; at most `concurrency` calls are
under way; a call that fails is told to its caller alone, and nothing of it is logged.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from holdfast.connectors.calls import Calls
from holdfast.runtime.mailbox import Letter, settle

Record = Callable[[Any], bytes]  # from what the function gave to the record that is logged


class _Entry:
    """A letter with its call."""

    __slots__ = ("letter", "message", "outcome", "record")

    def __init__(self, letter: Letter, message: object, record: Record) -> None:
        self.letter = letter
        self.message = message
        self.record = record
        self.outcome: Future[Any] | None = None  # once its call is over


class Box(Protocol):
    """Where letters go from here."""

    refusal: Callable[[], Exception] | None  # why nothing new is taken; what is on its way still is
    failure: Callable[[], Exception] | None  # why nothing is taken any more
    arrived: Callable[[], None]

    def put(self, letter: Letter) -> None:
        """Send it."""

    def admit(self, letter: Letter) -> None:
        """Send what was let in before anything was refused."""


class Lane:
    """Before one mailbox, or another box."""

    def __init__(self, mailbox: Box, calls: Calls) -> None:
        self._mailbox = mailbox
        self._calls = calls
        self._entries: deque[_Entry] = deque()  # in order, until they leave
        self._unbegun: deque[_Entry] = deque()
        self._under_way = 0
        self._guard = threading.RLock()  # a call may be over before `submit` has returned

    @property
    def is_empty(self) -> bool:
        """Whether no letter is on its way."""
        return not self._entries

    def put(self, letter: Letter, message: object, record: Record) -> None:
        """Send a message through the function; any thread."""
        if self._mailbox.refusal is not None:
            raise self._mailbox.refusal()
        entry = _Entry(letter, message, record)
        with self._guard:
            self._entries.append(entry)
            self._unbegun.append(entry)
            self._begin()
        if self._mailbox.failure is not None:  # it ended in between: nobody else would look
            self.fail(self._mailbox.failure)

    def fail(self, failure: Callable[[], Exception]) -> None:
        """Nothing is taken any more; what calls that are under way will give nobody waits for."""
        with self._guard:
            left = list(self._entries)
            self._entries.clear()
            self._unbegun.clear()
        self._calls.close()
        settle([(entry.letter, failure()) for entry in left])

    def _begin(self) -> None:
        while self._unbegun and self._under_way < self._calls.concurrency:
            entry = self._unbegun.popleft()
            self._under_way += 1
            self._calls.submit(entry.message).add_done_callback(lambda future, entry=entry: self._over(entry, future))  # type: ignore[misc]

    def _over(self, entry: _Entry, outcome: Future[Any]) -> None:
        failed: list[tuple[Letter, Any]] = []
        with self._guard:
            self._under_way -= 1
            entry.outcome = outcome
            while self._entries and (first := self._entries[0].outcome) is not None:
                leaving = self._entries.popleft()
                try:
                    leaving.letter.payload = leaving.record(first.result())
                except BaseException as error:  # noqa: BLE001 - whatever it is, the caller hears of it
                    failed.append((leaving.letter, error))
                else:
                    self._mailbox.admit(leaving.letter)
            self._begin()
            if not self._entries:
                self._mailbox.arrived()  # who waits for the lane to be empty looks again
        settle(failed)
