"""What a member does that is cut off from the coordinator and has lost a link of its generation: it lets its sinks go.

Its generation can't go on, because a broken link is answered with a new one; but it may hear of that late, or never,
and whoever has got its outputs would wait for it as long. Its memory may still be wanted, so it does nothing else.
Orders to a sink that was let go are not answered: to the machine it is slow until the next generation.
Invariant: what was written is durable when a sink is let go: a checkpoint may count on a token that it gave before.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from holdfast.runtime.deliveries import Delivery
from holdfast.worker.effects import Deliver, TakeToken


@dataclass(frozen=True, slots=True)
class LineLost:
    """The connection to the coordinator is gone. Not for the machine, which hears when there is one again."""


class ReleasedDelivery:
    """In place of a sink that is let go as soon as nobody syncs it any more."""

    idle = True

    def __init__(self, delivery: Delivery) -> None:
        self._delivery: Delivery | None = delivery
        self._lock = threading.Lock()

    def release(self) -> None:
        """Let go of the sink; by the thread that syncs sinks."""
        with self._lock:
            if self._delivery is not None:
                self._delivery.sync()
        self.close()

    def deliver(self, order: Deliver) -> None:
        """None: no answer will come."""

    def take_token(self, order: TakeToken) -> None:
        """None: no answer will come."""

    def sync(self) -> None:
        """Nothing is written any more."""

    def hurry(self) -> None:
        """Nobody is waited for."""

    def finish(self) -> None:
        """It has ended before."""

    def close(self) -> None:
        with self._lock:
            delivery, self._delivery = self._delivery, None
            if delivery is not None:
                delivery.close()
