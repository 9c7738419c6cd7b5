"""SIGSTOP for longer than the heartbeat limit, and SIGCONT: processes that were given up, and come back."""

from __future__ import annotations

import signal
import time

from holdfast.chaos.striker import Sign, Stage, Striker, Stroke

LATER_SECONDS = 1.0  # at most, between being given up and waking up


class Pauses(Striker):
    """Faults by which processes stand still."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.strokes = {
            "pause-worker": self._worker,
            "pause-coordinator": self._the_coordinator,
            "zombie": self._zombie,
        }

    def _worker(self) -> Stroke:
        """Its supervisor ends it about when the others give it up; who comes first is up to the machine."""
        (victim,) = self._draw(1)
        moment = time.time()
        self._cluster.send(victim, signal.SIGSTOP)
        self._until_given_up(moment)
        self._cluster.send(victim, signal.SIGCONT)
        return Stroke(f"stop {victim} until it is given up", moment, Sign.GENERATION, moment)

    def _zombie(self) -> Stroke:
        """Nobody ends it: its supervisor stands still as well. It wakes up in a cluster that has gone on without it."""
        (victim,) = self._draw(1)
        moment = time.time()
        self._cluster.send_supervisor(signal.SIGSTOP)
        try:
            self._cluster.send(victim, signal.SIGSTOP)
            self._until_given_up(moment)
            self._sight.pass_time(self._random.uniform(0.0, LATER_SECONDS))
            self._cluster.send(victim, signal.SIGCONT)
            self._sight.pass_time(self._random.uniform(0.0, LATER_SECONDS))
        finally:
            self._cluster.send_supervisor(signal.SIGCONT)
        return Stroke(f"{victim} comes back as a zombie", moment, Sign.GENERATION, moment)

    def _until_given_up(self, moment: float) -> None:
        """Wait until the others go on without it; where they have nothing left to do, they end without it."""
        self._until(lambda: self._sight.formed_after(moment) is not None or self._sight.has_ended)

    def _the_coordinator(self) -> Stroke:
        """Its supervisor ends it and starts it again."""
        victim, moment = self._coordinator(), time.time()
        self._cluster.send(victim, signal.SIGSTOP)
        self._until(lambda: self._sight.heard_after(moment) is not None)
        return Stroke("stop the coordinator for good", moment, Sign.COORDINATOR, moment)
