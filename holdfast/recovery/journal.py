"""What the coordinator decided and why: a bounded list from which the present can be explained."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 400  # entries; a generation makes about five


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision, or one thing that led to one."""

    now: int
    text: str


class Journal:
    """The latest entries, oldest first."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)

    def note(self, now: int, text: str) -> None:
        """Write down; the same thing said again is not news."""
        if not self.entries or self.entries[-1].text != text:
            self.entries.append(Entry(now, text))

    def about(self, word: str) -> list[Entry]:
        """The entries that speak of something."""
        return [entry for entry in self.entries if word in entry.text]
