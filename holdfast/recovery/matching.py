"""Giving items to nodes that have room for some of them, where not every item may go to every node.

Invariant: a node never gets more than its room, and an item that has a place keeps one: to make room for another it may
be moved, never dropped. The same items in the same order give the same result.
Not here: what the items are, and which places are good (`layout`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Matching:
    """Items with a number of different places each; places are nodes."""

    def __init__(self, room: Mapping[str, int]) -> None:
        self.room = dict(room)
        self.places: dict[int, list[str]] = {}  # item -> nodes
        self.items: dict[str, list[int]] = {node: [] for node in room}  # node -> items

    def take(self, item: int, node: str) -> bool:
        """Give the item this place if there is room."""
        if self.room.get(node, 0) == 0 or node in self.places.get(item, ()):
            return False
        self.room[node] -= 1
        self.places.setdefault(item, []).append(node)
        self.items[node].append(item)
        return True

    def place(self, item: int, choices: Mapping[int, Sequence[str]]) -> bool:
        """Give the item one more place of its choices, the first with room; others may be moved within theirs."""
        return any(self.take(item, node) for node in choices[item]) or self._squeeze(item, choices, set())

    def _squeeze(self, item: int, choices: Mapping[int, Sequence[str]], tried: set[str]) -> bool:
        """Move another item away to one of its own choices, that one perhaps by moving a third."""
        for node in choices[item]:
            if node in tried or node in self.places.get(item, ()):
                continue
            tried.add(node)
            for other in list(self.items[node]):
                if self._move_away(other, node, choices, tried):
                    return self.take(item, node)
        return False

    def _move_away(self, item: int, node: str, choices: Mapping[int, Sequence[str]], tried: set[str]) -> bool:
        if item not in choices:
            return False
        if any(self.take(item, choice) for choice in choices[item]) or self._squeeze(item, choices, tried):
            self.room[node] += 1
            self.places[item].remove(node)
            self.items[node].remove(item)
            return True
        return False
