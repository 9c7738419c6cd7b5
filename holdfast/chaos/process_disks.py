"""Disks of a cluster's processes that are lost or refuse to grow, and a cluster that is stopped and started again.

What a wiped disk held is kept aside for the referee, who needs the epoch table of the whole run.
"""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path

from holdfast.chaos.cluster_processes import look
from holdfast.chaos.striker import PATIENCE_SECONDS, Sign, Stage, StillError, Striker, Stroke
from holdfast.core.errors import ProcessingError
from holdfast.runtime.cluster_recorded import LOST

FULL_BYTES = 4096  # no file may be written behind this any more
STOPPED_CODE = 128 + signal.SIGTERM


class Disks(Striker):
    """Faults of what outlives a process."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._lost = 0
        self.strokes = {"wipe": self._wipe, "full-disk": self._full, "restart": self._restart}

    def _wipe(self) -> Stroke:
        """A worker dies, and its disk is lost before it is started again. All it had must be held by others before."""
        self._until(lambda: self._sight.is_whole(self._cluster.workers))
        (victim,) = self._draw(1)
        self._cluster.send_supervisor(signal.SIGSTOP)  # or it would be faster
        try:
            moment = self._kill(victim)
            self._until(lambda: _is_dead(victim.pid))
            self._lost += 1
            path = self._stage.data / f"worker-{victim.number}"
            path.rename(lost(self._stage.data, self._lost))
        finally:
            self._cluster.send_supervisor(signal.SIGCONT)
        return Stroke(f"wipe the disk of {victim}", moment, Sign.GENERATION, moment)

    def _full(self) -> Stroke:
        """A worker's files can't be written any more: everything ends with an error, and goes on once there is room."""
        (victim,) = self._draw(1)
        moment = time.time()
        try:
            resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
        except ProcessLookupError:
            raise StillError(f"{victim} has just ended by itself") from None
        since = self._end(ProcessingError.exit_code)
        return Stroke(f"no room for {victim}, then start again", moment, Sign.GENERATION, since)

    def _restart(self) -> Stroke:
        """Everything is stopped cleanly and started again."""
        moment = time.time()
        self._cluster.send_supervisor(signal.SIGTERM)
        since = self._end(STOPPED_CODE)
        return Stroke("stop everything, start again", moment, Sign.GENERATION, since)

    def _end(self, code: int) -> float:
        """Wait until the cluster has ended in the way that it should, and start it again; returns when."""
        if not self._sight.wait(lambda: self._cluster.code is not None, PATIENCE_SECONDS):
            raise StillError("it does not end")
        if self._cluster.code not in (code, 0):
            raise StillError(f"it ended with code {self._cluster.code} instead of {code}")
        since = time.time()
        if self._cluster.code == code:
            self._cluster.start()
        return since


def lost(data: Path, number: int) -> Path:
    """Where the wiped disks of a data directory are kept."""
    return data.parent / LOST.replace("*", str(number))


def _is_dead(pid: int) -> bool:
    standing = look(pid)
    return standing is None or standing.state == "Z"
