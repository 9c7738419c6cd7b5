"""A live application run by the real command and killed with SIGKILL again and again, until all has come out.

Its input is fed while it runs, never far ahead of what has come out, so that every kill finds it at work.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.cli.command import running

SECONDS_MAX = 60.0
POLL_SECONDS = 0.002
STRIKE_SECONDS_MAX = 0.01  # between the progress that is waited for and the kill
STRIDE_MAX = 150  # outputs from one kill to the next, at most
AHEAD_MAX = 100
PIECE = 10  # records fed at a time
SIGNALLED = 128


@dataclass(slots=True)
class Killing:
    """One live application, `app.py` in a folder, from its first start to its end."""

    folder: Path
    feed: Callable[[int, int], None]  # makes the records numbered from the first to before the second, from 0
    progress: Callable[[], int]  # how many outputs stand
    total: int  # of records and of outputs
    fed: int = 0

    def survive(self, kills: int, *, seed: int = 1, between: Callable[[Random], None] = lambda random: None) -> None:
        """Kill so often, each time before all has come out; then run to the end. `between` comes after a kill."""
        random = Random(seed)
        assert kills * (STRIDE_MAX + AHEAD_MAX) < self.total
        for _ in range(kills):
            aim = self.progress() + random.randint(1, STRIDE_MAX)
            with running(self.folder, "run", "app.py") as process:
                self.wait_for(aim, process)
                time.sleep(random.uniform(0.0, STRIKE_SECONDS_MAX))
                process.send_signal(signal.SIGKILL)
                process.wait(SECONDS_MAX)
            assert self.progress() < self.total
            between(random)
        self.finish()

    def finish(self) -> None:
        """Run until all outputs stand, then end it cleanly."""
        with running(self.folder, "run", "app.py") as process:
            self.wait_for(self.total, process)
            ended_cleanly(process)

    def wait_for(self, aim: int, process: subprocess.Popen[Any]) -> None:
        """Feed until so many outputs stand."""
        wait_until(lambda: self.feed_some() >= aim, process)

    def feed_some(self) -> int:
        """Feed a piece unless enough lies ahead; return how many outputs stand."""
        out = self.progress()
        if self.fed < self.total and self.fed - out < AHEAD_MAX:
            end = min(self.fed + PIECE, self.total)
            self.feed(self.fed, end)
            self.fed = end
        return out


def finish(folder: Path, *, progress: Callable[[], int], upto: int) -> None:
    """Run until so many outputs stand, then end it cleanly."""
    with running(folder, "run", "app.py") as process:
        wait_until(lambda: progress() >= upto, process)
        ended_cleanly(process)


def ended_cleanly(process: subprocess.Popen[str]) -> None:
    """End a run by a signal, which it may meet before it listens to it: all may have stood when it began."""
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode in (SIGNALLED + signal.SIGTERM, -signal.SIGTERM), stderr


def wait_until(done: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Wait for what the running process does."""
    deadline = time.monotonic() + SECONDS_MAX
    while not done():
        assert process.poll() is None, f"ended with {process.returncode}: {process.communicate()[1]}"
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(POLL_SECONDS)


def count_lines(path: Path) -> Callable[[], int]:
    """How many lines a file has now."""
    return lambda: path.read_bytes().count(b"\n") if path.exists() else 0
