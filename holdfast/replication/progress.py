"""Progress: what the members of a generation have reached, and the minima that everything waits for.

Every member tells what it has reached: durable (its inputs logged as the policy asks), replicated (applied, and its
update sets held by all backups) and delivered. An epoch is durable, replicated or delivered when it is so at every
member; a cut is sealed when it is all three. Numbers only grow within a generation; all start at its cut.
With one member the minimum is its own number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Reached:
    """What one member has reached, in epochs."""

    durable: int
    replicated: int
    delivered: int


class Progress:
    """The minima over the members of one generation."""

    def __init__(self, members: Iterable[Hashable], cut: int) -> None:
        self.reached = {member: Reached(cut, cut, cut) for member in members}
        # The minima, which are asked for far more often than they change.
        self._durable = self._delivered = self._sealed = cut

    def advance(self, member: Hashable, *, durable: int = 0, replicated: int = 0, delivered: int = 0) -> None:
        """A member has reached this much; lower numbers than before are old news."""
        own = self.reached[member]
        if durable <= own.durable and replicated <= own.replicated and delivered <= own.delivered:
            return
        own.durable = max(own.durable, durable)
        own.replicated = max(own.replicated, replicated)
        own.delivered = max(own.delivered, delivered)
        self._durable = min([r.durable for r in self.reached.values()])
        self._delivered = min([r.delivered for r in self.reached.values()])
        replicated_everywhere = min([r.replicated for r in self.reached.values()])
        self._sealed = min(self._durable, replicated_everywhere, self._delivered)

    @property
    def durable(self) -> int:
        """The last epoch that is durable at every member."""
        return self._durable

    @property
    def delivered(self) -> int:
        """The last epoch whose outputs every member has delivered."""
        return self._delivered

    @property
    def sealed(self) -> int:
        """The last epoch up to which all is durable, replicated and delivered."""
        return self._sealed
