"""Work: logged epochs are applied, one at a time; an epoch that needs entities from the disk waits for them.

Invariant: while an epoch waits nothing else is applied, and it goes on exactly where it stood. What `missing` did not
find in memory is in nobody's hands until it is loaded: no checkpoint begins within an epoch.
When an epoch may be begun, and what follows from its end, is decided by the parent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from holdfast.core.cache import CachedBook, canonical_keys
from holdfast.core.epochs import Epoch
from holdfast.worker.apply import Apply, Load, Place, Stopped
from holdfast.worker.effects import Effect, LoadRows
from holdfast.worker.events import RowsLoaded
from holdfast.worker.fold import Folding


class Work:
    """The epochs that are closed and not yet applied, the first of them perhaps half-way."""

    def __init__(self, apply: Apply, folding: Folding) -> None:
        self.apply = apply
        self.folding = folding
        self.logged: deque[Epoch] = deque()
        self.under_way: Generator[Load, None, Stopped | None] | None = None
        self.loading: tuple[CachedBook, list[Any]] | None = None  # what it waits for
        self.stopped: Stopped | None = None  # where the epoch that was worked off last could go no further
        self.waited_for = 0  # the epoch whose commit was last waited for

    def go_on(self, limit: Place | None) -> list[Effect]:
        """Apply the first epoch, up to its end or until entities are wanted: then it stays `under_way`."""
        if self.under_way is None:
            self.under_way = self.apply.run(self.logged[0], limit)
        orders: list[Effect] = []
        while not orders:
            try:
                step, lookups = next(self.under_way)
            except StopIteration as end:
                self.under_way, self.stopped = None, end.value
                break
            orders = self._load(step, lookups)
        return orders

    def _load(self, step: int, lookups: list[Any]) -> list[Effect]:
        """What is not in memory is read, all that a stage wants at once."""
        book = self.apply.pipeline.books[step]
        if not isinstance(book, CachedBook):
            return []
        missing = book.missing(lookups)
        if not missing:
            return []
        self.loading = (book, missing)
        space = self.folding.spaces[self.apply.pipeline.plan.steps[step].name]
        return [LoadRows(space, canonical_keys(missing))]

    def rows_loaded(self, event: RowsLoaded) -> list[Effect]:
        """The entities are there."""
        assert self.loading is not None, "rows that nobody asked for"
        book, lookups = self.loading
        self.loading = None
        book.load(lookups, event.images)
        return []

    def meets_commit(self, durable: int) -> bool:
        """Whether the next epoch is not durable yet; true once for each."""
        if not self.logged or not durable < self.logged[0].number != self.waited_for:
            return False
        self.waited_for = self.logged[0].number
        return True
