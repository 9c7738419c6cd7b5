"""Planted bugs of a cluster are found; docs/simulator.md holds the table of all of them."""

from __future__ import annotations

import pytest

from holdfast.chaos.cluster_mutants import CLUSTER_MUTANTS
from holdfast.chaos.planting import planted
from holdfast.replication.progress import Progress
from holdfast.worker.holding import Holding
from holdfast.worker.member import Member
from tests.chaos.campaign import cluster_campaign
from tests.chaos.test_kept_clusters import KEPT
from tests.chaos.test_kept_rules import KEPT_RULES
from tests.chaos.test_unit_mutants import FOUND_BY

SEEDS = 60  # within which each of the fast ones is found
NIGHTLY_SEEDS = 3000

FAST = ("merge-by-arrival", "sealed-not-asked", "checkpoint-of-last-cut")


def found(name: str, seeds: int) -> str:
    """As what the bug is found."""
    failures = cluster_campaign(name).run_all(range(seeds)).failures
    assert failures, f"{name} survives {seeds} seeds"
    return next(iter(failures.values()))


@pytest.mark.parametrize("name", FAST)
def test_a_planted_bug_of_a_cluster_is_found_within_a_few_seeds(name: str) -> None:
    assert "mutants.py" not in found(name, SEEDS)  # that would be an error in the planted bug itself


ELSEWHERE = {kept.bug for kept in (*KEPT, *KEPT_RULES)} | set(FOUND_BY)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(set(CLUSTER_MUTANTS) - set(FAST) - ELSEWHERE))
def test_every_planted_bug_of_a_cluster_is_found(name: str) -> None:
    assert "mutants.py" not in found(name, NIGHTLY_SEEDS)


def test_what_a_planted_bug_of_a_cluster_replaces_is_there_and_comes_back() -> None:
    before = Member._fence, Holding.at, Progress.sealed, Progress.durable

    for mutant in CLUSTER_MUTANTS.values():
        with planted(mutant):
            pass
        assert (Member._fence, Holding.at, Progress.sealed, Progress.durable) == before
