"""Which fault comes next: the schedules behind `holdfast chaos --workers N --scenario`.

All chance comes from one seeded generator. What a seed fixes is the schedule and who is struck, not what the cluster is
doing in that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Scenario:
    """Some faults, and how often each comes beside the others."""

    text: str  # for --help
    shares: dict[str, int]
    workers_min: int = 1
    backups_min: int = 0


_KILLS = {"kill-worker": 4, "kill-backups": 2, "kill-recovering": 2, "kill-lagging": 2, "kill-coordinator": 2} | {
    "kill-workers": 1,
    "kill-all": 1,
    "kill-supervisor": 1,
}
SCENARIOS = {
    "mixed": Scenario("everything below that the cluster's size allows, most often single workers (default)", _KILLS),
    "kills": Scenario("any of the kills below", _KILLS),
    "workers": Scenario("a worker", {"kill-worker": 1}),
    "backups": Scenario("as many workers at once as there are backups", {"kill-backups": 1}),
    "recovery": Scenario("a worker, and one more while the cluster gets over that", {"kill-recovering": 1}),
    "lagging": Scenario("a worker while another one is behind", {"kill-lagging": 1}, workers_min=2),
    "coordinator": Scenario("the coordinator", {"kill-coordinator": 1}),
    "power": Scenario("everything at once, supervisor included or not", {"kill-all": 1, "kill-supervisor": 1}),
}


def schedule(name: str, random: Random) -> Iterator[str]:
    """Yield names of faults for ever: each round has every fault as often as its share, in any order."""
    shares = SCENARIOS[name].shares
    while True:
        round_ = [fault for fault, share in shares.items() for _ in range(share)]
        random.shuffle(round_)
        yield from round_
