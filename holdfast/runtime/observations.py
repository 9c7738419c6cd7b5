"""What all workers have told the coordinator for people, put together. Decides nothing.

Invariant: records and outputs are counted by partition and sink from the very first start, so that a worker that is
lost takes nothing with it: whoever reads its partitions next goes on with the same numbers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from holdfast.runtime.observation import Observation


class Observations:
    """The newest of each worker."""

    def __init__(self) -> None:
        self.by_node: dict[str, Observation] = {}
        self._records: dict[int, tuple[int, int]] = {}  # partition -> (before this life of the cluster, now)
        self._outputs: dict[int, tuple[int, int]] = {}  # sink -> the same
        self._skipped: Counter[str] = Counter()  # by step, in generations that are over
        self._replayed: dict[int, int] = {}  # generation -> epochs

    def take(self, node: str, packed: bytes) -> None:
        """A worker has told something; FrameError if that is nothing."""
        found, before = Observation.unpack(packed), self.by_node.get(node)
        self.by_node[node] = found
        own, last = found.statistics, before.statistics if before is not None else None
        if own is None:
            return
        if last is not None and last.generation != own.generation:
            self._skipped.update(last.skipped)
        for known, numbers in ((self._records, own.records), (self._outputs, own.outputs)):
            for index, (first, now) in numbers.items():
                known[index] = (known.get(index, (first,))[0], now)
        self._replayed[own.generation] = own.replayed

    def totals(self) -> dict[str, Any]:
        """Sums over all workers."""
        at_work = [own.statistics for own in self.by_node.values() if own.statistics is not None]
        latest = max((own.generation for own in at_work), default=0)
        current = [own for own in at_work if own.generation == latest]
        skipped = Counter(self._skipped)
        for own in at_work:
            skipped.update(own.skipped)
        closed = max((own.closed for own in current), default=0)
        least = {
            name: min((getattr(own, name) for own in current), default=0) for name in ("applied", "delivered", "sealed")
        }
        return {
            "records": sum(now for _, now in self._records.values()),
            "records_here": sum(now - before for before, now in self._records.values()),
            "outputs": sum(now for _, now in self._outputs.values()),
            "outputs_here": sum(now - before for before, now in self._outputs.values()),
            "skipped_here": dict(skipped),
            "replayed_here": sum(self._replayed.values()),
            "entities": sum(sum(own.entities.values()) for own in current),
            "lag": {
                "records_unapplied": sum(own.unapplied for own in current),
                "records_undelivered": sum(own.undelivered for own in current),
                "epochs_unapplied": closed - least["applied"],
                "epochs_undelivered": closed - least["delivered"],
                "epochs_unsealed": closed - least["sealed"],
            },
        }

    def of(self, node: str) -> dict[str, Any]:
        """What a worker told last, as JSON shows it."""
        found = self.by_node.get(node)
        if found is None:
            return {}
        told: dict[str, Any] = msgspec.to_builtins(found, str_keys=True)
        return {"name": told.pop("name"), "host": told.pop("host"), "observed": told}

    def records_of(self, partition: int) -> int | None:
        """Of one source partition."""
        found = self._records.get(partition)
        return None if found is None else found[1]

    def outputs_of(self, sink: int) -> int | None:
        """Of one sink."""
        found = self._outputs.get(sink)
        return None if found is None else found[1]
