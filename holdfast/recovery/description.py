"""From which can be read why a range, a worker or the generation is as it is. Plain values, for people and for JSON.

Not here: how it is shown (cli).
"""

from __future__ import annotations

from holdfast.recovery.coordinator import Coordinator
from holdfast.recovery.generation import Formation
from holdfast.recovery.roster import Worker
from holdfast.recovery.testimony import runs


def describe(coordinator: Coordinator) -> dict[str, object]:
    """Everything that is known, and the decisions that led there, oldest first."""
    kept = coordinator.shelf.kept
    formation, checkpoint = kept.formation, kept.checkpoint
    nodes = set(coordinator.roster.workers) | {own.node for own in (formation.members if formation else ())}
    return {
        "state": coordinator.state.value,
        "waiting": coordinator.waiting,
        "generation": _generation(formation) if formation else None,
        "checkpoint": {"number": checkpoint.number, "epoch": checkpoint.epoch} if checkpoint else None,
        "workers": {node: _worker(coordinator, node) for node in sorted(nodes)},
        "events": [[entry.now, entry.text] for entry in coordinator.journal.entries],
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
        "level": formation.level,
        "on its way": formation.target is not None,
        "stops with": formation.stop_error,
    }


def _worker(coordinator: Coordinator, node: str) -> dict[str, object]:
    worker = coordinator.roster.workers.get(node)
    formation = coordinator.formation
    own = {} if worker is None else _status(coordinator, worker)
    if formation is None or formation.member(node) is None:
        return own
    holders = list(enumerate(formation.layout.ranges))
    return own | {
        "primary of": runs(number for number, own in holders if own.primary == node),
        "backup of": runs(number for number, own in holders if node in own.backups),
        "lacking": runs(formation.lacks(node)),
    }


def _status(coordinator: Coordinator, worker: Worker) -> dict[str, object]:
    status, formation = worker.status, coordinator.formation
    return {
        "alive": worker.alive,
        "incarnation": status.incarnation,
        "phase": status.phase.value,
        "generation": status.generation,
        "member": formation is not None and worker.is_in(formation),
        "sealed": status.sealed,
        "leaving": status.node in coordinator.leaving,
        "left out": status.node in coordinator.quarrels.shunned(coordinator.now),
    }
