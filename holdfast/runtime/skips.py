"""Skips: of calls that failed and were skipped, so that nobody else would hear of them, one line now and then.

Invariant: of a step the first is told at once, and then one at most in `QUIET_MS`, however many there are; the line
says how many. It goes to the logger `holdfast`: a command says it as all else, in a user's process the user decides.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from holdfast.core.failures import Failure, Skipped
from holdfast.core.steps import Step
from holdfast.runtime.notice import Notice

QUIET_MS: Final = 60_000
LOGGER: Final = logging.getLogger("holdfast")


class Skips:
    """What one engine has told."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}  # step -> when

    def tell(self, now: int, steps: Sequence[Step], skipped: Skipped) -> None:
        """Tell what is due."""
        for index in list(skipped.untold):
            told = self._told.get(index)
            if told is None or not 0 <= now - told < QUIET_MS:
                self._told[index] = now
                notice = notice_of(steps[index].name, skipped.untold.pop(index), skipped.counts[index])
                LOGGER.warning("%s", notice, extra={"notice": notice})


def notice_of(step: str, failure: Failure, count: int) -> Notice:
    """The line."""
    origin = failure.origin
    key = f", key {failure.key}" if failure.key else ""
    where = f"source {origin.source!r}, partition {origin.partition!r}, offset {origin.offset}"
    so_far = f" ({count:,} so far)" if count > 1 else ""
    line = f"step {step!r} skipped a call{so_far}{key}: {failure.error} ({where if origin.source else 'a timer'})"
    fields = {"step": step, "key": failure.key, "error": failure.error, "skipped": count}
    at = {"source": origin.source, "partition": origin.partition, "offset": origin.offset} if origin.source else {}
    return Notice(line, "skipped", level="warning", **fields, **at)
