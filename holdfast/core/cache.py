"""A book whose entities are a cache over rows on disk, so that state may be larger than memory.

Two generations: `entities` (hot) takes what is used, and when it is half full it becomes `cold` and the old cold one is
dropped. Invariant: an entity that the rows do not hold as it is now (dirty, or written by a checkpoint whose chunks are
not yet folded into rows) is never dropped, and the row of a deleted one is never read. An entity with timers is either
in memory, and they are among the alarms, or it stands in the agenda with the earliest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from holdfast.core import keys
from holdfast.core.agenda import Agenda
from holdfast.core.entities import CLEAN, GONE, Alarm, Book, Entity, canonical_of
from holdfast.core.images import unpack_row
from holdfast.core.values import decode

PARTS = 4  # hot, cold, dirty and being folded: each gets a quarter of the limit


class CachedBook(Book):
    """The entities of one stateful step, at most about `limit` of them in memory."""

    def __init__(
        self, *, limit: int, make_state: Any, takes_key: bool, timed: bool, registry: Any, step: str = ""
    ) -> None:
        super().__init__(make_state=make_state, takes_key=takes_key, timed=timed, registry=registry, step=step)
        self.part = max(1, limit // PARTS)
        self.cold: dict[Any, Entity] = {}
        self.held: dict[Any, Entity] = {}  # too old for cold, but not in the rows yet
        self.unfolded: dict[Any, Entity] = {}  # of the checkpoint being written or folded
        self.agenda = Agenda()  # of entities that are not in memory

    def missing(self, lookups: Iterable[Any]) -> list[Any]:
        """Bring what is in memory into the hot generation; returns the lookup keys whose rows must be read."""
        if len(self.entities) >= self.part:
            self._rotate()
        hot, cold, held = self.entities, self.cold, self.held
        wanted = []
        for lookup in dict.fromkeys(lookups):
            if lookup in hot:
                continue
            entity = cold.pop(lookup, None) or held.pop(lookup, None)
            if entity is not None:
                hot[lookup] = entity
            elif not self.is_deleted(lookup):
                wanted.append(lookup)
        return wanted

    def load(self, lookups: Sequence[Any], rows: Sequence[bytes | None]) -> None:
        """What the rows hold of these; None for a key that is new."""
        for lookup, row in zip(lookups, rows, strict=True):
            if row is None:
                continue
            image, timers = unpack_row(row)
            self.put(lookup, decode(image, self.registry), timers)
            if self.timed and timers:
                self.agenda.remove(min(timers.values()), canonical_of(lookup))

    def find(self, lookup: Any) -> Entity | None:
        """The entity, if it is in memory; it stays where it is."""
        return self.entities.get(lookup) or self.cold.get(lookup) or self.held.get(lookup)

    def freeze(self, clean: Iterable[Entity] = ()) -> int:
        """As every book; what is frozen stays in memory until `folded`."""
        count = super().freeze(clean)
        self.unfolded = {entity.key: entity for entity in self.frozen}
        return count

    def folded(self) -> None:
        """The rows hold everything as of the last checkpoint."""
        before, self.unfolded = self.held, {}
        self.held = {k: e for k, e in before.items() if e.mark != CLEAN}
        if self.timed:
            for entity in before.values():
                if entity.mark == CLEAN:
                    self._enter(entity)

    # --- timers

    def note_rows(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """At a start: these (canonical key, row) are there, and none of them is in memory."""
        for canonical, row in rows:
            _, timers = unpack_row(row)
            if timers:
                self.agenda.add(min(timers.values()), canonical)

    def due_keys(self, time: int) -> list[Any]:
        near = [alarm[4] for alarm in self._alarms_until(time) if self.is_set(alarm[4], alarm[2], alarm[3])]
        return near + [keys.lookup(keys.parse(key, self.registry)) for key in self.agenda.due(time)]

    def next_due(self) -> int | None:
        """When the earliest timer is due; of what is not in memory perhaps a time before that."""
        dues = super().next_due(), self.agenda.next_due()
        return min((due for due in dues if due is not None), default=None)

    def is_set(self, lookup: Any, name: str, version: int) -> bool:
        entity = self.find(lookup)
        return entity is not None and entity.timers.get(name, (0, 0))[1] == version  # type: ignore[attr-defined]

    def _alarms_until(self, time: int) -> Iterator[Alarm]:
        """Those due by then, as they lie in the heap."""
        places = [0]
        while places:
            place = places.pop()
            if place < len(self.alarms) and self.alarms[place][0] <= time:
                yield self.alarms[place]
                places += (2 * place + 1, 2 * place + 2)

    def _enter(self, entity: Any) -> None:
        """It leaves memory."""
        if entity.timers:
            self.agenda.add(min(due for due, _ in entity.timers.values()), canonical_of(entity.key))

    @property
    def in_memory(self) -> int:
        """Entities in memory."""
        return len(self.entities) + len(self.cold) + len(self.held)

    @property
    def is_crowded(self) -> bool:
        """Whether more must be dirty than fits: a checkpoint is due, and work waits for the one under way."""
        return len(self.dirty) >= self.part

    def is_deleted(self, lookup: Any) -> bool:
        """Whether it was, and a row may be there all the same."""
        if lookup in self.gone:
            return True
        before = self.unfolded.get(lookup)
        return before is not None and before.state is GONE

    def _rotate(self) -> None:
        for lookup, entity in self.cold.items():
            if entity.mark != CLEAN or lookup in self.unfolded:
                self.held[lookup] = entity
            elif self.timed:
                self._enter(entity)
        self.cold = self.entities.copy()
        self.entities.clear()  # segments hold on to it


def canonical_keys(lookups: Iterable[Any]) -> tuple[bytes, ...]:
    """What the rows are keyed by."""
    return tuple(map(canonical_of, lookups))
