"""How processes end: only when they are told to, and never with something that others would still need.

A member ends cleanly when its coordinator has told this very life to, and then its logs hold nothing behind the last
checkpoint: a clean end has nothing to replay. A node that is let go is needed no more: what its disk has of the last
checkpoint stands on as many disks of members as it is to.
"""

from __future__ import annotations

from typing import Any

from holdfast.chaos.cluster_invariants import ClusterInvariants
from holdfast.chaos.cluster_node import ClusterNode
from holdfast.chaos.cluster_verdict import entries_of, has_checkpoint
from holdfast.chaos.outputs import Violation
from holdfast.recovery import effects as coordinator_effects
from holdfast.recovery.coordinator import Coordinator, State
from holdfast.recovery.messages import Run
from holdfast.worker import effects

Life = tuple[str, int]  # (node, incarnation)


class Farewells:
    """Who was told to end."""

    def __init__(self, invariants: ClusterInvariants) -> None:
        self._invariants = invariants
        self._told: set[Life] = set()
        self._relieved: set[Life] = set()  # of them, those without whom the cluster goes on …
        self._at_once: set[Life] = set()  # … and those of a cluster that can't go on at all

    def is_relieved(self, node: ClusterNode) -> bool:
        """Whether this life of a machine was told that it is needed no more."""
        return node.member is not None and (node.name, node.member.incarnation) in self._relieved

    def coordinator_ordered(self, effect: coordinator_effects.Effect, coordinator: Coordinator | None) -> None:
        """The coordinator has given an order."""
        if not isinstance(effect, coordinator_effects.Tell):
            return
        body = effect.order.order
        if isinstance(body, Run) and body.finish:
            life = (effect.node, effect.order.incarnation)
            self._told.add(life)
            if coordinator is not None and coordinator.at_once:
                self._at_once.add(life)
            if coordinator is not None and coordinator.state is State.RUN:
                self._relieved.add(life)
                self._check_relieved(effect.node)

    def _check_relieved(self, name: str) -> None:
        kept = self._invariants.kept
        formation, checkpoint = kept.formation, kept.checkpoint
        if formation is None or checkpoint is None:
            return
        for number in checkpoint.held_by(name):
            wanted = len(formation.layout.ranges[number].all)
            having = [
                node
                for node, ranges in checkpoint.holders
                if number in ranges and formation.member(node) is not None and self._has_or_lost_it(node)
            ]
            if len(having) < wanted:
                raise Violation(
                    f"{name} is let go; range {number} of checkpoint {checkpoint.number} is left to {having}, {wanted}"
                    " are to have it"
                )

    def _has_or_lost_it(self, name: str) -> bool:
        """A disk that has just been lost may not be missed yet."""
        node, checkpoint = self._invariants.node(name), self._invariants.kept.checkpoint
        assert checkpoint is not None
        return node is None or has_checkpoint(node.disk, checkpoint)

    def ordered(self, node: ClusterNode, effect: Any) -> None:
        """A member has given an order."""
        member, kept = node.member, self._invariants.kept
        if not isinstance(effect, effects.Finish) or member is None:
            return
        life = (node.name, member.incarnation)
        if life not in self._told:
            raise Violation(f"{node.name} ends, and nobody has told this life of it to")
        formation, checkpoint = kept.formation, kept.checkpoint
        if formation is None or member.formation != formation or kept.drawn > formation.number:
            return  # it has left that generation, or is about to, and a stop found that no other can be formed
        if life in self._relieved or life in self._at_once:
            return
        upto = 0 if checkpoint is None else checkpoint.epoch + (checkpoint.limit is not None)
        behind = [
            entry.epoch
            for entry in entries_of(node.disk)
            if entry.epoch > upto and node.name in formation.layout.partitions[entry.chunk.partition].all
        ]
        if behind and formation.limit is None:
            raise Violation(f"{node.name} ends with epochs {behind} behind the last checkpoint, which is at {upto}")
