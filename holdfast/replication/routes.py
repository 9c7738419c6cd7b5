"""Routes: which hash range a key falls in, and so which member applies its messages.

A range depends on the key's canonical bytes alone, or on the step's name where it is one of senders; who holds it on
the generation. Keys are hashed once and remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self._owner_of: dict[Any, str] = {}

    def lay_out(self, owners: Sequence[str]) -> None:
        """A generation begins: range by range, who applies its messages."""
        assert len(owners) == self.ranges
        self.owners = owners
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

    def split(self, column: Column) -> dict[str, Column]:
        """A keyed column by owner of the key, each part in the order of the whole."""
        parts: dict[str, Column] = {}
        owner_of = self._owner_of
        if len(owner_of) >= REMEMBERED_MAX:
            owner_of.clear()
        for key, message, position in zip(column.keys, column.messages, column.positions, strict=True):
            owner = owner_of.get(key)
            if owner is None:
                owner = owner_of[key] = self.owners[self.range_of(key)]
            part = parts.get(owner)
            if part is None:
                part = parts[owner] = Column()
            part.keys.append(key)
            part.messages.append(message)
            part.positions.append(position)
        return parts
