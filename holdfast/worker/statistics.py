"""What a worker tells about itself: for progress, the summary and tests; nothing is decided by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.worker.machine import Worker
    from holdfast.worker.running import Running


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
        skipped={worker.plan.steps[index].name: count for index, count in worker.pipeline.skipped.counts.items()},
        epochs=worker.apply.applied - worker.returning.epoch,
        checkpoints=worker.made,
        entities=sum(book.in_memory for book in worker.pipeline.books.values()),
        replayed=max(0, worker.returning.tail - worker.returning.epoch),
        epoch=worker.apply.applied,
        sealed=worker.progress.sealed,
        resumed_from=worker.returning.epoch,
    )


@dataclass(frozen=True, slots=True)
class MemberStatistics:
    """What a member of a cluster holds, and how far it is. Epochs are of this member alone."""

    generation: int
    # By own partition and own sink: the number of its last record and output before this generation, and now. They
    # count from the very first start, so they stay true whoever reads the partition next.
    records: dict[int, tuple[int, int]]
    outputs: dict[int, tuple[int, int]]
    unapplied: int  # records of the own partitions that are logged and not yet applied
    undelivered: int  # … and whose outputs are not yet handed to the sinks
    entities: dict[str, int]  # by step, of those that it is the primary of
    skipped: dict[str, int]  # by step, in this generation
    replayed: int  # epochs that were to be worked off again in this generation
    closed: int
    durable: int
    applied: int
    delivered: int
    replicated: int  # the last cut whose images all backups hold
    sealed: int
    checkpoint: int  # epoch of the last complete one on its disk
    checkpoint_bytes: int  # of all that it consists of


def statistics_of_member(running: Running) -> MemberStatistics:
    """As things stand now. May be called by another thread: nothing is iterated over that the engine changes."""
    flow, staging, delivery = running.flow, running.staging, running.delivery
    pipeline, cursors = running.stages.pipeline, running.replay.cursors
    names = {stored: name for name, stored in running.plan.stored_names.items()}
    waiting = [(epoch.number, sum(e.chunk.count for e in epoch.entries)) for epoch in list(flow.epochs.values())]
    return MemberStatistics(
        generation=running.formation.number,
        records={
            index: (cursors[index].number, own.cursor.number)
            for index, own in list(running.parts.partitions.items())
        },
        outputs={s: (delivery.sinks[s].before, delivery.sinks[s].delivered) for s in running.own_sinks},
        unapplied=sum(count for number, count in waiting if number > flow.applied),
        undelivered=sum(count for _, count in waiting),
        entities={names.get(name, name): len(book.entities) for name, book in running.holding.books.items()},
        skipped={running.plan.steps[index].name: count for index, count in dict(pipeline.skipped.counts).items()},
        replayed=max(0, running.formation.level - running.formation.cut),
        closed=flow.closed,
        durable=running.logs.copies.durable,
        applied=running.applied,
        delivered=delivery.delivered,
        replicated=running.cuts.replicated,
        sealed=running.cuts.sealed,
        checkpoint=staging.last.epoch if staging.last is not None else 0,
        checkpoint_bytes=staging.bytes_of_base + staging.bytes_since,
    )
