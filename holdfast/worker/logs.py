"""Logs: this member's partition logs in one generation, as primary and as backup.

A backup says first how far its log equals the adopted one; the primary sends what is missing, and then every entry as
it is made. Invariant: an entry goes to a backup's disk only behind the entry that the primary has before it; a backup
says "held" only of what its own disk has said is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core.epochs import Cursor, Lineage, LogEntry
from holdfast.recovery.generation import Formation
from holdfast.replication.log_copies import LogCopies
from holdfast.replication.messages import LogCopied, LogHeld, LogInstalled, Message
from holdfast.worker.cluster_effects import AppendEntries, ClusterEffect, InstallLog, ReadEntries

Outbox = list[tuple[str, Message]]  # (to which node, what)


class Logs:
    """Own partitions and those held for others."""

    def __init__(
        self,
        formation: Formation,
        node: str,
        kept: Mapping[int, int],
        lineages: Mapping[int, Lineage],
        *,
        bytes_max: int,
    ) -> None:
        """`kept` is, by partition held, how far the own disk's log equals the adopted one (-1: not at all)."""
        self.bytes_max = bytes_max
        self.outbox: Outbox = []
        places = list(enumerate(formation.layout.partitions))
        self.primary_of = {p: holders.primary for p, holders in places if node in holders.backups}
        self.own = {p: holders.backups for p, holders in places if holders.primary == node}
        self.adopted = {p: formation.logs[p][1] for p in self.own}
        self.copies = LogCopies(formation.cut, self.own, self.adopted)
        self.bases = {p: lineages[p].base for p in self.own if p in lineages}
        self.tails = {p: self.adopted[p] for p in self.own}  # of the own partitions' last entries …
        self.tails |= {p: kept.get(p, -1) for p in self.primary_of}  # … and of those held for others
        self._tickets: dict[int, list[tuple[int, int]]] = {}  # ticket -> (partition held for another, its tail)
        self._own_tickets: dict[int, int] = {}  # ticket -> epoch
        self._ticket = 0
        self._backups = sum(len(backups) for backups in self.own.values())
        self._caught_up: set[tuple[str, int]] = set()  # (backup, partition) that have the adopted log
        self._served: set[tuple[str, int]] = set()  # … that are being sent what they lack of it

    def begin(self) -> None:
        """Tell the primaries what is here."""
        for partition, primary in self.primary_of.items():
            self.outbox.append((primary, LogHeld(partition, self.tails[partition])))

    @property
    def held(self) -> tuple[int, ...]:
        """All partitions whose logs are kept here."""
        return tuple(sorted({*self.own, *self.primary_of}))

    @property
    def caught_up(self) -> bool:
        """Whether all backups have said that they hold the adopted logs."""
        return len(self._caught_up) == self._backups  # only those of own partitions are in it

    # --- own partitions

    def append(self, epoch: int, entries: Sequence[LogEntry]) -> list[ClusterEffect]:
        """New entries of an epoch that has just been closed: to the own disk and to the backups."""
        if not entries:
            return []
        for entry in entries:
            partition = entry.chunk.partition
            for node in self.own[partition]:
                self.outbox.append((node, LogCopied(partition, self.tails[partition], (entry,))))
            self.tails[partition] = entry.epoch
        self._ticket += 1
        self._own_tickets[self._ticket] = epoch
        return [AppendEntries(self._ticket, tuple(entries))]

    def log_held(self, node: str, message: LogHeld) -> list[ClusterEffect]:
        """A backup has said how much it holds; the first time also from where on it lacks the adopted log."""
        partition = message.partition
        if node not in self.own.get(partition, ()):
            return []
        if message.tail >= 0:
            self.copies.heard(node, partition, message.tail)
        if message.tail >= self.adopted[partition]:
            self._caught_up.add((node, partition))
            return []
        if (node, partition) in self._served:
            return []
        self._served.add((node, partition))
        base = self.bases.get(partition, Cursor())
        after = message.tail
        if after < base.epoch or after < 0:
            self.outbox.append((node, LogInstalled(partition, base)))
            after = base.epoch
        return self._send_from(node, partition, after)

    def _send_from(self, node: str, partition: int, after: int) -> list[ClusterEffect]:
        if after >= self.adopted[partition]:
            return []
        return [ReadEntries(partition, after, self.bytes_max, node)]

    def entries_read(self, node: str, partition: int, entries: tuple[LogEntry, ...]) -> list[ClusterEffect]:
        """Entries of the adopted log for a backup that lacks them."""
        adopted = [entry for entry in entries if entry.epoch <= self.adopted[partition]]
        if not adopted:
            return []
        self.outbox.append((node, LogCopied(partition, -1, tuple(adopted))))
        return self._send_from(node, partition, adopted[-1].epoch)

    # --- partitions held for others

    def installed(self, message: LogInstalled) -> list[ClusterEffect]:
        """The log of a partition begins anew here; the base is as durable as the next entry, or the next sync."""
        self.tails[message.partition] = message.base.epoch
        self._ticket += 1
        self._tickets[self._ticket] = [(message.partition, message.base.epoch)]
        return [InstallLog(message.partition, message.base), AppendEntries(self._ticket, ())]

    def copied(self, message: LogCopied) -> list[ClusterEffect]:
        """Entries of a partition that is held for another."""
        partition, tail = message.partition, self.tails[message.partition]
        # Entries on a gap, or on other entries than the primary's, would be acknowledged as the same history.
        assert message.previous <= tail, f"log {partition} goes on behind {message.previous}, here it ends at {tail}"
        assert message.entries[0].epoch > tail, "entries come in the order of their epochs"
        self.tails[partition] = message.entries[-1].epoch
        self._ticket += 1
        self._tickets[self._ticket] = [(partition, message.entries[-1].epoch)]
        return [AppendEntries(self._ticket, message.entries)]

    # --- the disk

    def synced(self, ticket: int) -> list[int]:
        """Entries up to those of this ticket are on disk; returns the own epochs that are so by now."""
        for number in [n for n in self._tickets if n <= ticket]:
            for partition, tail in self._tickets.pop(number):
                self.outbox.append((self.primary_of[partition], LogHeld(partition, tail)))
        return [self._own_tickets.pop(number) for number in [n for n in self._own_tickets if n <= ticket]]
