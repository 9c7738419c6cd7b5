"""Lines about what others do wrong: one for each, but not more than people can read, whatever others do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LINES_MAX: Final = 20
SECONDS: Final = 10.0


class Complaints:
    """Passes lines on; beyond `LINES_MAX` in `SECONDS` it only counts them."""

    def __init__(self, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._since = clock()
        self._lines = 0

    def __call__(self, line: str) -> None:
        """Report this line, or count it."""
        now = self._clock()
        if now - self._since > SECONDS:
            if self._lines > LINES_MAX:
                self._report(f"… and {self._lines - LINES_MAX} more lines of this kind")
            self._since, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES_MAX:
            self._report(line)
