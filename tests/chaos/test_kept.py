"""Worlds that found a bug once: each must keep the promise, and still find the bug when it is planted again.

They are kept as options and not as seeds: a seed means another world as soon as anything is drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from holdfast.chaos.campaign import Campaign
from holdfast.chaos.catalogue import catalogue
from holdfast.chaos.faults import ANY, Fault, FaultKind
from holdfast.chaos.options import LATENCIES_MS, Options
from holdfast.worker.settings import Settings
from tests.chaos.quiet import COMMON

QUIET = replace(
    COMMON,
    records_max=400,
    settings=Settings(),
    latencies_ms={name: choices[0] for name, choices in LATENCIES_MS.items()},
)


@dataclass(frozen=True)
class Kept:
    """A world, and what it once found."""

    what: str
    bug: str  # the mutant that plants it again
    options: Options


KEPT = [
    Kept(
        "a source answered after the last cut: its records were delivered, but in no checkpoint",
        "read-after-final-cut",
        replace(
            QUIET,
            seed=71,
            records_max=5,
            live=True,
            latencies_ms={**QUIET.latencies_ms, "state": 200.0, "source": 5.0, "machine": 5.0},
            settings=Settings(epoch_bytes_min=50, epoch_bytes_max=50),
            faults=(Fault(FaultKind.STOP, ANY, 3, 0.0, 30.0),),
        ),
    ),
    Kept(
        "the reference took no notice of an epoch that a timer alone had opened",
        "epoch-time-ignored",
        replace(QUIET, application="stops among timers", untimed=True, live=True),
    ),
    Kept(
        "a stop at the first record of a turn forgot that the turn's timers had fired",
        "timers-fired-forgotten",
        replace(QUIET, application="stops among timers", seed=4),
    ),
]


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.bug)
def test_a_world_that_found_a_bug_keeps_the_promise_and_still_finds_it(kept: Kept) -> None:
    applications = catalogue(kept.options.application)

    assert Campaign(applications).run(kept.options).failure is None
    assert Campaign(applications, kept.bug).run(kept.options).failure is not None
