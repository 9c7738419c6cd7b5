"""When a process of a cluster that has ended is started again, and when it is given up. Pure.

A process that dies at once, again and again, must not keep the machine busy: each start waits twice as long as the one
before. What somebody kills from outside is always started again. What ends by itself (a function that calls os._exit, a
crash in a library, an import that fails) will mostly do so again; it is given up once nothing has got further in
`CRASHES_MAX` such ends, whichever workers they befell: another worker takes over the record that killed the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 0.1
KILLED_SECONDS_MAX: Final = 1.0  # who kills is not slowed down for long: recovery is what he wants to see
CRASHED_SECONDS_MAX: Final = 5.0
CALM_SECONDS: Final = 10.0  # a process that has lived so long starts with a clean slate
CRASHES_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended."""

    name: str
    by_itself: bool
    lived: float  # seconds
    sealed: int  # the last cut that was known to be sealed then


class Restarts:
    """Of all processes of one cluster."""

    def __init__(self) -> None:
        self.crashes = 0  # of any of them by itself, since something got further
        self._sealed = 0
        self._pauses: dict[str, float] = {}

    def pause(self, end: End) -> float | None:
        """Seconds to wait before it is started again; None: give it up."""
        if end.sealed > self._sealed:
            self._sealed, self.crashes = end.sealed, 0
        self.crashes += end.by_itself
        if self.crashes >= CRASHES_MAX:
            return None
        before = self._pauses.get(end.name)
        most = CRASHED_SECONDS_MAX if end.by_itself else KILLED_SECONDS_MAX
        calm = before is None or end.lived >= CALM_SECONDS
        pause = FIRST_SECONDS if before is None or calm else min(2 * before, most)
        self._pauses[end.name] = pause
        return pause
