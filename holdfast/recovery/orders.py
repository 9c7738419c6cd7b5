"""The orders that were given to workers, and saying them again until they are heard.

Invariant: numbers rise, over all lives of the coordinator; an order is never changed under its number.
Not here: what is ordered.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.recovery.effects import Tell
from holdfast.recovery.messages import Announce, Ask, Order, Restart, Run, Status

LIFE_BITS = 40  # orders that one life of the coordinator can give

Body = Ask | Announce | Run | Restart


@dataclass(slots=True)
class Given:
    """The last order to a node, and when it was said."""

    order: Order
    at: int


class Orders:
    """All that was given in this life of the coordinator."""

    def __init__(self) -> None:
        self.number = 0
        self.given: dict[str, Given] = {}

    def begin(self, life: int) -> None:
        """Numbers go on above those of earlier lives."""
        self.number = life << LIFE_BITS

    def give(self, now: int, status: Status, body: Body, *, again: bool) -> list[Tell]:
        """Order this, if it is not what was ordered last; `again`: say it once more if it was not heard."""
        last = self.given.get(status.node)
        if last is not None and last.order.incarnation == status.incarnation and last.order.order == body:
            if not again or status.heard >= last.order.number or last.at == now:
                return []
            last.at = now
            return [Tell(status.node, last.order)]
        self.number += 1
        order = Order(status.incarnation, self.number, body)
        self.given[status.node] = Given(order, now)
        return [Tell(status.node, order)]

    def has_stopped(self, status: Status) -> bool:
        """Whether the worker's status is from after it heard that it is to stop."""
        last = self.given.get(status.node)
        if last is None or last.order.incarnation != status.incarnation or status.heard < last.order.number:
            return False
        return isinstance(last.order.order, Run) and last.order.order.stopping
