"""What the coordinator has made durable, and the one write that may be under way.

Invariant: one write at a time, and nothing is decided while it lasts: a decision taken meanwhile could rest on what a
crash still takes away, or be overwritten by it.
"""

from __future__ import annotations

from holdfast.recovery.effects import Store
from holdfast.recovery.events import Kept


class Shelf:
    """Kept, and what is about to be."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.ticket = 0
        self.pending: Kept | None = None

    def put(self, kept: Kept) -> Store:
        """Begin a write."""
        assert self.pending is None, "two writes at a time"
        self.ticket += 1
        self.pending = kept
        return Store(self.ticket, kept)

    def stored(self, ticket: int) -> None:
        """The write is durable."""
        if self.pending is not None and ticket == self.ticket:
            self.kept, self.pending = self.pending, None
