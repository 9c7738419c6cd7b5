"""What must hold of a worker after every event; tests and the simulator ask after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.worker.machine import Worker


def check_invariants(worker: Worker) -> None:
    """Assert it; nothing is promised before the return is over and after the end."""
    if not worker.running:
        return
    durable, applied, tail = worker.progress.durable, worker.apply.applied, worker.returning.tail
    assert applied <= durable, "an epoch was applied before it was durable"
    assert durable <= max(worker.intake.closed, tail)
    assert worker.delivery.delivered <= applied + (1 if worker.stopped else 0)
    assert worker.checkpoints.last is None or worker.checkpoints.last.epoch <= applied
    closed_here = sum(epoch.number > tail for epoch in worker.logged)
    assert closed_here <= worker.settings.epochs_in_flight, "more epochs are in flight than are allowed"
