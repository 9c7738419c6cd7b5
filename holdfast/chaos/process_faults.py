"""What can be done to the real processes of a cluster, by name, and what must be seen before it counts as survived.

A fault may have several strokes, with waiting for something to be seen between them. Which worker is struck is drawn.
Invariant: whatever a fault has stopped or cut off goes on again when it returns.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from holdfast.chaos.cluster_processes import COORDINATOR, WORKER, Process
from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.live_cluster import LiveCluster

PATIENCE_SECONDS = 60.0  # nothing moves for so long: then it stands still for good
AGAIN_SECONDS = 0.6  # about what a worker needs from its death to taking part again


class Sign(Enum):
    """What shows that a cluster has got over a fault, before its outputs flow again."""

    GENERATION = "a new generation"
    COORDINATOR = "a coordinator that answers"


@dataclass(frozen=True, slots=True)
class Stroke:
    """A fault that has come."""

    name: str
    text: str  # what exactly was struck
    moment: float  # of its last stroke
    sign: Sign
    first: float  # of its first stroke


class StillError(Exception):
    """A cluster does not go on."""


class Faults:
    """All faults of one cluster."""

    def __init__(self, cluster: LiveCluster, sight: Sight, random: Random, *, backups: int) -> None:
        self._cluster = cluster
        self._sight = sight
        self._random = random
        self._backups = backups
        self._strokes: dict[str, Callable[[], tuple[str, float, Sign]]] = {
            "kill-worker": self._kill_worker,
            "kill-backups": self._kill_backups,
            "kill-workers": self._kill_workers,
            "kill-coordinator": self._kill_coordinator,
            "kill-all": self._kill_all,
            "kill-supervisor": self._kill_supervisor,
            "kill-recovering": self._kill_recovering,
            "kill-lagging": self._kill_lagging,
        }

    def strike(self, name: str) -> Stroke:
        """Let one fault come."""
        first = time.time()
        text, moment, sign = self._strokes[name]()
        return Stroke(name, text, moment, sign, first)

    # --- kills

    def _kill(self, *victims: Process) -> float:
        moment = time.time()
        for victim in victims:
            self._cluster.send(victim, signal.SIGKILL)
        return moment

    def _kill_worker(self) -> tuple[str, float, Sign]:
        (victim,) = self._draw(1)
        return f"kill {victim}", self._kill(victim), Sign.GENERATION

    def _kill_backups(self) -> tuple[str, float, Sign]:
        victims = self._draw(max(1, self._backups))
        return f"kill {_and(victims)} at once", self._kill(*victims), Sign.GENERATION

    def _kill_workers(self) -> tuple[str, float, Sign]:
        return "kill all workers", self._kill(*self._workers()), Sign.GENERATION

    def _kill_coordinator(self) -> tuple[str, float, Sign]:
        return "kill the coordinator", self._kill(*self._coordinator()), Sign.COORDINATOR

    def _kill_all(self) -> tuple[str, float, Sign]:
        victims = self._cluster.processes()
        self._random.shuffle(victims)
        return "kill all workers and the coordinator", self._kill(*victims), Sign.GENERATION

    def _kill_supervisor(self) -> tuple[str, float, Sign]:
        moment = time.time()
        took = self._cluster.kill_supervisor()
        self._cluster.start()
        return f"kill the supervisor, all followed within {took:.2f} s", moment, Sign.GENERATION

    def _kill_recovering(self) -> tuple[str, float, Sign]:
        """One worker, and the same or another while the cluster is getting over that."""
        (first,) = self._draw(1)
        self._kill(first)
        self._sight.pass_time(self._random.uniform(0.0, AGAIN_SECONDS))
        second = self._random.choice(self._workers() or [first])
        return f"kill {first}, and {second} meanwhile", self._kill(second), Sign.GENERATION

    def _kill_lagging(self) -> tuple[str, float, Sign]:
        """A worker stands still, the others wait for it; while it makes up for that another one is killed."""
        late, victim = self._draw(2) if self._cluster.workers > 1 else self._draw(1) * 2
        self._cluster.send(late, signal.SIGSTOP)
        self._sight.pass_time(self._random.uniform(0.2, 0.5))
        self._cluster.send(late, signal.SIGCONT)
        self._sight.pass_time(self._random.uniform(0.0, 0.02))
        return f"kill {victim} while {late} lags behind", self._kill(victim), Sign.GENERATION

    # --- who

    def _workers(self) -> list[Process]:
        return [process for process in self._cluster.processes() if process.role == WORKER]

    def _coordinator(self) -> list[Process]:
        return [process for process in self._cluster.processes() if process.role == COORDINATOR]

    def _draw(self, count: int) -> list[Process]:
        """Some workers; all must be there, or chance would depend on the machine."""
        self._sight.wait(self._cluster.is_complete, PATIENCE_SECONDS)
        found = self._workers()
        if len(found) < count:
            raise StillError("workers that ended are not started again")
        return self._random.sample(found, count)


def _and(processes: list[Process]) -> str:
    return " and ".join(map(str, sorted(processes)))
