"""A small world of a cluster in which nothing goes wrong: what kept worlds are made from, and what one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.chaos.campaign import Campaign, Kind
from holdfast.chaos.catalogue import MakeSubject
from holdfast.chaos.cluster_options import LATENCIES_MS, ClusterOptions
from holdfast.chaos.network import NetworkOptions
from holdfast.chaos.options import Options
from holdfast.worker.settings import Settings

SETTINGS = Settings(backups=1, checkpoint_ms=200)
LATENCIES = {name: choices[0] for name, choices in LATENCIES_MS.items()}
NETWORK = NetworkOptions(
    latency_ms=0.3, tail=0.0, doubled=0.0, late=0.0, late_ms=1.0, notice_ms=100.0, levels_lost=0.0
)
COMMON = Options(
    seed=1,
    application="comings and goings",
    copies=1,
    records_max=40,
    untimed=False,
    broken=0,
    strict=False,
    mends=True,
    live=False,
    ends=True,
    notices_end=True,
    sinks=("file",),
    columns=True,
    settings=SETTINGS,
    limits={},
    tick_ms=5.0,
    latencies_ms=LATENCIES,
    faults=(),
    kept_faults=None,
)
QUIET = ClusterOptions(
    common=COMMON,
    workers=3,
    backups=1,
    ranges=16,
    partitions=2,
    network=NETWORK,
    at_once=1,
    coordinator_tick_ms=30.0,
    collect_ms=1000,
    waiting_ms=500,
    status_ms=1.0,
    beat_ms=100.0,
    drift=0.0,
    faults=(),
    kept_faults=None,
)
IN_PARTS = {"holdfast.worker.holding.UPDATE_BYTES_MAX": 1, "holdfast.worker.holding.CHUNK_ROWS_MAX": 1}


@dataclass(frozen=True)
class Kept:
    """A world, and what it once found."""

    what: str
    bug: str  # the mutant that plants it again
    options: ClusterOptions


    def judge(self, applications: Mapping[str, MakeSubject]) -> None:
        """The promise is kept there, and the bug is found when it is planted."""
        assert Campaign({**applications}, kind=Kind.CLUSTER).run(self.options).failure is None
        assert Campaign({**applications}, self.bug, Kind.CLUSTER).run(self.options).failure is not None
