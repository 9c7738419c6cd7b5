"""Fronts: how callers wait for what they sent, in an asyncio loop, in trio, or each in a thread of its own.

Invariants: callers of one front are woken together, in one hop from the engine thread to theirs; a caller that was
cancelled is passed over. Nothing global is touched: no signal handler, no policy, no loop of another's.
What a letter means is not looked at here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.core.errors import UsageError
from holdfast.runtime.mailbox import Front, Letter

if TYPE_CHECKING:
    import asyncio

    import trio

Put = Callable[[Letter], None]
ELSEWHERE = "this engine was entered in another event loop; use engine.blocking in other threads"


class AsyncFront(Front, Protocol):
    """Where coroutines wait."""

    def wait(self, letter: Letter, put: Put) -> Awaitable[Any]:
        """Send the letter with `put`; awaited, it gives what comes of it."""

    async def wait_shielded(self, letter: Letter, put: Put) -> Any:
        """The same, to its end even if the caller is cancelled meanwhile; the cancellation follows."""


class AsyncioFront:
    """The asyncio loop that is running."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._running = asyncio.get_running_loop  # bound once: every call asks
        self._create_future = self._loop.create_future

    def wait(self, letter: Letter, put: Put) -> asyncio.Future[Any]:
        if self._running() is not self._loop:
            raise UsageError(ELSEWHERE)
        letter.waiter = future = self._create_future()
        put(letter)
        return future

    async def wait_shielded(self, letter: Letter, put: Put) -> Any:
        import asyncio

        letter.waiter = future = self._create_future()
        put(letter)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return future.result()

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_set_results, settled)
        except RuntimeError:  # the loop has been closed, and its callers with it
            pass


def _set_results(settled: list[tuple[Letter, Any]]) -> None:
    for letter, result in settled:
        if not letter.waiter.done():
            letter.waiter.set_result(result)


class TrioFront:
    """The trio run that we are in."""

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._task = trio.lowlevel.current_task
        self._reschedule = trio.lowlevel.reschedule

    async def wait(self, letter: Letter, put: Put) -> Any:
        if not self._trio.lowlevel.in_trio_task() or self._trio.lowlevel.current_trio_token() is not self._token:
            raise UsageError(ELSEWHERE)
        await self._trio.lowlevel.checkpoint_if_cancelled()
        letter.waiter = self._task()
        put(letter)

        succeeded = self._trio.lowlevel.Abort.SUCCEEDED

        def abort(_: Callable[[], Any]) -> trio.lowlevel.Abort:
            letter.waiter = None
            return succeeded

        await self._trio.lowlevel.wait_task_rescheduled(abort)
        return letter.payload

    async def wait_shielded(self, letter: Letter, put: Put) -> Any:
        with self._trio.CancelScope(shield=True):
            result = await self.wait(letter, put)
        await self._trio.lowlevel.checkpoint_if_cancelled()
        return result

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        try:
            self._token.run_sync_soon(self._resume, settled)
        except self._trio.RunFinishedError:
            pass

    def _resume(self, settled: list[tuple[Letter, Any]]) -> None:
        for letter, result in settled:
            if letter.waiter is not None:
                letter.payload = result
                self._reschedule(letter.waiter)


class ThreadFront:
    """Any thread: the caller blocks."""

    def wait(self, letter: Letter, put: Put) -> Any:
        """Send the letter with `put` and return what comes of it."""
        lock = threading.Lock()
        lock.acquire()
        outcome: list[Any] = []
        letter.waiter = (lock, outcome)
        put(letter)
        lock.acquire()
        return outcome[0]

    def wake(self, settled: list[tuple[Letter, Any]]) -> None:
        for letter, result in settled:
            lock, outcome = letter.waiter
            outcome.append(result)
            lock.release()


def front_here() -> AsyncFront:
    """The front of the event loop that the caller runs in."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return TrioFront()
    return AsyncioFront()
