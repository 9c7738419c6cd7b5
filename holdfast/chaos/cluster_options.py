"""The options of a cluster's world, drawn from its seed: those of any world (options), its size, network and faults.

Worlds are small, so that many of them can be run; every size has cruel values. Nothing here depends on more than the
seed and the application.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from holdfast.chaos.cluster_faults import ClusterFault, draw_cluster_faults
from holdfast.chaos.network import NetworkOptions
from holdfast.chaos.options import Options, draw
from holdfast.chaos.schedule import Streams

WORKERS = (1, 2, 2, 2, 3, 3, 3, 3, 4, 5)
MANY_WORKERS = 4
RECORDS_OF_MANY = 40
BACKUPS = (0, 1, 1, 1, 2)
RANGES = (1, 2, 5, 16, 64)
PARTITIONS = (1, 1, 2, 3, 5)
COPIES = (1, 1, 1, 2)
RECORDS_MAX = (130, 10, 20, 40, 70)
CHECKPOINT_MS = (1000, 1, 20, 50, 200, 500)
CUT_MS = (50, 0, 5, 20, 300)
UNSEALED_MAX = (200, 200, 1, 3, 20)
EPOCH_BYTES = (262_144, 50, 500, 5_000)
# As in options, but never so slow that what one world shows could be seen in three.
LATENCIES_MS = {
    "log": (2.0, 0.1, 15.0),
    "state": (3.0, 0.1, 20.0),
    "sync": (3.0, 0.1, 20.0),
    "sink": (0.5, 0.05, 10.0),
    "source": (0.1, 0.01, 5.0),
    "machine": (0.1, 0.0, 0.01, 1.0),
    "store": (2.0, 0.1, 30.0),
}
AT_ONCE = (1, 1, 3, 1000)
ARRIVALS_MS_MAX = 2_000.0  # live inputs give everything within this
# Constants of the product that only large inputs would ever reach.
LIMITS = {
    "holdfast.worker.holding.CHUNK_ROWS_MAX": (4000, 1, 2, 10),
    "holdfast.worker.staging.BYTES_FREE": (4 * 1024 * 1024, 0, 200, 3_000),
}
# With rounds as they are a small input has one or two, and no epoch of it ever takes several.
ROUNDS = (64, 64, 1, 4, 16)
ROUNDS_MAX = 40  # of a partition: epochs take a while where the network is slow
ROUND_OF = (
    "holdfast.core.turns.ROUND",
    "holdfast.core.serial_order.ROUND",
    "holdfast.worker.apply.ROUND",
    "holdfast.worker.parts.ROUND",
    "holdfast.chaos.verdict.ROUND",
    "holdfast.chaos.workloads.ROUND",
)
DRIFT = (0.0, 0.0, 0.01, 0.05)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Everything that is drawn before a cluster's world begins."""

    common: Options
    workers: int  # at the first start
    backups: int
    ranges: int
    partitions: int  # into which the only partition of a source is dealt out
    network: NetworkOptions
    at_once: int  # events that a member handles together, if so many have come
    coordinator_tick_ms: float
    collect_ms: int  # that the coordinator waits for reports
    waiting_ms: int  # that it waits for recorded nodes that are away
    status_ms: float  # a worker's status is under way no sooner; a newer one takes its place until then
    beat_ms: float  # a worker tells its status again
    drift: float  # the most by which a clock goes wrong
    faults: tuple[ClusterFault, ...]
    kept_faults: tuple[int, ...] | None

    @property
    def seed(self) -> int:
        """It all comes from this."""
        return self.common.seed

    @property
    def application(self) -> str:
        """What runs."""
        return self.common.application

    @property
    def limits(self) -> dict[str, int]:
        """Constants of the product that are others in this world."""
        return self.common.limits

    def lines(self) -> list[str]:
        """Return the options as text, one a line."""
        shown = [
            f"{self.workers} workers, {self.backups} backups, {self.ranges} ranges, {self.partitions} partitions",
            str(self.network),
            f"coordinator tick {self.coordinator_tick_ms} ms, collect {self.collect_ms} ms, {self.at_once} at once",
            f"waiting {self.waiting_ms} ms, status {self.status_ms} ms, beat {self.beat_ms} ms, drift {self.drift}",
            *self.common.lines(),
        ]
        for number, fault in enumerate(self.faults):
            kept = self.kept_faults is None or number in self.kept_faults
            shown.append(f"fault {number}: {fault}" + ("" if kept else " (left out)"))
        return shown


