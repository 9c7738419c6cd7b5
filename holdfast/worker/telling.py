"""Telling: which sources want to know what is durable, and up to where it is.

Invariant: a source is told an offset only when every record before it is as durable as the policy asks, and of several
only the last. After a return, or on another member, it may be told one again, or an earlier one than before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from holdfast.core.connector import acknowledges, never_ends
from holdfast.core.epochs import Chunk
from holdfast.core.plan import Plan
from holdfast.worker.effects import TellSource


class Telling:
    """The offsets behind what was logged, until they are durable."""

    def __init__(self, wanting: Iterable[int]) -> None:
        """`wanting` are the partitions whose sources are to be told."""
        self._waiting: dict[int, deque[tuple[int, object]]] = {partition: deque() for partition in wanting}

    def stands(self, partition: int, epoch: int, offset: object) -> None:
        """Up to the end of this epoch the partition's log was found to reach to this offset."""
        if partition in self._waiting and offset is not None:
            self._waiting[partition].append((epoch, offset))

    def logged(self, epoch: int, chunks: Sequence[Chunk]) -> None:
        """An epoch was ordered to be logged, or found in the log."""
        if self._waiting:
            for chunk in chunks:
                self.stands(chunk.partition, epoch, chunk.offset)

    def upto(self, durable: int) -> list[TellSource]:
        """What can be told now that epochs up to this one are durable."""
        orders = []
        for partition, waiting in self._waiting.items():
            found = False
            while waiting and waiting[0][0] <= durable:
                found, (_, offset) = True, waiting.popleft()
            if found:
                orders.append(TellSource(partition, offset))
        return orders


def wanting(plan: Plan, sources: Sequence[int]) -> frozenset[int]:
    """The partitions whose sources are to be told; `sources` are the steps of all partitions, by number."""
    return frozenset(p for p, step in enumerate(sources) if acknowledges(plan.connector(plan.steps[step])))


def endless(plan: Plan, sources: Sequence[int]) -> frozenset[int]:
    """The partitions of which more may come whatever their logs say: they ended under a source that did not follow."""
    return frozenset(p for p, step in enumerate(sources) if never_ends(plan.connector(plan.steps[step])))
