"""Planted bugs of rules that a whole cluster seldom comes to, or has a second one for: tests of the machines find them.

See mutants; which test finds which bug stands in tests/chaos/test_unit_mutants.py.
"""

from __future__ import annotations

from typing import Any

from holdfast.chaos.planting import Ground, Mutants
from holdfast.core.positions import TIMER
from holdfast.replication.messages import ImagesHeld, Snapshot
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
