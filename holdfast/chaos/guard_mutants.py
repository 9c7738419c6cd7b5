"""Planted bugs of rules that a whole cluster seldom comes to, or has a second one for: tests of the machines find them.

See mutants; which test finds which bug stands in tests/chaos/test_unit_mutants.py.
"""

from __future__ import annotations

from typing import Any

from holdfast.chaos.planting import Ground, Mutants
from holdfast.core.positions import TIMER
from holdfast.recovery import changes, coordinator, rounds
from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Phase, Status
from holdfast.recovery.roster import Roster
from holdfast.replication.messages import ImagesHeld, Snapshot
from holdfast.worker.deliver import Delivery
from holdfast.worker.holding import Holding
from holdfast.worker.running import Running
from holdfast.worker.stages import Stages

GUARD_MUTANTS = Mutants()


# --- members


@GUARD_MUTANTS.enter("timers-behind-stop", "no timer fires in a turn behind a stop")
def _timers_behind_stop(ground: Ground) -> None:
    def fires(stages: Stages, epoch: int, turn: int) -> bool:
        skip = stages.skip
        return skip is None or skip.epoch != epoch or (turn, TIMER) >= (skip.turn, skip.partition)

    ground.instead(Stages, "_fires", fires)


@GUARD_MUTANTS.enter("snapshot-held-in-part", "a snapshot is acknowledged when its last part is here")
def _snapshot_held_in_part(ground: Ground) -> None:
    def acknowledged(orders: Any, running: Running, envelope: Any) -> Any:
        link = running.links.peers.get(envelope.sender)
        if isinstance(envelope.message, Snapshot) and link is not None and link.received == envelope.number:
            running._send(envelope.sender, ImagesHeld(running.formation.cut))
        return orders

    ground.after(Running, "peer_sent", acknowledged)


@GUARD_MUTANTS.enter("undo-dropped-early", "a primary can go back to the last sealed cut")
def _undo_dropped_early(ground: Ground) -> None:
    def last_alone(_: Any, holding: Holding, cut: int) -> None:
        while len(holding.intervals) > 1:
            holding.intervals.popleft()

    ground.after(Holding, "sealed", last_alone)


@GUARD_MUTANTS.enter("chunks-of-later-cuts-written", "a checkpoint holds nothing that was packed for a later cut")
def _chunks_of_later_cuts_written(ground: Ground) -> None:
    ground.instead(Holding, "chunks_upto", lambda holding, cut: tuple(chunk for _, chunk in holding.chunks))


@GUARD_MUTANTS.enter("delivered-when-handed-out", "an epoch is delivered when the sinks have said that they have it")
def _delivered_when_handed_out(ground: Ground) -> None:
    def at_once(delivery: Delivery) -> None:
        while delivery.waiting:
            delivery.delivered, _ = delivery.waiting.popleft()

    ground.instead(Delivery, "_advance", at_once)


# --- the coordinator


@GUARD_MUTANTS.enter("older-work-counts", "who still works in an older generation is not at work")
def _older_work_counts(ground: Ground) -> None:
    def running(roster: Roster, formation: Formation) -> list[Status] | None:
        found = [own for own in roster.members(formation) if own.phase is Phase.RUN]
        return found if len(found) == len(formation.members) else None

    ground.instead(Roster, "running", running)


@GUARD_MUTANTS.enter(
    "changed-before-checkpoint", "a layout on its way is changed behind a checkpoint of its own generation"
)
def _changed_before_checkpoint(ground: Ground) -> None:
    ground.instead(changes, "serves", lambda checkpoint, formation: True)


@GUARD_MUTANTS.enter(
    "any-checkpoint-covers", "the last checkpoint of all is that of the end, or of the place of the stop"
)
def _any_checkpoint_covers(ground: Ground) -> None:
    def covers(checkpoint: Any, formation: Formation, statuses: list[Status]) -> bool:
        return checkpoint is not None and all(own.applied == checkpoint.epoch for own in statuses)

    for module in (coordinator, rounds):
        ground.instead(module, "covers", covers)
