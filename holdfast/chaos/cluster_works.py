"""What the orders of a member of a cluster come to beyond those of a single worker (works): on its partition log.

As there: a work that changes something durable begins and finishes in two calls of its store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from holdfast.chaos.channel import Answer, Order, Work
from holdfast.chaos.counters import Counters
from holdfast.chaos.works import StateWork
from holdfast.core.epochs import LogEntry
from holdfast.recovery.wire import pack_formation
from holdfast.storage.memory import MemoryState
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker import cluster_effects, cluster_events


class LogWork(Work[Order]):
    """A work on the partition log, which takes one transaction at a time."""

    __slots__ = ("counters", "log")

    def __init__(self, order: Order, log: MemoryPartitionLog, counters: Counters) -> None:
        super().__init__(order)
        self.log = log
        self.counters = counters

    def tear(self, random: Random) -> None:
        if self.log.busy:
            self.counters.meet("kill in the middle of a commit")


class Adopt(LogWork[cluster_effects.AdoptFormation]):
    """Make a generation the latest; what is prepared of another checkpoint goes first."""

    __slots__ = ("_state",)

    def __init__(
        self,
        order: cluster_effects.AdoptFormation,
        log: MemoryPartitionLog,
        state: MemoryState,
        counters: Counters,
    ) -> None:
        super().__init__(order, log, counters)
        self._state = state

    def begin(self) -> None:
        formation = self.order.formation
        checkpoint = formation.checkpoint.number if formation.checkpoint is not None else 0
        prepared = self._state.prepared()
        if prepared is None or prepared[0] != checkpoint:
            self._state.abandon()
        self.log.begin_adopt(pack_formation(formation), formation.number, self.order.logs)

    def finish(self) -> Sequence[Answer]:
        number = self.order.formation.number
        self.log.finish_sync()
        return [lambda now: cluster_events.Adopted(now, number)]


class Install(LogWork[cluster_effects.InstallLog]):
    """Begin a log anew."""

    __slots__ = ()

    def begin(self) -> None:
        self.log.begin_install(self.order.partition, self.order.base, self.log.adopted()[0])

    def finish(self) -> Sequence[Answer]:
        self.log.finish_sync()
        return ()


class AppendEntries(LogWork[cluster_effects.AppendEntries]):
    """Log entries; what has arrived while the last commit ran is one commit."""

    __slots__ = ("_ticket", "entries")

    def __init__(
        self, order: cluster_effects.AppendEntries, log: MemoryPartitionLog, counters: Counters
    ) -> None:
        super().__init__(order, log, counters)
        self.entries: list[LogEntry] = list(order.entries)
        self._ticket = order.ticket

    def joins(self, first: Work[Any]) -> bool:
        if not isinstance(first, AppendEntries):
            return False
        first.entries += self.entries
        first._ticket = self._ticket
        return True

    def begin(self) -> None:
        if self._ticket != self.order.ticket:
            self.counters.meet("several epochs in one commit")
        self.log.begin_append(self.entries)

    def finish(self) -> Sequence[Answer]:
        ticket = self._ticket
        self.log.finish_sync()
        return [lambda now: cluster_events.EntriesSynced(now, ticket)]


class ReadEntries(LogWork[cluster_effects.ReadEntries]):
    """Read entries of one partition."""

    __slots__ = ()

    def finish(self) -> Sequence[Answer]:
        order = self.order
        found = tuple(self.log.read(order.partition, order.after, order.bytes_max))
        return [lambda now: cluster_events.EntriesRead(now, order.partition, order.reader, found)]


class ReadCursor(LogWork[cluster_effects.ReadCursor]):
    """Find where a partition stands."""

    __slots__ = ()

    def finish(self) -> Sequence[Answer]:
        partition = self.order.partition
        cursor = self.log.cursor(partition, self.order.epoch)
        return [lambda now: cluster_events.CursorRead(now, partition, cursor)]


class TrimEntries(LogWork[cluster_effects.TrimEntries]):
    """Drop a few entries; the rest is a work of its own, so that a kill can fall between."""

    __slots__ = ("_again", "_more")

    def __init__(
        self,
        order: cluster_effects.TrimEntries,
        log: MemoryPartitionLog,
        counters: Counters,
        again: Callable[[], None],
    ) -> None:
        super().__init__(order, log, counters)
        self._again = again
        self._more = False

    def begin(self) -> None:
        self._more = self.log.begin_trim(self.order.upto, self.order.keep)

    def finish(self) -> Sequence[Answer]:
        self.log.finish_sync()
        if self._more:
            self._again()
        return ()


class Prepare(StateWork[cluster_effects.PrepareCheckpoint]):
    """Make durable that a checkpoint is whole."""

    __slots__ = ()

    def begin(self) -> None:
        self.state.begin_prepare(self.order.checkpoint, self.order.record)

    def finish(self) -> Sequence[Answer]:
        checkpoint = self.order.checkpoint
        self.state.finish_sync()
        return [lambda now: cluster_events.CheckpointPrepared(now, checkpoint)]
