"""Routes: which hash range a key falls in, and so which member applies its messages.

A range depends on the key's canonical bytes alone, or on the step's name where it is one of senders; who holds it on
the generation. Keys are hashed once and remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Final

from holdfast.core.entities import canonical_of
from holdfast.core.keys import key_hash, range_of
from holdfast.core.positions import Column
from holdfast.core.senders import SEND_STEP

REMEMBERED_MAX: Final = 1_000_000  # keys; beyond it all are forgotten, and hashed again when they come


class Routes:
    """From keys to ranges, and from ranges to members."""

    def __init__(self, ranges: int) -> None:
        self.ranges = ranges
        self.owners: Sequence[str] = ()  # node by range
        self._range_of: dict[Any, int] = {}
        self._owner_of: dict[Any, str] = {}  # as of this generation

    def lay_out(self, owners: Sequence[str]) -> None:
        """A generation begins: range by range, who applies its messages."""
        assert len(owners) == self.ranges
        same: dict[str, str] = {}
        self.owners = [same.setdefault(owner, owner) for owner in owners]  # one object for each: see `split`
        self._owner_of.clear()

    def range_of(self, lookup: Any) -> int:
        """The range of a lookup key."""
        found = self._range_of.get(lookup)
        if found is None:
            if len(self._range_of) >= REMEMBERED_MAX:
                self._range_of.clear()
            found = self._range_of[lookup] = range_of(key_hash(canonical_of(lookup)), self.ranges)
        return found

    def of_step(self, step: str) -> Callable[[Any], int]:
        """The range of each lookup key of a step. What a step of senders knows must lie together: it has one range."""
        if not step.startswith(SEND_STEP):
            return self.range_of
        together = self.range_of(step)
        return lambda lookup: together

    def ranges_of(self, lookups: Sequence[Any], step: str = "") -> list[int]:
        """The ranges of many, perhaps of a step of senders."""
        if step.startswith(SEND_STEP):
            return [self.range_of(step)] * len(lookups)
        found: list[Any] = list(map(self._range_of.get, lookups))
        if None in found:
            for place, lookup in enumerate(lookups):
                if found[place] is None:
                    found[place] = self.range_of(lookup)
        return found

    def _learn(self, lookups: Sequence[Any], owners: list[Any]) -> None:
        """Fill the gaps in the owners of many keys, and remember them from now on."""
        if len(self._owner_of) >= REMEMBERED_MAX:
            self._owner_of.clear()
        place = -1
        for _ in range(owners.count(None)):
            place = owners.index(None, place + 1)
            owners[place] = self._owner_of[lookups[place]] = self.owners[self.range_of(lookups[place])]

    def split(self, column: Column) -> dict[str, Column]:
        """A keyed column by owner of the key, each part in the order of the whole."""
        # Loops in C over the whole column, once for each owner, cost half of one loop that deals out message by message.
        owners: list[Any] = list(map(self._owner_of.get, column.keys))
        if None in owners:
            self._learn(column.keys, owners)
        found = dict.fromkeys(owners)
        if len(found) == 1:
            return dict.fromkeys(found, column)
        parts: dict[str, Column] = {}
        for owner in found:
            chosen = [other is owner for other in owners]
            part = parts[owner] = Column()
            part.keys = list(compress(column.keys, chosen))
            part.messages = list(compress(column.messages, chosen))
            part.positions = list(compress(column.positions, chosen))
        return parts
