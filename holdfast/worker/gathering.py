"""Gather: at a start, when entities that wait on disk have their timers is read from their rows.

It follows the folding of the checkpoint returned to, so that the rows hold all of it, and comes before anything is
applied. Only the earliest due time and the key of each entity with timers are kept (`core/agenda.py`).
"""

from __future__ import annotations

from collections import deque

from holdfast.core.cache import CachedBook
from holdfast.worker.effects import Effect, ReadRows
from holdfast.worker.events import RowsRead
from holdfast.worker.fold import Folding


class Gathering:
    """Reads the rows of all steps with timers, one step after the other."""

    def __init__(self, folding: Folding) -> None:
        self.folding = folding
        self.left: deque[tuple[str, CachedBook]] = deque(
            (name, book) for name, book in folding.books.items() if book.timed
        )

    @property
    def is_over(self) -> bool:
        """Whether everything was read."""
        return not self.left

    def begin(self, time: int) -> list[Effect]:
        """The rows hold what was at this time; the first order, if any step has timers."""
        for _, book in self.left:
            book.agenda.reach(time)
        return self._next()

    def rows_read(self, event: RowsRead) -> list[Effect]:
        """Some rows of the first step that is left."""
        _, book = self.left[0]
        book.note_rows(event.rows)
        if not event.last:
            return []
        self.left.popleft()
        return self._next()

    def _next(self) -> list[Effect]:
        return [ReadRows(self.folding.spaces[self.left[0][0]])] if self.left else []
