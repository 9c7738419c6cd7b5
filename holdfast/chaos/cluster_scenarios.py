"""Which fault comes next: the schedules behind `holdfast chaos --workers N --scenario`.

All chance comes from one seeded generator. What a seed fixes is the schedule and who is struck, not what the cluster is
doing in that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

# What a fault needs: (workers, backups).
NEEDS = {
    "kill-lagging": (2, 0),
    "cut-pair": (2, 0),
    "cut-one-way": (2, 0),
    "cut-off": (2, 0),
    "wipe": (2, 1),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Some faults, and how often each comes beside the others."""

    text: str  # for --help
    shares: dict[str, int]

    def fitting(self, workers: int, backups: int) -> dict[str, int]:
        """The faults for which a cluster is large enough."""
        return {
            fault: share
            for fault, share in self.shares.items()
            if workers >= NEEDS.get(fault, (1, 0))[0] and backups >= NEEDS.get(fault, (1, 0))[1]
        }

    @property
    def has_silence(self) -> bool:
        """Whether any of its faults is noticed by silence alone."""
        return any(fault.startswith(("pause-", "cut-", "zombie")) for fault in self.shares)

    @property
    def has_cuts(self) -> bool:
        """Whether the network is cut in it."""
        return any(fault.startswith("cut-") for fault in self.shares)


_WORKERS = {"kill-worker": 4, "kill-backups": 2, "kill-recovering": 2, "kill-lagging": 2}
_KILLS = {**_WORKERS, "kill-coordinator": 2, "kill-workers": 1, "kill-all": 1, "kill-supervisor": 1}
_PAUSES = {"pause-worker": 2, "zombie": 2, "pause-coordinator": 1}
_CUTS = {"cut-pair": 2, "cut-one-way": 2, "cut-off": 1, "cut-coordinator": 1}
SCENARIOS = {
    "mixed": Scenario("everything below for which the cluster is large enough (default)", {
        **_KILLS, **_PAUSES, **_CUTS, "wipe": 2, "full-disk": 1, "restart": 1,
    }),
    "kills": Scenario("any of the next six", _KILLS),
    "workers": Scenario("a worker is killed", {"kill-worker": 1}),
    "backups": Scenario("as many workers at once as there are backups", {"kill-backups": 1}),
    "recovery": Scenario("a worker, and one more while the cluster gets over that", {"kill-recovering": 1}),
    "lagging": Scenario("a worker while another one is behind", {"kill-lagging": 1}),
    "coordinator": Scenario("the coordinator", {"kill-coordinator": 1}),
    "power": Scenario("everything at once, supervisor included or not", {"kill-all": 1, "kill-supervisor": 1}),
    "pause": Scenario("a process stands still for longer than the heartbeat limit, and may come back", _PAUSES),
    "partition": Scenario("workers can't reach others, one way or both, or the coordinator, or nobody", _CUTS),
    "wipe": Scenario("a worker's disk is lost with it", {"wipe": 1}),
    "full-disk": Scenario("a worker can't write any more; everything ends, and is started again", {"full-disk": 1}),
    "restart": Scenario("everything is stopped cleanly and started again", {"restart": 1}),
}


def schedule(shares: dict[str, int], random: Random) -> Iterator[str]:
    """Yield names of faults for ever: each round has every fault as often as its share, in any order."""
    while True:
        round_ = [fault for fault, share in shares.items() for _ in range(share)]
        random.shuffle(round_)
        yield from round_
