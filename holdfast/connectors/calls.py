"""Calls of an intake function: plain ones in a few threads, coroutines in an asyncio loop of their own.

Whoever submits bounds how many are under way, and takes the results in the order in which it submitted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from holdfast.connectors.event_loop import EventLoop
from holdfast.core.signatures import is_coroutine_function


class Calls:
    """Calls one function for many records."""

    def __init__(self, function: Callable[[Any], Any], concurrency: int, name: str) -> None:
        self.concurrency = concurrency
        self._function = function
        self._name = name
        self._is_async = is_coroutine_function(function)
        self._loop: EventLoop | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._making = threading.Lock()

    def submit(self, record: Any) -> Future[Any]:
        """Begin a call; the future has its result, or what it raised."""
        if self._is_async:
            return self._in_loop().submit(self._function, record)
        return self._in_pool().submit(self._function, record)

    def _in_loop(self) -> EventLoop:
        with self._making:
            if self._loop is None:
                self._loop = EventLoop(self._name)
            return self._loop

    def _in_pool(self) -> ThreadPoolExecutor:
        with self._making:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix=self._name)
            return self._pool

    def close(self) -> None:
        """No further call; those under way end when they end."""
        with self._making:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
            self._loop = None
