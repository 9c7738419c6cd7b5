"""Log copies: how far the logs of a member's own partitions are durable, here and at their backups.

A backup's word "held up to e" means: my log is the adopted one and goes on as yours does, durably, up to e. Invariant:
`durable` never exceeds an epoch of which an entry is missing at this member's disk or at any backup of its partition; it
stays at the cut until every backup has the whole adopted log, because until then "all holders have it" is not true of
anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from holdfast.core.epochs import LogEntry


class LogCopies:
    """The own partitions of one member in one generation."""

    def __init__(self, cut: int, backups: Mapping[int, Sequence[str]], adopted: Mapping[int, int]) -> None:
        """`backups` by partition; `adopted` is the last epoch of each partition's adopted log."""
        self.cut = cut
        self.adopted = dict(adopted)
        self.held: dict[int, dict[str, int]] = {
            partition: dict.fromkeys(nodes, -1) for partition, nodes in backups.items()
        }
        self._have_adopted = False  # all backups, all partitions: what they hold only grows
        self.closed = cut  # the last epoch that nothing can be added to
        self.synced = cut  # here, of all own partitions
        self._waiting: deque[tuple[int, int]] = deque()  # (epoch, partition) of entries that a backup may lack

    def closes(self, epoch: int, entries: Sequence[LogEntry]) -> None:
        """An epoch has got all that it will ever have of the own partitions."""
        assert epoch == self.closed + 1
        self.closed = epoch
        self._waiting.extend((epoch, entry.chunk.partition) for entry in entries)

    def heard(self, node: str, partition: int, tail: int) -> None:
        """A backup holds this partition's log up to `tail`."""
        held = self.held.get(partition)
        if held is not None and node in held:
            held[node] = max(held[node], tail)

    @property
    def durable(self) -> int:
        """The last closed epoch whose entries are on all disks that they must be on."""
        if not self._have_adopted:
            for partition, held in self.held.items():
                if any(tail < self.adopted[partition] for tail in held.values()):
                    return self.cut
            self._have_adopted = True
        while self._waiting and self._is_held(*self._waiting[0]):
            self._waiting.popleft()
        last = self._waiting[0][0] - 1 if self._waiting else self.closed
        return max(self.cut, min(last, self.synced))

    def _is_held(self, epoch: int, partition: int) -> bool:
        return all(tail >= epoch for tail in self.held[partition].values())
