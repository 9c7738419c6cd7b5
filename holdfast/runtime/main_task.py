"""The main task of a worker process: signals and progress, around the engine thread.

It runs in the main thread, because only that one hears signals. The first SIGINT or SIGTERM ends the run cleanly, a
second one ends the process at once: what was durable then is durable, and the next start goes on from it.
It waits for nothing but its own queue, so it needs no event loop: loading one would be a fifth of a short run.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.core.application import Application
from holdfast.runtime.clock import WAIT_SECONDS_MAX
from holdfast.runtime.engine_thread import EngineThread, Options

PROGRESS_SECONDS = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class MainTask:
    """Runs an application in this process until it ends or is told to."""

    def __init__(self, app: Application, options: Options, seconds: float | None = None) -> None:
        """`seconds` ends the run cleanly after this time."""
        self.signal: int | None = None  # what asked the run to end
        self._seconds = seconds
        # Numbers of signals; None: the engine has ended. (A SimpleQueue may be put to from within a signal's handler.)
        self._happened: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.engine = EngineThread(app, options, lambda: self._happened.put(None))

    def run(self, on_stop: Callable[[int], None], on_progress: Callable[[], None] | None) -> None:
        """Run to the end; `on_stop` is called at the first signal, `on_progress` about once a second."""
        started = time.monotonic()
        stop_at = None if self._seconds is None else started + self._seconds
        show_at = None if on_progress is None else started + PROGRESS_SECONDS
        with self._hearing():
            self.engine.start()
            while True:
                try:
                    number = self._happened.get(timeout=_until(stop_at, show_at))
                except queue.Empty:
                    pass
                else:
                    if number is None:
                        return
                    self._hear(number, on_stop)
                now = time.monotonic()
                if stop_at is not None and now >= stop_at:
                    stop_at = None
                    self.engine.ask_stop()
                if on_progress is not None and show_at is not None and now >= show_at:
                    on_progress()
                    show_at = now + PROGRESS_SECONDS

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        """Signals come into the queue while this lasts."""
        before = {number: signal.signal(number, lambda number, _: self._happened.put(number)) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, on_stop: Callable[[int], None]) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        on_stop(number)
        self.engine.ask_stop()


def _until(*moments: float | None) -> float | None:
    """How long to wait for the earliest of these moments, at once; None where there is none."""
    known = [moment for moment in moments if moment is not None]
    return min(WAIT_SECONDS_MAX, max(0.0, min(known) - time.monotonic())) if known else None
