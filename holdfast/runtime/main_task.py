"""The main task of a worker process: signals, progress and, later, sockets, around the engine thread.

It runs in the main thread, because only that one hears signals. The first SIGINT or SIGTERM ends the run cleanly, a
second one ends the process at once: what was durable then is durable, and the next start goes on from it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable

import trio

from holdfast.core.application import Application
from holdfast.runtime.engine_thread import EngineThread, Options

PROGRESS_SECONDS = 1.0


class MainTask:
    """Runs an application in this process until it ends or is told to."""

    def __init__(self, app: Application, options: Options, seconds: float | None = None) -> None:
        """`seconds` ends the run cleanly after this time."""
        self.signal: int | None = None  # what asked the run to end
        self._seconds = seconds
        self._ended: trio.Event | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self.engine = EngineThread(app, options, self._on_end)

    def run(self, on_stop: Callable[[int], None], on_progress: Callable[[], None] | None) -> None:
        """Run to the end; `on_stop` is called at the first signal, `on_progress` about once a second."""
        trio.run(self._main, on_stop, on_progress)

    async def _main(self, on_stop: Callable[[int], None], on_progress: Callable[[], None] | None) -> None:
        self._ended = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear, signals, on_stop)
                if self._seconds is not None:
                    nursery.start_soon(self._stop_after, self._seconds)
                if on_progress is not None:
                    nursery.start_soon(self._show, on_progress)
                self.engine.start()
                await self._ended.wait()
                nursery.cancel_scope.cancel()

    def _on_end(self) -> None:
        assert self._token is not None
        assert self._ended is not None
        self._token.run_sync_soon(self._ended.set)

    async def _hear(self, signals: AsyncIterator[int], on_stop: Callable[[int], None]) -> None:
        async for number in signals:
            if self.signal is not None:
                os._exit(128 + number)
            self.signal = number
            on_stop(number)
            self.engine.ask_stop()

    async def _stop_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.engine.ask_stop()

    async def _show(self, on_progress: Callable[[], None]) -> None:
        while True:
            await trio.sleep(PROGRESS_SECONDS)
            on_progress()
