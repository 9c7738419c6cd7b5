"""Wake: the one time at which the machine wants to hear that time has passed.

Whether anything is due then is decided by the parent, by the time that the event brings.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.worker.effects import Effect, WakeAt


class Wake:
    """What was ordered last."""

    def __init__(self) -> None:
        self.time: int | None = None

    def order(self, times: Iterable[int | None], *, again: bool) -> list[Effect]:
        """Be woken at the earliest of these; `again` if the answer may have come, and the clock was set back since."""
        time = min((time for time in times if time is not None), default=None)
        if time == self.time and (time is None or not again):
            return []
        self.time = time
        return [WakeAt(time)]
