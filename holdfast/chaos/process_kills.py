"""SIGKILL for processes of a cluster: one, several at once, all, or one more while the others get over the first."""

from __future__ import annotations

import signal
import time

from holdfast.chaos.striker import Sign, Stage, Striker, Stroke, and_

AGAIN_SECONDS = 0.6  # about what a worker needs from its death to taking part again
LAG_SECONDS = (0.2, 0.5)  # less than any heartbeat limit


class Kills(Striker):
    """Faults by which processes end at once."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.strokes = {
            "kill-worker": self._worker,
            "kill-backups": self._backups,
            "kill-workers": self._all_workers,
            "kill-coordinator": self._the_coordinator,
            "kill-all": self._all,
            "kill-supervisor": self._supervisor,
            "kill-recovering": self._recovering,
            "kill-lagging": self._lagging,
        }

    def _worker(self) -> Stroke:
        (victim,) = self._draw(1)
        return _stroke(f"kill {victim}", self._kill(victim))

    def _backups(self) -> Stroke:
        victims = self._draw(max(1, self._stage.backups))
        return _stroke(f"kill {and_(victims)} at once", self._kill(*victims))

    def _all_workers(self) -> Stroke:
        return _stroke("kill all workers", self._kill(*self._workers()))

    def _the_coordinator(self) -> Stroke:
        moment = self._kill(self._coordinator())
        return Stroke("kill the coordinator", moment, Sign.COORDINATOR, moment)

    def _all(self) -> Stroke:
        victims = self._cluster.processes()
        self._random.shuffle(victims)
        return _stroke("kill all workers and the coordinator", self._kill(*victims))

    def _supervisor(self) -> Stroke:
        moment = time.time()
        took = self._cluster.kill_supervisor()
        self._cluster.start()
        return _stroke(f"kill the supervisor, all followed in {took:.2f} s", moment)

    def _recovering(self) -> Stroke:
        """One worker, and the same or another while the cluster is getting over that."""
        (first,) = self._draw(1)
        moment = self._kill(first)
        self._sight.pass_time(self._random.uniform(0.0, AGAIN_SECONDS))
        second = self._random.choice(self._workers() or [first])
        since = self._kill(second)
        return Stroke(f"kill {first}, and {second} meanwhile", moment, Sign.GENERATION, since)

    def _lagging(self) -> Stroke:
        """A worker stands still, the others wait for it; while it makes up for that another one is killed."""
        late, victim = self._draw(2)
        self._cluster.send(late, signal.SIGSTOP)
        self._sight.pass_time(self._random.uniform(*LAG_SECONDS))
        self._cluster.send(late, signal.SIGCONT)
        self._sight.pass_time(self._random.uniform(0.0, 0.02))
        return _stroke(f"kill {victim} while {late} lags behind", self._kill(victim))


def _stroke(text: str, moment: float) -> Stroke:
    return Stroke(text, moment, Sign.GENERATION, moment)
