"""The one clock of a run: what the worker machine is told as `now`."""

from __future__ import annotations

import time
from typing import Final

WAIT_SECONDS_MAX: Final = 3600.0  # at once: what is waited for may be further away than any lock can wait


def now() -> int:
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000
