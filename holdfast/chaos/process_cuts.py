"""Cuts in the network between processes of a cluster, through the fault proxy; healed once the cluster goes on."""

from __future__ import annotations

import time

from holdfast.chaos.cluster_processes import Process
from holdfast.chaos.fault_proxy import FaultProxy, Way
from holdfast.chaos.striker import Sign, Stage, StillError, Striker, Stroke
from holdfast.runtime.transport.detour import COORDINATOR
from holdfast.storage.folder import DATA, read_format

FLOWING_SECONDS = 12.0  # for which a cut is kept, unless outputs flow in spite of it before


class Cuts(Striker):
    """Faults by which some can't reach others."""

    def __init__(self, stage: Stage, proxy: FaultProxy) -> None:
        super().__init__(stage)
        self._proxy = proxy
        self.strokes = {
            "cut-pair": self._pair,
            "cut-one-way": self._one_way,
            "cut-coordinator": self._from_the_coordinator,
            "cut-off": self._off,
        }

    def _pair(self) -> Stroke:
        one, other = self._draw(2)
        a, b = self._node(one), self._node(other)
        return self._cut([(a, b), (b, a)], f"cut {one} from {other}")

    def _one_way(self) -> Stroke:
        one, other = self._draw(2)
        return self._cut([(self._node(one), self._node(other))], f"cut the way from {one} to {other}")

    def _from_the_coordinator(self) -> Stroke:
        (victim,) = self._draw(1)
        node = self._node(victim)
        return self._cut([(node, COORDINATOR), (COORDINATOR, node)], f"cut {victim} from the coordinator")

    def _off(self) -> Stroke:
        """One worker from everybody."""
        victim, *others = self._draw(self._cluster.workers)
        node, rest = self._node(victim), [COORDINATOR, *map(self._node, others)]
        return self._cut([way for other in rest for way in ((node, other), (other, node))], f"cut {victim} off")

    def _cut(self, ways: list[Way], text: str) -> Stroke:
        """Cut until outputs flow in a new generation; where they can't without all, for some time."""
        moment = time.time()
        self._proxy.cut(ways)
        try:
            self._until(lambda: self._sight.formed_after(moment) is not None)
            end = time.time() + FLOWING_SECONDS
            self._until(lambda: self._is_flowing(moment) or time.time() > end)
        finally:
            self._proxy.cut([])
        return Stroke(text, moment, Sign.GENERATION, moment)

    def _is_flowing(self, moment: float) -> bool:
        formed = self._sight.formed_after(moment)
        return formed is not None and self._sight.grew_after(formed[0]) is not None

    def _node(self, process: Process) -> str:
        node = read_format(self._stage.data / f"worker-{process.number}", DATA)
        if node is None:
            raise StillError(f"{process} has no data directory")
        return node
