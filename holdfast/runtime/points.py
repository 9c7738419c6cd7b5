"""The named places of a run that a test can watch or stop at, and the object that is told when one is passed.

A `Probe` does nothing; it is what every ordinary run has. A rehearsal (rehearsal.py) puts another one in its place.
Points lie between transactions and epochs, never on the way of a single message.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from holdfast.storage.lmdb_log import LmdbLog
from holdfast.worker.machine import Worker

STARTING = "starting"
RECOVERING = "recovering"
INTAKE = "intake"
APPENDING = "after-append-before-sync"
SYNCED = "after-sync-before-apply"
APPLIED = "between-apply-and-delivery"
WRITING = "in-sink-write"
STAGING = "in-checkpoint"
COMPLETING = "before-completion"
COMPLETED = "after-completion"
TRIMMING = "while-trimming"
WAITING = "waiting"
FINISHING = "finishing"

# Where a run can be told to end itself; the others are phases that only say where it is.
KILL_POINTS = (APPENDING, SYNCED, APPLIED, WRITING, STAGING, COMPLETING, TRIMMING)
# In the order in which a run first meets them.
ALL_POINTS = (
    *(STARTING, RECOVERING, INTAKE, APPENDING, SYNCED, APPLIED, WRITING),
    *(STAGING, COMPLETING, COMPLETED, TRIMMING, WAITING, FINISHING),
)


class Probe:
    """Told about every point passed, on whichever thread passes it; the calls are made in all runs."""

    pace_seconds = 0.0  # a finite source's records are held back for this long …
    hurry = ""  # … until this file is there

    def opened(self, log: LmdbLog) -> None:
        """Note that the data directory is open."""

    def pause(self) -> float:
        """Return for how many seconds a finite source's records are to be held back now."""
        if self.pace_seconds and self.hurry and os.path.exists(self.hurry):
            self.pace_seconds = 0.0
        return self.pace_seconds

    def passed(self, point: str) -> None:
        """Note that the run has come to `point`."""

    def halves_write(self) -> bool:
        """Return whether only half of a write is to be done, because `passed(WRITING)` will then end the process."""
        return False

    def handled(self, worker: Worker) -> None:
        """Note that the machine has handled an event."""


def half(payload: Sequence[object]) -> tuple[object, ...]:
    """Return what of a sink's payload is on the disk when its write is cut in the middle."""
    if not all(isinstance(piece, bytes) for piece in payload):
        return tuple(payload[: len(payload) // 2])
    whole = b"".join(piece for piece in payload if isinstance(piece, bytes))
    return (whole[: len(whole) // 2],)
