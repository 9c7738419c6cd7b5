"""Taking items one by one from what a user's function gives: an iterator, plain or async.

The iterator is made at the first `next`, in the thread that calls it, and stays there: users keep things in
it that belong to one thread. Any thread may close; a plain iterator that waits inside its own code can't be
interrupted and is closed once it gives its next item, which is dropped; an async one is cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Final

from holdfast.connectors.event_loop import EventLoop
from holdfast.core.errors import HoldfastError, ProcessingError


class _End:
    """There is no next item."""


END: Final = _End()


class Pull:
    """The items of `start()`. `loop` gives the event loop where async ones run; `name` is for errors."""

    def __init__(self, start: Callable[[], Any], loop: Callable[[], EventLoop], name: str) -> None:
        self._start = start
        self._loop = loop
        self._name = name
        self._iterator: Any = None
        self._is_async = False
        self._taking = threading.Lock()  # held while the user's code runs
        self._guard = threading.Lock()  # over the two below
        self._pending: Future[Any] | None = None
        self.closed = False

    def next(self) -> Any:
        """The next item; END when there is none or after `close`."""
        try:
            with self._taking:
                item = END if self.closed else self._take()
        finally:
            if self.closed:
                self._dispose()
        return END if self.closed else item

    def _take(self) -> Any:
        try:
            if self._iterator is None:
                self._begin()
            if self._is_async:
                return self._wait(anext, self._iterator, END)
            return next(self._iterator, END)
        except HoldfastError:
            raise
        except CancelledError:
            if self.closed:
                return END
            raise ProcessingError(f"{self._name} was cancelled") from None
        except Exception as error:
            raise ProcessingError(f"{self._name} raised {type(error).__name__}: {error}") from error

    def _begin(self) -> None:
        items = self._start()
        if hasattr(items, "__await__"):
            items = self._wait(lambda: items)
        self._is_async = hasattr(items, "__aiter__")
        self._iterator = aiter(items) if self._is_async else iter(items)

    def _wait(self, function: Callable[..., Any], *args: Any) -> Any:
        with self._guard:
            if self.closed:
                return END
            pending = self._pending = self._loop().submit(function, *args)
        try:
            return pending.result()
        finally:
            self._pending = None

    def close(self) -> None:
        """No further item; a thread that waits in `next` for an async one gets END."""
        with self._guard:
            self.closed = True
            pending = self._pending
        if pending is not None:
            pending.cancel()
        self._dispose()

    def _dispose(self) -> None:
        if not self._taking.acquire(blocking=False):
            return  # the thread in `next` does it
        try:
            iterator, self._iterator = self._iterator, None
            close = getattr(iterator, "aclose" if self._is_async else "close", None)
            if close is None:
                return
            if self._is_async:
                self._loop().submit(close).result()
            else:
                close()
        except Exception:  # noqa: BLE001  what is raised on the way out belongs to no record
            pass
        finally:
            self._taking.release()
