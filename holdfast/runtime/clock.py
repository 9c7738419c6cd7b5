"""The one clock of a run: what the worker machine is told as `now`."""

from __future__ import annotations

import time


def now() -> int:
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000
