"""What every fault of a real cluster is made with: its processes, what is seen of it, chance; and what a fault leaves.

A fault may have several strokes, with waiting for something to be seen between them. Which worker is struck is drawn.
Invariant: whatever a fault has stopped or cut off goes on again when it returns, or is dead.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random

from holdfast.chaos.cluster_processes import COORDINATOR, WORKER, Process
from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.live_cluster import LiveCluster

PATIENCE_SECONDS = 60.0  # nothing moves for so long: then it stands still for good


class Sign(Enum):
    """What shows that a cluster has got over a fault, before its outputs flow again."""

    GENERATION = "a new generation"
    COORDINATOR = "a coordinator that answers"


@dataclass(frozen=True, slots=True)
class Stroke:
    """A fault that has come."""

    text: str  # what exactly was struck
    moment: float  # when it came
    sign: Sign  # what must be seen …
    since: float  # … behind this moment, its last stroke


class StillError(Exception):
    """A cluster does not go on."""


class OverError(Exception):
    """A run has ended before a fault could come, or could be got over."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where faults come."""

    cluster: LiveCluster
    sight: Sight
    random: Random
    backups: int
    data: Path  # with a folder for each worker


class Striker:
    """Faults of one kind, by name."""

    def __init__(self, stage: Stage) -> None:
        self._cluster = stage.cluster
        self._sight = stage.sight
        self._random = stage.random
        self._stage = stage
        self.strokes: dict[str, Callable[[], Stroke]] = {}

    def _workers(self) -> list[Process]:
        return [process for process in self._cluster.processes() if process.role == WORKER]

    def _coordinator(self) -> Process:
        found: list[Process] = []

        def is_there() -> bool:
            found[:] = [process for process in self._cluster.processes() if process.role == COORDINATOR]
            return bool(found)

        self._until(is_there)
        return found[0]

    def _draw(self, count: int) -> list[Process]:
        """Some workers; all must be there, or chance would depend on the machine."""
        found: list[Process] = []

        def is_complete() -> bool:
            found[:] = self._workers()
            return len(found) >= self._cluster.workers

        self._until(is_complete)
        return self._random.sample(found, count)

    def _kill(self, *victims: Process) -> float:
        moment = time.time()
        for victim in victims:
            self._cluster.send(victim, signal.SIGKILL)
        return moment

    def _until(self, seen: Callable[[], bool]) -> None:
        """Wait until something is seen; OverError if the run ends before."""
        if not self._sight.wait(lambda: self._cluster.code is not None or seen(), PATIENCE_SECONDS):
            raise StillError(f"nothing moved for {PATIENCE_SECONDS:g} s")
        if self._cluster.code is not None:
            raise OverError


def and_(processes: list[Process]) -> str:
    """Their names."""
    return " and ".join(map(str, sorted(processes)))
