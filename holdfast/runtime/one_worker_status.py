"""The status of one worker without a cluster: in the form of a cluster's for metrics, and in its own for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from holdfast.runtime.latencies import Latencies
from holdfast.runtime.observation import disk_bytes, this_process
from holdfast.worker.machine import Worker

NODE = "worker"
_LAG = ("records_unapplied", "records_undelivered", "epochs_unapplied", "epochs_undelivered", "epochs_unsealed")
NOTHING: dict[str, Any] = {
    "workers_wanted": 1,
    "waiting": "",
    "workers": {},
    "generation": None,
    "sealed": 0,
    "checkpoint": None,
    "recoveries": [],
    "recovery_counts": {},
    "sources": [],
    "sinks": [],
    "totals": {"skipped_here": {}, "replayed_here": 0, "lag": dict.fromkeys(_LAG, 0)},
}


def status_of(worker: Worker, latencies: Latencies, data: Path) -> dict[str, Any]:
    """As things stand now. May be called by another thread."""
    done, closed = worker.statistics, worker.intake.closed
    books = {step.name: worker.pipeline.books[step.index] for step in worker.plan.stateful}
    last, partitions = worker.checkpoints.last, worker.partitions
    statistics = {
        "closed": closed,
        "durable": worker.progress.durable,
        "applied": worker.apply.applied,
        "delivered": worker.progress.delivered,
        "replicated": closed,  # there are no backups to wait for
        "sealed": done.sealed,
        "entities": {name: book.in_memory for name, book in books.items()},
        "checkpoint_bytes": 0,
    }
    own = {
        "name": data.name,
        "alive": True,
        "member": True,
        "observed": {
            "process": msgspec.to_builtins(this_process()),
            "statistics": statistics,
            "latency_counts": tuple(latencies.counts),
            "latency_seconds": latencies.seconds,
            "disk_bytes": disk_bytes(data),
            "links": {},
        },
    }
    return NOTHING | {
        "workers": {NODE: own},
        "generation": {"number": worker.settings.generation},
        "sealed": done.sealed,
        "checkpoint": {"epoch": last.epoch} if last is not None else None,
        "sources": [
            {"source": worker.plan.steps[step].name, "partition": name, "records": own.number}
            for (step, name), own in zip(partitions, worker.intake.partitions, strict=True)
        ],
        "sinks": [
            {"sink": sink.step.name, "partition": sink.partition, "outputs": state.delivered}
            for sink, state in zip(worker.plan.sink_partitions, list(worker.delivery.sinks), strict=True)
        ],
        "totals": {
            "skipped_here": done.skipped,
            "replayed_here": done.replayed,
            "lag": {
                "records_unapplied": None,
                "records_undelivered": None,
                "epochs_unapplied": closed - worker.apply.applied,
                "epochs_undelivered": closed - worker.progress.delivered,
                "epochs_unsealed": closed - done.sealed,
            },
        },
    }


def told_of(worker: Worker | None, application: str, data: Path) -> dict[str, Any]:
    """What `holdfast status` says of it; before it works there is little to say. May be called by another thread."""
    process = this_process()
    found: dict[str, Any] = {
        "workers_wanted": 1,
        "application": application,
        "running": True,
        "pid": process.pid,
        "process": msgspec.to_builtins(process),
        "disk_bytes": disk_bytes(data),
    }
    if worker is None:
        return found
    done, last = worker.statistics, worker.checkpoints.last
    return found | {
        "epochs_logged": worker.intake.closed,
        "epochs_applied": worker.apply.applied,
        "epochs_delivered": worker.progress.delivered,
        "checkpoint": {"number": last.checkpoint, "epoch": last.epoch, "ended": last.ended} if last else None,
        "records_here": done.records,
        "outputs_here": done.outputs,
        "skipped_here": done.skipped,
        "entities": {step.name: worker.pipeline.books[step.index].in_memory for step in worker.plan.stateful},
        "sources": [
            {"source": worker.plan.steps[step].name, "partition": name, "records": own.number}
            for (step, name), own in zip(worker.partitions, worker.intake.partitions, strict=True)
        ],
    }
