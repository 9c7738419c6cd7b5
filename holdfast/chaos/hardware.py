"""What a machine of a world is made of beside its disk: a clock of its own, and how long things take on it."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.chaos.schedule import Schedule, Streams

EPOCH_MS = 1_700_000_000_000  # a clock that nobody touched, when the world begins
TAIL = 0.03  # of the works take SLOW_TIMES as long
SLOW_TIMES = 20.0


class Hardware:
    """One machine."""

    def __init__(
        self,
        schedule: Schedule,
        streams: Streams,
        latencies_ms: Mapping[str, float],
        *,
        prefix: str = "",
        drift: float = 0.0,
    ) -> None:
        """`drift` is by how much of a second its clock goes wrong in a second."""
        self.clock_offset = 0.0
        self.slow_until = 0.0  # its disks and sinks take many times as long until then
        self._schedule = schedule
        self._latencies_ms = latencies_ms
        self._rate = 1.0 + drift
        self._randoms = {name: streams[f"{prefix}latency of {name}"] for name in latencies_ms}

    def clock(self) -> int:
        """Its own clock, Unix milliseconds."""
        return int(EPOCH_MS + self._schedule.now * self._rate + self.clock_offset)

    def latency(self, kind: str) -> float:
        """How long a work of this kind takes."""
        random = self._randoms[kind]
        time = random.expovariate(1.0) * self._latencies_ms[kind]
        slow = random.random() < TAIL or (self._schedule.now < self.slow_until and kind != "machine")
        return time * SLOW_TIMES if slow else time