def draw_cluster(
    seed: int, applications: Sequence[str], kept_faults: Sequence[int] | None = None
) -> ClusterOptions:
    """Draw a cluster's options. An application is one of `applications`."""
    streams = Streams(seed)
    random = streams["cluster options"]
    backups, workers = random.choice(BACKUPS), random.choice(WORKERS)
    common = _common(seed, applications, random, backups)
    limits = _limits(streams["cluster limits"])
    common = replace(common, limits=limits, records_max=min(common.records_max, limits[ROUND_OF[0]] * ROUNDS_MAX))
    if workers >= MANY_WORKERS:  # every epoch costs messages as the square of them
        common = replace(common, copies=1, records_max=min(common.records_max, RECORDS_OF_MANY))
    return ClusterOptions(
        common=common,
        workers=workers,
        backups=backups,
        ranges=random.choice(RANGES),
        partitions=random.choice(PARTITIONS),
        network=_network(random),
        at_once=streams["cluster at once"].choice(AT_ONCE),
        coordinator_tick_ms=random.choice((30.0, 100.0)),
        collect_ms=random.choice((1000, 50, 200)),
        waiting_ms=random.choice((2000, 50, 500)),
        status_ms=random.choice((0.0, 1.0, 10.0)),
        beat_ms=random.choice((100.0, 500.0)),
        drift=random.choice(DRIFT),
        faults=draw_cluster_faults(streams["cluster faults"]),
        kept_faults=None if kept_faults is None else tuple(kept_faults),
    )


def _common(seed: int, applications: Sequence[str], random: Random, backups: int) -> Options:
    common = draw(seed, applications, ())
    epoch_bytes_max = random.choice(EPOCH_BYTES)
    settings = replace(
        common.settings,
        backups=backups,
        cut_ms=random.choice(CUT_MS),
        unsealed_max=random.choice(UNSEALED_MAX),
        checkpoint_ms=random.choice(CHECKPOINT_MS),
        epoch_bytes_max=epoch_bytes_max,
        epoch_bytes_min=min(random.choice(EPOCH_BYTES), epoch_bytes_max),
        entities_in_memory=None,
    )
    return replace(
        common,
        faults=(),
        kept_faults=None,
        copies=random.choice(COPIES),
        records_max=random.choice(RECORDS_MAX),
        settings=settings,
        limits={},
        latencies_ms={name: _often_first(random, choices) for name, choices in LATENCIES_MS.items()},
    )


def _limits(random: Random) -> dict[str, int]:
    return {
        **{name: random.choice(choices) for name, choices in LIMITS.items()},
        **dict.fromkeys(ROUND_OF, random.choice(ROUNDS)),
    }


def _network(random: Random) -> NetworkOptions:
    return NetworkOptions(
        latency_ms=_often_first(random, (0.3, 0.02, 5.0, 30.0)),
        tail=random.choice((0.0, 0.01, 0.1)),
        doubled=random.choice((0.0, 0.0, 0.02, 0.2)),
        late=random.choice((0.0, 0.0, 0.01, 0.1)),
        late_ms=random.choice((1.0, 20.0, 300.0)),
        notice_ms=random.choice((20.0, 100.0, 500.0)),
        levels_lost=random.choice((0.0, 0.05, 0.4)),
    )


def _often_first(random: Random, choices: Sequence[float]) -> float:
    return choices[0] if random.random() < 0.4 else random.choice(choices)
