"""Pairs of nodes that can't reach each other while the coordinator hears both.

A broken link is answered with a new generation of the same members; if the pair breaks it again and again, and nothing
is sealed in between, the cluster stands. Then one of the two is left out for a while: shunned.
Invariant: shunning ends by itself, and only ever costs time.
Not here: that a shunned node still holds what nobody else has (`layout`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

PATIENCE = 3  # changes in a row for the same pair; one or two are a connection that was reset

Pair = tuple[str, str]


class Quarrels:
    """Who quarrels, and who is shunned until when."""

    def __init__(self, shun_ms: int) -> None:
        self.shun_ms = shun_ms
        self.changes: Counter[Pair] = Counter()
        self.until: dict[str, int] = {}

    def sealed(self, members: Collection[str]) -> None:
        """These got something sealed together: whatever was between any two of them is over."""
        for pair in [pair for pair in self.changes if set(pair) <= set(members)]:
            del self.changes[pair]

    def broken(self, now: int, lost: Iterable[Pair]) -> str | None:
        """Links were lost, and a new generation is formed for it; the node to shun, if it is one time too many."""
        pairs = {(min(pair), max(pair)) for pair in lost}
        self.changes.update(pairs)
        stubborn = [pair for pair in sorted(pairs) if self.changes[pair] >= PATIENCE]
        if not stubborn:
            return None
        involved = Counter(node for pair in stubborn for node in pair)
        # The one with the most broken links; of two alike the later, so that it is the same one again next time.
        shunned = max(involved, key=lambda node: (involved[node], node))
        self.until[shunned] = now + self.shun_ms
        return shunned

    def shunned(self, now: int) -> frozenset[str]:
        """Who is left out now."""
        return frozenset(node for node, until in self.until.items() if until > now)
