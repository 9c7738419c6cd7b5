"""One cluster of real processes under a supervisor: started, struck at, started again.

Invariant: when it is closed, none of its processes is left, stopped ones included. What it makes of what is done to it
is looked at elsewhere (cluster_sight).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.chaos.cluster_processes import Process, look, processes, working_in

LEASH_SECONDS = 10.0  # how long processes may outlive a killed supervisor before that counts as a defect (promised: 2)
SCAN_SECONDS = 0.05  # the process table is not read more often than this while something is waited for
POLL_SECONDS = 0.005

Start = Callable[[], "subprocess.Popen[bytes]"]


class OutlivedError(Exception):
    """Processes went on without their supervisor."""


class LiveCluster:
    """What `holdfast run --workers N` started, and its process ids."""

    def __init__(self, start: Start, folder: Path, workers: int) -> None:
        """`start` starts the supervisor; `folder` is where all of it works."""
        self.folder = folder
        self.workers = workers
        self.lives = 0  # of the supervisor
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu: dict[int, float] = {}  # process id -> seconds used, as far as was seen
        self._scanned = 0.0
        self._found: list[Process] = []

    def start(self) -> None:
        """Start it, for the first time or again."""
        self._process = self._start()
        self.lives += 1
        self._scanned = 0.0

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        """The supervisor, running or not."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def code(self) -> int | None:
        """How the supervisor has ended, None while it has not."""
        return self.supervisor.poll()

    def processes(self) -> list[Process]:
        """Its processes now."""
        self._found = processes(self.supervisor.pid)
        self._scanned = time.monotonic()
        return self._found

    def is_complete(self) -> bool:
        """Whether the coordinator and all workers run, as of a moment ago."""
        if time.monotonic() - self._scanned > SCAN_SECONDS:
            self.processes()
        return len(self._found) > self.workers

    def note_cpu(self) -> None:
        """Look at what its processes have used."""
        for pid in [*(process.pid for process in processes(self.supervisor.pid)), self.supervisor.pid]:
            standing = look(pid)
            if standing is not None:
                self._cpu[pid] = standing.cpu_seconds

    @property
    def cpu_seconds(self) -> float:
        """What all its processes have used, but for what they did between the last look at them and their end."""
        return sum(list(self._cpu.values()))

    def send(self, process: Process, number: int) -> bool:
        """Send a signal; False if the process has just ended."""
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
            self._scanned = 0.0
            return True
        return False

    def send_supervisor(self, number: int) -> None:
        """Send a signal to the supervisor."""
        self.supervisor.send_signal(number)

    def kill_supervisor(self) -> float:
        """Kill it and wait until its processes have followed; returns how long they took."""
        self.supervisor.kill()
        self.supervisor.wait()
        return self._wait_for_children()

    def close(self) -> None:
        """End whatever is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for pid in working_in(self.folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait_for_children()

    def _wait_for_children(self) -> float:
        began = time.monotonic()
        while left := working_in(self.folder):
            if time.monotonic() - began > LEASH_SECONDS:
                raise OutlivedError(f"{len(left)} processes outlived their supervisor by {LEASH_SECONDS:g} s")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began
