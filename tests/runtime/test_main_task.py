"""The main thread of a run hears every signal, whichever thread the system gives it to."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import holdfast as hf
from holdfast.runtime.engine_thread import Options
from holdfast.runtime.main_task import SIGNALS, MainTask

SECONDS_MAX = 20.0


def test_a_signal_that_comes_to_another_thread_is_heard_at_once(tmp_path: Path) -> None:
    heard: list[int] = []

    def ticks() -> Iterator[int]:
        # As one that comes just before the main thread begins to wait: it interrupts no waiting there.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        deadline = time.monotonic() + SECONDS_MAX
        while not heard and time.monotonic() < deadline:
            yield 1

    app = hf.Application("ticks")
    app.source(hf.sources.Generator(ticks)).sink(hf.sinks.Memory())
    before = [signal.getsignal(number) for number in SIGNALS]

    MainTask(app, Options(tmp_path / "d")).run(heard.append, None)

    assert heard == [signal.SIGINT]
    assert [signal.getsignal(number) for number in SIGNALS] == before
