"""From which can be read why a range, a worker or the generation is as it is. Plain values, for people and for JSON.

Invariant: docs/clusters.md lists the fields; none of them changes its name or meaning.
Not here: how it is shown (cli), and what workers say of themselves for people (runtime).
"""

from __future__ import annotations

from typing import Any

from holdfast.recovery.coordinator import Coordinator, State
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import Formation
from holdfast.recovery.recoveries import Recovery
from holdfast.recovery.roster import Worker
from holdfast.recovery.testimony import runs


def describe(coordinator: Coordinator) -> dict[str, Any]:
    """Everything that is known, and the decisions that led there, oldest first."""
    kept = coordinator.shelf.kept
    statuses = [own.status for own in coordinator.roster.alive.values()]
    told = describe_kept(kept)
    nodes = sorted({*coordinator.roster.workers, *told["workers"]})
    nobody: dict[str, Any] = {}
    return {
        "state": coordinator.state.value,
        "waiting": coordinator.waiting,
        **told,
        "sealed": max((own.sealed for own in statuses), default=0),
        "workers": {
            node: _status(coordinator, coordinator.roster.workers.get(node)) | told["workers"].get(node, nobody)
            for node in nodes
        },
        "recoveries": [_recovery(own) for own in coordinator.recoveries.latest],
        "recovery_counts": {kind.value: count for kind, count in coordinator.recoveries.counts.items()},
        "events": [[entry.now, entry.text] for entry in coordinator.journal.entries],
    }


def describe_kept(kept: Kept) -> dict[str, Any]:
    """What the record alone says: also of a cluster that nobody runs."""
    formation, checkpoint = kept.formation, kept.checkpoint
    members = formation.members if formation is not None else ()
    return {
        "generation": _generation(formation) if formation else None,
        "checkpoint": {"number": checkpoint.number, "epoch": checkpoint.epoch, "ended": checkpoint.ended}
        if checkpoint
        else None,
        "workers": {own.node: _holds(formation, own.node) for own in members} if formation else {},
    }


def describe_range(coordinator: Coordinator, number: int) -> dict[str, object]:
    """Who holds a range, who will, and whose disk has it."""
    kept = coordinator.shelf.kept
    formation, checkpoint = kept.formation, kept.checkpoint
    if formation is None or not 0 <= number < len(formation.layout.ranges):
        return {}
    holders = formation.layout.ranges[number]
    goal = (formation.target or formation.layout).ranges[number]
    return {
        "primary": holders.primary,
        "backups": list(holders.backups),
        "lacking": [node for node in holders.all if number in formation.lacks(node)],
        "on its way to": list(goal.all) if goal != holders else None,
        "on disk": [node for node, ranges in checkpoint.holders if number in ranges] if checkpoint else [],
        "since": f"generation {formation.number}: {formation.why}",
    }


def _generation(formation: Formation) -> dict[str, object]:
    return {
        "number": formation.number,
        "why": formation.why,
        "cut": formation.cut,
        "from": "memory" if formation.in_memory else "disk",
        "replay_to": formation.level,
        "moving": formation.target is not None,
        "stops_with": formation.stop_error,
    }


def _holds(formation: Formation, node: str) -> dict[str, object]:
    """What a member is to hold and do."""
    layout = formation.layout
    holders = list(enumerate(layout.ranges))
    primary = [number for number, own in holders if own.primary == node]
    return {
        "primary_of": runs(primary),
        "backup_of": runs(number for number, own in holders if node in own.backups),
        "lacking": runs(formation.lacks(node)),
        "share": len(primary) / len(holders),
        "sources": [number for number, own in enumerate(layout.partitions) if own.primary == node],
        "logs_held": [number for number, own in enumerate(layout.partitions) if node in own.backups],
        "sinks": [number for number, owner in enumerate(layout.sinks) if owner == node],
    }


def _status(coordinator: Coordinator, worker: Worker | None) -> dict[str, object]:
    if worker is None:
        return {"alive": False, "member": False, "phase": None}
    status, formation = worker.status, coordinator.formation
    return {
        "alive": worker.alive,
        "incarnation": status.incarnation,
        "phase": status.phase.value,
        "generation": status.generation,
        "member": formation is not None and worker.is_in(formation),
        "leaving": status.node in coordinator.leaving,
        "left_out": status.node in coordinator.quarrels.shunned(coordinator.now),
        "closed": status.closed,
        "applied": status.applied,
        "delivered": status.delivered,
        "sealed": status.sealed,
    }


def _recovery(recovery: Recovery) -> dict[str, object]:
    return {
        "generation": recovery.generation,
        "kind": recovery.kind.value,
        "why": list(recovery.why),
        "detected": recovery.detected,
        "ms": recovery.phases,
    }


def is_at_work(coordinator: Coordinator) -> bool:
    """Whether all members of the recorded generation work in it."""
    formation = coordinator.formation
    return (
        coordinator.state is State.RUN
        and formation is not None
        and coordinator.roster.running(formation) is not None
    )
