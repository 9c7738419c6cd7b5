"""A campaign against one cluster of real processes: fault after fault, until its input is worked off.

Invariant: between two faults the cluster has moved and all its workers take part again, or faults would prove nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.chaos.process_disks import STOPPED_CODE
from holdfast.chaos.striker import PATIENCE_SECONDS, OverError, Sign, Stage, StillError, Stroke
from holdfast.chaos.timeline import Survived

CALM_SECONDS = 0.5  # at most between the moment when everything flows again and the next fault


@dataclass(slots=True)
class Campaign:
    """One cluster and everything that is done to it."""

    stage: Stage
    strokes: dict[str, Callable[[], Stroke]]
    say: Callable[[str], None]
    began: float = field(default_factory=time.time)
    survived: list[Survived] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)

    def run(self, names: list[str], hurry: Path, *, is_live: bool) -> int:
        """Let all faults come, then ask for haste and wait for the end, or make it; returns how the run ended."""
        cluster = self.stage.cluster
        cluster.start()
        flowing = self.began
        for name in names:
            if not self._calm_down(flowing):
                break
            try:
                stroke = self.strokes[name]()
            except OverError:
                break
            self.struck.append(name)
            found = self._get_over(name, stroke)
            if found is None:
                break
            flowing = found.flowing
            self.survived.append(found)
            self.say(found.line(self.began))
        hurry.touch()
        if is_live and cluster.code is None:
            self.stage.sight.pass_time(CALM_SECONDS)
            cluster.send_supervisor(signal.SIGTERM)
        self._wait(lambda: False)
        assert cluster.code is not None
        return 0 if is_live and cluster.code == STOPPED_CODE else cluster.code

    def _calm_down(self, flowing: float) -> bool:
        """Wait until all take part again and some more is written; False if the run ends before."""
        cluster, sight = self.stage.cluster, self.stage.sight
        self._wait(lambda: sight.grew_after(flowing) is not None and sight.members == cluster.workers)
        sight.pass_time(self.stage.random.uniform(0.0, CALM_SECONDS))
        return cluster.code is None

    def _get_over(self, name: str, stroke: Stroke) -> Survived | None:
        """Wait until outputs flow behind a fault; None if the run has ended meanwhile."""
        self._wait(lambda: self._flowing(stroke) is not None)
        flowing = self._flowing(stroke)
        if flowing is None:
            return None
        sight = self.stage.sight
        return Survived(
            name,
            stroke.text,
            stroke.moment,
            sight.detected_after(stroke.moment),
            sight.formed_after(stroke.since),
            flowing,
            sight.longest_gap(stroke.moment, flowing),
        )

    def _flowing(self, stroke: Stroke) -> float | None:
        sight = self.stage.sight
        if stroke.sign is Sign.GENERATION:
            formed = sight.formed_after(stroke.since)
            return None if formed is None else sight.grew_after(formed[0])
        heard = sight.heard_after(stroke.since)
        return sight.grew_after(heard) if heard is not None else None

    def _wait(self, until: Callable[[], bool]) -> None:
        """Until something is so or the run has ended."""
        cluster = self.stage.cluster
        if not self.stage.sight.wait(lambda: cluster.code is not None or until(), PATIENCE_SECONDS):
            raise StillError(f"nothing moved for {PATIENCE_SECONDS:g} s")
