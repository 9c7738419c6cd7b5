"""Whole clusters keep the promise, and the faults reach the situations that matter."""

from __future__ import annotations

import pytest

from holdfast.chaos.cluster_options import ClusterOptions
from holdfast.chaos.counters import ALL_CLUSTER_SITUATIONS
from tests.chaos.campaign import (
    FIRST_SEED,
    FRESH_CLUSTER_SEEDS,
    cluster_campaign,
    fresh_clusters,
)

NIGHTLY_SEEDS = 20_000
CHUNK = 2_000

# Too rare for the few seeds of an ordinary run; the nightly run demands them too.
RARE = {
    "damage found",
    "output lost behind a cut in memory",
    "output shortened by power loss",
    "promotion during recovery",
    "sync failed",
    "zombie in a change",
    "catch-up interrupted",
    "planned change interrupted",
    "return behind a sealed cut",
    "start with a prepared checkpoint that counts",
    "two recoveries chained",
}


def test_fresh_clusters_keep_the_promise() -> None:
    assert fresh_clusters().failures == {}
    assert fresh_clusters().seeds == FRESH_CLUSTER_SEEDS


@pytest.mark.parametrize("situation", sorted(set(ALL_CLUSTER_SITUATIONS) - RARE))
def test_the_fresh_clusters_meet_every_situation_that_is_not_rare(situation: str) -> None:
    assert fresh_clusters().counters[situation] > 0


@pytest.mark.nightly
@pytest.mark.parametrize("chunk", range(NIGHTLY_SEEDS // CHUNK))
def test_thousands_of_clusters_keep_the_promise(chunk: int) -> None:
    first = FIRST_SEED + FRESH_CLUSTER_SEEDS + chunk * CHUNK
    report = cluster_campaign().run_all(range(first, first + CHUNK), failures_max=3)

    assert report.failures == {}
    assert [situation for situation in ALL_CLUSTER_SITUATIONS if not report.counters[situation]] == []


def test_clusters_of_all_sizes_are_drawn() -> None:
    drawn = [cluster_campaign().options(seed) for seed in range(200)]
    options = [one for one in drawn if isinstance(one, ClusterOptions)]

    assert len(options) == len(drawn)
    assert {one.workers for one in options} == {1, 2, 3, 4, 5}
    assert {one.backups for one in options} == {0, 1, 2}
    assert {one.common.live for one in options} == {False, True}
