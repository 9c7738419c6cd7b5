"""Signals of a process with an event loop: a first SIGINT or SIGTERM asks for a clean end, a second one ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import trio


async def hear(
    first: Callable[[int], None],
    second: Callable[[], None] = lambda: None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call `first` with the first signal's number; at the next one `second`, and then end the process."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        heard = False
        async for number in signals:
            if heard:
                second()
                os._exit(128 + number)
            heard = True
            first(number)
