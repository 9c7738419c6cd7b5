"""Cut: when the state of the whole worker is to be made recoverable.

A cut is asked for when enough time has passed since the last one, when too much would have to be done again, or when
the worker ends. With one member and no backups every cut becomes a checkpoint.
"""

from __future__ import annotations

from holdfast.worker.settings import Settings

FIRST_PART = 16  # of the interval, until the first cut of a life
LOG_BYTES_MAX = 64 * 1024 * 1024  # replaying more than this takes longer than a checkpoint


class CutPolicy:
    """Decides whether a checkpoint is due; the worker decides whether one is possible."""

    def __init__(self, settings: Settings, now: int) -> None:
        # A life begins with short intervals: one that is killed again and again soon after its start goes forward.
        self.interval_max = settings.checkpoint_ms
        self.interval = max(1, settings.checkpoint_ms // FIRST_PART)
        self.last = now
        self.log_bytes = 0
        self.changed = False  # anything was applied since the last cut

    def applied(self, log_bytes: int) -> None:
        """An epoch was applied."""
        self.log_bytes += log_bytes
        self.changed = True

    def is_due(self, now: int, *, crowded: bool) -> bool:
        """Whether a cut should be made at the end of the epoch just applied."""
        if not self.changed:
            return False
        return (
            crowded  # more entities changed than memory has room for
            or now - self.last >= self.interval
            or now < self.last  # the clock went back
            or self.log_bytes >= LOG_BYTES_MAX
        )

    def due_at(self) -> int | None:
        """When the next cut is due by time alone; None while nothing has changed."""
        return self.last + self.interval if self.changed else None

    def made(self, now: int) -> None:
        """A cut was made."""
        self.last = now
        self.interval = min(self.interval * 2, self.interval_max)
        self.log_bytes = 0
        self.changed = False
