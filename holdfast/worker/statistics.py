"""What a worker tells about itself: for progress, the summary and tests; nothing is decided by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.worker.machine import Worker


@dataclass(slots=True)
class Statistics:
    """What a worker has done in this life."""

    records: int
    outputs: int
    skipped: dict[str, int]  # step -> calls that failed and were skipped or became dead letters
    epochs: int
    checkpoints: int
    entities: int
    replayed: int
    epoch: int  # applied
    sealed: int
    resumed_from: int  # epoch of the checkpoint


def statistics_of(worker: Worker) -> Statistics:
    """As things stand now."""
    sinks = zip(worker.delivery.sinks, worker.first_output, strict=True)
    return Statistics(
        records=worker.apply.records,
        outputs=sum(own.number - first for own, first in sinks),
        skipped={worker.plan.steps[index].name: count for index, count in worker.pipeline.skipped.items()},
        epochs=worker.apply.applied - worker.returning.epoch,
        checkpoints=worker.made,
        entities=sum(book.in_memory for book in worker.pipeline.books.values()),
        replayed=max(0, worker.returning.tail - worker.returning.epoch),
        epoch=worker.apply.applied,
        sealed=worker.progress.sealed,
        resumed_from=worker.returning.epoch,
    )
