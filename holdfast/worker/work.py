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
from holdfast.core.errors import StoppedError
from holdfast.worker.apply import Apply, Load, Place, Stopped
from holdfast.worker.effects import Effect, LoadRows
from holdfast.worker.events import RowsLoaded
from holdfast.worker.fold import Folding
from holdfast.worker.settings import Settings


class Work:
    """The epochs that are closed and not yet applied, the first of them perhaps half-way."""

    def __init__(self, apply: Apply, folding: Folding, settings: Settings) -> None:
        self.apply = apply
        self.stop_before = settings.stop_before
        self.folding = folding
        self.logged: deque[Epoch] = deque()
        self.under_way: Generator[Load, None, Stopped | None] | None = None
        self.loading: tuple[CachedBook, list[Any]] | None = None  # what it waits for
        self.stopped: Stopped | None = None  # where the epoch that was worked off last could go no further
        self.first_failure: StoppedError | None = None  # of the calls that it could not go beyond
        self.examining: Generator[Load, None, StoppedError | None] | None = None
        self.waited_for = 0  # the epoch whose commit was last waited for

    def go_on(self) -> list[Effect]:
        """Apply the first epoch, up to its end or until entities are wanted: then it stays `under_way`."""
        if self.under_way is None:
            epoch, stop = self.logged[0], self.stop_before
            limit = Place(*stop[1:]) if stop is not None and stop[0] == epoch.number else None
            self.under_way = self.apply.run(epoch, limit)
        try:
            return self._until_load(self.under_way)
        except StopIteration as end:
            self.under_way, self.stopped = None, end.value
            return []

    def examine(self) -> list[Effect]:
        """Find the `first_failure`; until then entities are wanted."""
        if self.loading is not None:
            return []
        if self.examining is None:
            self.examining = self.apply.examine(self.logged[0])
        try:
            return self._until_load(self.examining)
        except StopIteration as end:
            self.first_failure = end.value
            return []

    def _until_load(self, stages: Generator[Load, None, Any]) -> list[Effect]:
        orders: list[Effect] = []
        while not orders:
            orders = self._load(*next(stages))
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
        plan = self.apply.pipeline.plan
        space = self.folding.spaces[plan.stored_names[plan.steps[step].name]]
        return [LoadRows(space, canonical_keys(missing))]

    def rows_loaded(self, event: RowsLoaded) -> list[Effect]:
        """The entities are there."""
        assert self.loading is not None, "rows that nobody asked for"
        book, lookups = self.loading
        self.loading = None
        book.load(lookups, event.rows)
        return []

    def meets_commit(self, durable: int) -> bool:
        """Whether the next epoch is not durable yet; true once for each."""
        if not self.logged or not durable < self.logged[0].number != self.waited_for:
            return False
        self.waited_for = self.logged[0].number
        return True
