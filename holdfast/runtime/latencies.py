"""How long records take from where they enter an epoch until every output of it is delivered, counted by epochs.

Invariant: a record is counted once, when its outputs are delivered, whatever was done again meanwhile; a pause by a
failure is part of the time. Costs a few instructions for each epoch and none for a message.
Threads: written by the engine alone; whoever reads sees counts that are a moment old.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from time import monotonic
from typing import Final

# Upper ends, in seconds. The last bucket has none.
BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Latencies:
    """A histogram, weighted by records."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0  # of all records together
        self._waiting: deque[tuple[int, int, float]] = deque()  # (epoch, records, when it was closed)

    def closed(self, epoch: int, records: int) -> None:
        """An epoch got these records."""
        while self._waiting and self._waiting[-1][0] >= epoch:
            self._waiting.pop()  # it was lost with its generation before it was durable, and is read again
        self._waiting.append((epoch, records, monotonic()))

    @property
    def next_epoch(self) -> int | None:
        """The first epoch that is waited for."""
        return self._waiting[0][0] if self._waiting else None

    def delivered(self, epoch: int) -> None:
        """All outputs of this epoch and of those before are delivered."""
        now = monotonic()
        while self._waiting and self._waiting[0][0] <= epoch:
            _, records, since = self._waiting.popleft()
            self.counts[bisect_left(BUCKETS, now - since)] += records
            self.seconds += (now - since) * records
