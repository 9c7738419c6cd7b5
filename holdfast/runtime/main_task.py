"""The main task of a worker process: signals and progress, around the engine thread.

It runs in the main thread, because only that one hears signals. The first SIGINT or SIGTERM ends the run cleanly, a
second one ends the process at once: what was durable then is durable, and the next start goes on from it.
It waits for nothing but a pipe, so it needs no event loop: loading one would be a fifth of a short run. Into the pipe
the interpreter writes the number of a signal as soon as it comes. (A handler runs only once the main thread wakes up,
and a signal that comes just before that thread begins to wait on a lock doesn't wake it.)
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.core.application import Application
from holdfast.runtime.clock import WAIT_SECONDS_MAX
from holdfast.runtime.engine_thread import EngineThread, Options

PROGRESS_SECONDS = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENGINE_ENDED = 0  # in the pipe, where there is no such signal
READ_BYTES = 64


class MainTask:
    """Runs an application in this process until it ends or is told to."""

    def __init__(self, app: Application, options: Options, seconds: float | None = None) -> None:
        """`seconds` ends the run cleanly after this time."""
        self.signal: int | None = None  # what asked the run to end
        self._seconds = seconds
        self._happened, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.engine = EngineThread(app, options, self._engine_ended)

    def _engine_ended(self) -> None:
        os.write(self._tell, bytes([ENGINE_ENDED]))

    def run(self, on_stop: Callable[[int], None], on_progress: Callable[[], None] | None) -> None:
        """Run to the end; `on_stop` is called at the first signal, `on_progress` about once a second."""
        with self._hearing():
            self.engine.start()
            self._serve(on_stop, on_progress)
        os.close(self._happened)
        os.close(self._tell)

    def _serve(self, on_stop: Callable[[int], None], on_progress: Callable[[], None] | None) -> None:
        """Until the engine has ended."""
        started = time.monotonic()
        stop_at = None if self._seconds is None else started + self._seconds
        show_at = None if on_progress is None else started + PROGRESS_SECONDS
        while True:
            for number in self._wait(_until(stop_at, show_at)):
                if number == ENGINE_ENDED:
                    return
                if number in SIGNALS:
                    self._hear(number, on_stop)
            now = time.monotonic()
            if stop_at is not None and now >= stop_at:
                stop_at = None
                self.engine.ask_stop()
            if on_progress is not None and show_at is not None and now >= show_at:
                on_progress()
                show_at = now + PROGRESS_SECONDS

    def _wait(self, seconds: float | None) -> bytes:
        """What has happened, once something has or the time is up."""
        poll = select.poll()
        poll.register(self._happened, select.POLLIN)
        if poll.poll(None if seconds is None else math.ceil(seconds * 1000)):
            return os.read(self._happened, READ_BYTES)
        return b""

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        """Signals come into the pipe while this lasts."""
        before = {number: signal.signal(number, _leave_to_the_pipe) for number in SIGNALS}
        told_before = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(told_before)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, on_stop: Callable[[int], None]) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        on_stop(number)
        self.engine.ask_stop()


def _leave_to_the_pipe(number: int, frame: object) -> None:
    """What came is in the pipe already; a signal without a handler would not come there."""


def _until(*moments: float | None) -> float | None:
    """How long to wait for the earliest of these moments, at once; None where there is none."""
    known = [moment for moment in moments if moment is not None]
    return min(WAIT_SECONDS_MAX, max(0.0, min(known) - time.monotonic())) if known else None
