"""A live application run by the real command and killed with SIGKILL again and again, until all has come out."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.cli.command import running

SECONDS_MAX = 60.0
POLL_SECONDS = 0.002
STRIKE_SECONDS_MAX = 0.01  # between the progress that is waited for and the kill
STRIDE_MAX = 150  # outputs from one kill to the next, at most
SIGNALLED = 128


def survive(folder: Path, *, progress: Callable[[], int], upto: int, kills: int, seed: int = 1) -> int:
    """Kill the run of `app.py` so often, then let it finish and end it; return how many kills came before the end.

    `progress` says how many outputs stand; `upto` of them are all.
    """
    random = Random(seed)
    struck = 0
    for _ in range(kills):
        with running(folder, "run", "app.py") as process:
            wait_for_more(progress, min(upto, progress() + random.randint(1, STRIDE_MAX)), process)
            time.sleep(random.uniform(0.0, STRIKE_SECONDS_MAX))
            struck += progress() < upto
            process.send_signal(signal.SIGKILL)
            process.wait(SECONDS_MAX)
    finish(folder, progress=progress, upto=upto)
    return struck


def finish(folder: Path, *, progress: Callable[[], int], upto: int) -> None:
    """Run until all outputs stand, then end it cleanly."""
    with running(folder, "run", "app.py") as process:
        wait_for_more(progress, upto, process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=SECONDS_MAX)
        # Where all stood already, the signal may come before the process listens to it.
        assert process.returncode in (SIGNALLED + signal.SIGTERM, -signal.SIGTERM), stderr


def wait_for_more(progress: Callable[[], int], aim: int, process: subprocess.Popen[Any]) -> None:
    """Wait until so many outputs stand."""
    wait_until(lambda: progress() >= aim, process)


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
