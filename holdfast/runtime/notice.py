"""A line for people that programs can read as well.

`report` functions take str. What is worth a name of its own is a Notice: the same line, with what has happened, how bad
it is, and the facts that the line is made of. How lines are shown is the command line's business (cli/reports.py).
"""

from __future__ import annotations

import signal
from typing import Any, Final, Literal

Level = Literal["info", "warning", "error"]
NOTE: Final = "note"  # the event of a line that is nothing but a line
# Of connections between the processes of a cluster, which come and go with these.
LINKS: Final = frozenset(
    {"link-lost", "link-restored", "coordinator-lost", "coordinator-restored", "worker-lost", "hung-up"}
)
LINKS_OF_START: Final = frozenset({"listening", "waiting-for-coordinator"})


class Notice(str):
    """The line, and what it says."""

    __slots__ = ("event", "fields", "level")

    event: str
    level: Level
    fields: dict[str, Any]

    def __new__(cls, line: str, event: str, /, *, level: Level = "info", **fields: Any) -> Notice:
        notice = super().__new__(cls, line)
        notice.event, notice.level, notice.fields = event, level, fields
        return notice


def stopping(number: int, how: str = "ending cleanly, what was read is worked off; once more ends at once") -> Notice:
    """That this signal was heard, and what it leads to."""
    name = signal.Signals(number).name
    return Notice(f"{name}: {how}", "stopping", signal=name)
