"""Deliver: outputs go to the sinks in order, numbered from 1 per sink, once their epoch is durable at every member.

Invariant: nothing is handed out of an epoch beyond `durable`; numbers have no gap. What a sink already has it skips
itself, where the data is stored, so handing out the same numbers again after a return is harmless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from holdfast.worker.effects import Deliver, Effect, OpenSink

Outputs = list[tuple[int, int, tuple[object, ...]]]  # (sink, count, payload)


@dataclass(slots=True)
class SinkState:
    """One sink, as far as outputs were handed to it."""

    number: int = 0  # of the last output handed out
    token: object = None  # of the checkpoint resumed from
    delivered: int = 0  # of the last output the sink has acknowledged
    before: int = 0  # of the last output in front of all that are handed out here


class Delivery:
    """Hands out outputs and keeps what was acknowledged."""

    def __init__(self, sinks: int, *, synced: bool = True) -> None:
        """`synced`: what the sinks had where it begins was made durable there, as for a checkpoint."""
        self.synced = synced
        self.sinks = [SinkState() for _ in range(sinks)]
        self.waiting: deque[tuple[int, list[int]]] = deque()  # (epoch, number it needs at every sink)
        self.delivered = 0  # epochs

    def restore(self, sink: int, number: int, token: object) -> None:
        """As the checkpoint left it."""
        own = self.sinks[sink]
        own.number = own.delivered = own.before = number
        own.token = token

    def numbers(self) -> dict[int, int]:
        """Of the last output handed to each sink."""
        return {index: own.number for index, own in enumerate(self.sinks)}

    def open(self, epoch: int, owned: Collection[int] | None = None) -> list[Effect]:
        """Open the sinks that are delivered to from here, all unless told, as of the cut at `epoch`."""
        self.delivered = epoch
        sinks = range(len(self.sinks)) if owned is None else owned
        return [OpenSink(index, self.sinks[index].token, self.sinks[index].number, self.synced) for index in sinks]

    def hand_out(self, epoch: int, outputs: Outputs, *, durable: int) -> list[Effect]:
        """Deliver an epoch's outputs."""
        assert epoch <= durable, "outputs of an epoch that is not durable"
        effects: list[Effect] = []
        for sink, count, payload in outputs:
            own = self.sinks[sink]
            effects.append(Deliver(sink, epoch, own.number + 1, count, payload))
            own.number += count
        self.waiting.append((epoch, [own.number for own in self.sinks]))
        self._advance()
        return effects

    def acknowledged(self, sink: int, last: int) -> None:
        """The sink has everything up to output `last`."""
        own = self.sinks[sink]
        assert last <= own.number, "a sink has more than it was given"
        own.delivered = max(own.delivered, last)
        self._advance()

    def _advance(self) -> None:
        while self.waiting:
            epoch, needed = self.waiting[0]
            if any(own.delivered < number for own, number in zip(self.sinks, needed, strict=True)):
                return
            self.delivered = epoch
            self.waiting.popleft()
