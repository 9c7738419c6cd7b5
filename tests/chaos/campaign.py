"""What the tests of the simulator share: the campaign, and one run of fresh seeds.

`HOLDFAST_FIRST_SEED` moves the fresh seeds, so that a nightly run need not repeat the one before.
"""

from __future__ import annotations

import functools
import os

from holdfast.chaos.campaign import Campaign, Kind, Report
from holdfast.chaos.catalogue import EVERYTHING, catalogue

FIRST_SEED = int(os.environ.get("HOLDFAST_FIRST_SEED", "0"))
FRESH_SEEDS = 100  # some fifteen seconds
FRESH_CLUSTER_SEEDS = 200  # some fifty seconds


@functools.cache
def campaign(mutant: str | None = None) -> Campaign:
    """All applications, with one bug planted or none."""
    return Campaign(catalogue(EVERYTHING), mutant)


@functools.cache
def fresh() -> Report:
    """The fresh seeds, run once for all tests that look at them."""
    return campaign().run_all(range(FIRST_SEED, FIRST_SEED + FRESH_SEEDS), failures_max=3)


@functools.cache
def cluster_campaign(mutant: str | None = None) -> Campaign:
    """The same with whole clusters."""
    return Campaign(catalogue(EVERYTHING), mutant, Kind.CLUSTER)


@functools.cache
def fresh_clusters() -> Report:
    """The fresh seeds of clusters, run once for all tests that look at them."""
    return cluster_campaign().run_all(range(FIRST_SEED, FIRST_SEED + FRESH_CLUSTER_SEEDS), failures_max=3)
