"""A book whose entities are a cache over rows on disk, so that state may be larger than memory.

Two generations: `entities` (hot) takes what is used, and when it is half full it becomes `cold` and the old cold one is
dropped. Invariant: an entity that the rows do not hold as it is now (dirty, or written by a checkpoint whose chunks are
not yet folded into rows) is never dropped, and the row of a deleted one is never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.core.entities import CLEAN, GONE, Book, Entity, canonical_of
from holdfast.core.values import decode

PARTS = 4  # hot, cold, dirty and being folded: each gets a quarter of the limit


class CachedBook(Book):
    """The entities of one stateful step, at most about `limit` of them in memory."""

    def __init__(self, *, limit: int, make_state: Any, takes_key: bool, registry: Any) -> None:
        super().__init__(make_state=make_state, takes_key=takes_key, timed=False, registry=registry)
        self.part = max(1, limit // PARTS)
        self.cold: dict[Any, Entity] = {}
        self.held: dict[Any, Entity] = {}  # too old for cold, but not in the rows yet
        self.unfolded: dict[Any, Entity] = {}  # of the checkpoint being written or folded

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
            elif not self._is_deleted(lookup):
                wanted.append(lookup)
        return wanted

    def load(self, lookups: Sequence[Any], images: Sequence[bytes | None]) -> None:
        """What the rows hold of these; None for a key that is new."""
        for lookup, image in zip(lookups, images, strict=True):
            if image is not None:
                self.entities[lookup] = Entity(lookup, decode(image, self.registry))

    def freeze(self, clean: Iterable[Entity] = ()) -> int:
        """As every book; what is frozen stays in memory until `folded`."""
        count = super().freeze(clean)
        self.unfolded = {entity.key: entity for entity in self.frozen}
        return count

    def folded(self) -> None:
        """The rows hold everything as of the last checkpoint."""
        self.unfolded = {}
        self.held = {k: e for k, e in self.held.items() if e.mark != CLEAN}

    @property
    def in_memory(self) -> int:
        """Entities in memory."""
        return len(self.entities) + len(self.cold) + len(self.held)

    @property
    def is_crowded(self) -> bool:
        """Whether more must be dirty than fits: a checkpoint is due, and work waits for the one under way."""
        return len(self.dirty) >= self.part

    def _is_deleted(self, lookup: Any) -> bool:
        if lookup in self.gone:
            return True
        before = self.unfolded.get(lookup)
        return before is not None and before.state is GONE

    def _rotate(self) -> None:
        for lookup, entity in self.cold.items():
            if entity.mark != CLEAN or lookup in self.unfolded:
                self.held[lookup] = entity
        self.cold, self.entities = self.entities, {}


def canonical_keys(lookups: Iterable[Any]) -> tuple[bytes, ...]:
    """What the rows are keyed by."""
    return tuple(map(canonical_of, lookups))
