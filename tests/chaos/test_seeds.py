"""Worlds without planted bugs keep the promise, and between them they meet every rare situation.

A seed that fails is shown by `python -m holdfast.chaos.simulator --seeds N`.
"""

from __future__ import annotations

import pytest

from holdfast.chaos.counters import SITUATIONS
from tests.chaos.campaign import FIRST_SEED, FRESH_SEEDS, campaign, fresh

NIGHTLY_SEEDS = 10_000
CHUNK = 2_000

# Too rare for the few seeds of an ordinary run; the nightly run demands them too.
RARE = {
    "several epochs in one commit",
    "return with a place to stop",
    "torn tail overwritten",
    "output shortened by power loss",
    "kill in the middle of a commit",
    "clock set back",
}


def test_fresh_seeds_keep_the_promise() -> None:
    assert fresh().failures == {}
    assert fresh().seeds == FRESH_SEEDS


@pytest.mark.parametrize("situation", sorted(set(SITUATIONS) - RARE))
def test_the_fresh_seeds_meet_every_situation_that_is_not_rare(situation: str) -> None:
    assert fresh().counters[situation] > 0


@pytest.mark.nightly
@pytest.mark.parametrize("chunk", range(NIGHTLY_SEEDS // CHUNK))
def test_thousands_of_seeds_keep_the_promise(chunk: int) -> None:
    first = FIRST_SEED + FRESH_SEEDS + chunk * CHUNK
    report = campaign().run_all(range(first, first + CHUNK), failures_max=3)

    assert report.failures == {}
    assert report.counters.missing() == []
