"""Ends processes of a supervisor that were stopped for longer than the heartbeat limit, so that they are started again.

A stopped process can't beat: after that time the others have given it up. But it still holds the locks of its data
directory and of its output files, and would for ever; whoever takes over an output waits for that lock. Killed in the
middle of a write it leaves what any kill leaves, and lets go.
Invariant: only a process that was found stopped at every look for that long is ended, so that a supervisor that was
stopped itself, with its processes, does not take its own absence for theirs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import trio

LOOK_SECONDS = 0.25
STOPPED = "T"  # by a signal; a debugger's is another letter


class Frozen:
    """Counts for how long processes have been stopped."""

    def __init__(self, seconds: float) -> None:
        self._looks = max(1, round(seconds / LOOK_SECONDS))
        self._seen: dict[int, int] = {}  # process id -> looks at which it was stopped, without a gap

    def over(self, pids: Iterable[int]) -> list[int]:
        """Look once; return those that have been stopped for too long."""
        self._seen = {pid: self._seen.get(pid, 0) + 1 for pid in pids if is_stopped(pid)}
        return [pid for pid, looks in self._seen.items() if looks > self._looks]


def is_stopped(pid: int) -> bool:
    """Whether a process stands still because of a signal; False where the system can't say."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == STOPPED
    except OSError:
        return False


async def end_frozen(children: Callable[[], dict[int, str]], seconds: float, report: Callable[[str], None]) -> None:
    """Go on until cancelled; `children` gives process ids of children that nobody has waited for yet, and names."""
    frozen = Frozen(seconds)
    while True:
        await trio.sleep(LOOK_SECONDS)
        running = children()
        for pid in frozen.over(running):
            report(f"{running[pid]} was stopped for {seconds:g} s: the others have given it up, so it is ended")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
