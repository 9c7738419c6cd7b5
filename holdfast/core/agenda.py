"""The agenda of a book that is a cache: when entities that are not in memory have their earliest timers.

A timing wheel: entries are packed, one behind the other, in slots. An entry stands in the slot of the highest digit (of
six bits) in which its due time differs from `floor`, a time that was reached; so the slots are in order of time, and
when the floor moves on only one of them has to be dealt anew, into slots of lower digits. That is so much smaller than
a heap, and hardly dearer, because an entry is neither compared nor held as an object while it waits.
Invariant: an entry stands in `_place(due)`, also when its removal is noted there and not yet carried out; of what is
noted there is never more than twice what stands, but for a few.
What an entry's timers are called, and which else its entity has, is in the entity's row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import msgpack

DIGIT: Final = 6  # bits
MASK: Final = (1 << DIGIT) - 1
LEAST: Final = -(1 << 63)  # the earliest time there is
REACHED: Final = -1  # the slot of what is due by the floor
REMOVED_FREE: Final = 64  # removals in a slot before it is worth a thought to carry them out
Entry = tuple[int, bytes]  # due, canonical key


class Slot:
    """Entries that stand together, packed, and those of them that were removed since."""

    __slots__ = ("added", "count", "noted", "removed")

    def __init__(self) -> None:
        self.added = bytearray()
        self.removed = bytearray()
        self.noted = 0  # how many removals
        self.count = 0  # of entries that stand

    def add(self, entry: bytes) -> None:
        """One more."""
        self.added += entry
        self.count += 1

    def remove(self, entry: bytes) -> None:
        """One that stands here."""
        self.removed += entry
        self.noted += 1
        self.count -= 1

    @property
    def is_littered(self) -> bool:
        """Whether so much was removed that it should be carried out."""
        return self.noted > REMOVED_FREE + self.count

    def join(self, other: Slot) -> None:
        """All that stands there."""
        self.added += other.added
        self.removed += other.removed
        self.noted += other.noted
        self.count += other.count

    def entries(self) -> list[Entry]:
        """What stands here, in no order."""
        if not self.noted:
            return list(_unpacked(self.added))
        removed = Counter(_unpacked(self.removed))
        entries = []
        for entry in _unpacked(self.added):
            if removed[entry]:
                removed[entry] -= 1
            else:
                entries.append(entry)
        return entries


def _unpacked(packed: bytearray) -> Iterator[Entry]:
    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=0)
    unpacker.feed(packed)
    yield from unpacker


class Agenda:
    """Entries (due, canonical key), found by time."""

    def __init__(self) -> None:
        self.floor = LEAST  # a time that was reached; it never goes back
        self.slots: dict[int, Slot] = {}  # by digit and its value; none is empty
        self.earliest: int | None = None  # of the slot of what was reached, where it is known
        self.pack: Callable[[Entry], bytes] = msgpack.Packer().pack  # to make one takes longer than to pack

    def add(self, due: int, key: bytes) -> None:
        """An entity that leaves memory."""
        place = self._place(due)
        if place == REACHED:
            self.earliest = None
        slot = self.slots.get(place)
        if slot is None:
            slot = self.slots[place] = Slot()
        slot.add(self.pack((due, key)))

    def remove(self, due: int, key: bytes) -> None:
        """An entity that was added so and is in memory again."""
        place = self._place(due)
        if place == REACHED:
            self.earliest = None
        slot = self.slots[place]
        slot.remove(self.pack((due, key)))
        if slot.count == 0:
            del self.slots[place]
        elif slot.is_littered:
            slot.added = bytearray().join(map(self.pack, slot.entries()))
            slot.removed, slot.noted = bytearray(), 0

    def reach(self, time: int) -> None:
        """It is so late: what is due by then can be told apart from the rest."""
        if time <= self.floor:
            return
        level = _level(time - LEAST ^ self.floor - LEAST)
        self.floor = time
        passed = level << DIGIT | time - LEAST >> level * DIGIT & MASK
        for place in sorted(place for place in self.slots if REACHED < place <= passed):  # what is dealt anew comes last
            slot = self.slots.pop(place)
            if place < passed:
                self.slots.setdefault(REACHED, Slot()).join(slot)
            else:
                for due, key in slot.entries():
                    self.add(due, key)
            self.earliest = None

    def due(self, time: int) -> list[bytes]:
        """The keys of what is due by `time`; it stays."""
        self.reach(time)
        slot = self.slots.get(REACHED)
        return [key for due, key in slot.entries() if due <= time] if slot is not None else []

    def next_due(self) -> int | None:
        """When the earliest is due, if that was reached; otherwise a later time than that, before which nothing is."""
        if not self.slots:
            return None
        place = min(self.slots)
        if place == REACHED:
            if self.earliest is None:
                self.earliest = min(due for due, _ in self.slots[REACHED].entries())
            return self.earliest
        level, digit = place >> DIGIT, place & MASK
        above = self.floor - LEAST >> (level + 1) * DIGIT
        return (above << DIGIT | digit) * (1 << level * DIGIT) + LEAST

    def __len__(self) -> int:
        return sum(slot.count for slot in self.slots.values())

    def _place(self, due: int) -> int:
        """Where what is due then stands; a slot of a lower number holds what is due earlier."""
        if due <= self.floor:
            return REACHED
        level = _level(due - LEAST ^ self.floor - LEAST)
        return level << DIGIT | due - LEAST >> level * DIGIT & MASK


def _level(difference: int) -> int:
    """The number of the highest digit that is not 0."""
    return (difference.bit_length() - 1) // DIGIT
