"""Passage: requests whose messages go through an intake function, each on its way to the log.

Invariants: requests leave in the order in which they came, however the calls overlap; at most `concurrency` calls are
under way; where a call fails, nothing of its request goes on, and that requester alone is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from holdfast.connectors.calls import Calls

T = TypeVar("T")


class Passage:
    """All of one source; requests come in threads of their own."""

    def __init__(self, function: Callable[[Any], Any], concurrency: int, name: str) -> None:
        self._calls = Calls(function, concurrency, name)
        self._free = threading.Semaphore(concurrency)
        self._entering = threading.Lock()  # held by the request whose calls are being begun
        self._last_left = threading.Event()  # set once the request that came last has left
        self._last_left.set()

    def through(self, messages: Sequence[Any], go_on: Callable[[list[Any]], T]) -> T:
        """Call for each message, and then `go_on` with the results, when those before have gone on.

        Raises what the function raised for the first message for which it did, and CancelledError after `close`.
        """
        left = threading.Event()
        with self._entering:
            before_left, self._last_left = self._last_left, left
            outcomes = [self._begin(message) for message in messages]
        try:
            results = [outcome.result() for outcome in outcomes]
            before_left.wait()
            return go_on(results)
        finally:
            for outcome in outcomes:
                outcome.cancel()
            before_left.wait()
            left.set()

    def _begin(self, message: Any) -> Future[Any]:
        self._free.acquire()
        try:
            outcome = self._calls.submit(message)
        except RuntimeError:  # closed in between
            outcome = Future()
            outcome.cancel()
        outcome.add_done_callback(lambda _: self._free.release())
        return outcome

    def close(self) -> None:
        """Calls that have not begun are given up; later ones begin anew."""
        self._calls.close()
