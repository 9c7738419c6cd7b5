"""A seed is all that a world depends on; what fails is shown again, with fewer faults."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from holdfast.chaos.simulator import main, parse_seeds
from tests.chaos.campaign import campaign
from tests.repository import ROOT

DIGESTS = """
import sys
from holdfast.chaos.catalogue import EVERYTHING, catalogue
from holdfast.chaos.campaign import Campaign, Kind
campaign = Campaign(catalogue(EVERYTHING), kind=Kind.MIXED)
for seed in range(int(sys.argv[1])):
    print(seed, campaign.run(campaign.options(seed)).digest)
"""
SEEDS = 12  # a quarter of them of one worker, the others of clusters
MUTANT = "sink-number-lost"  # found by a restart only, so that faults matter


def digests(hash_seed: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", DIGESTS, str(SEEDS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout


def test_a_seed_gives_the_same_trace_in_another_process_with_another_hash_seed() -> None:
    first = digests("1")

    assert first.count("\n") == SEEDS
    assert digests("2") == first


def test_another_seed_gives_another_trace() -> None:
    assert campaign().run(campaign().options(1)).digest != campaign().run(campaign().options(2)).digest


def failing_seed() -> int:
    (seed,) = campaign(MUTANT).run_all(range(100)).failures
    return seed


def test_a_failing_world_shrinks_to_fewer_faults_and_still_fails() -> None:
    mutated = campaign(MUTANT)
    options = mutated.options(failing_seed())
    outcome = mutated.run(options)
    kept = mutated.shrink(options, outcome)

    assert len(kept) <= len(outcome.struck)
    assert set(kept) <= set(outcome.struck)
    assert mutated.run(mutated.options(options.seed, kept)).failure is not None
    for fault in kept:
        fewer = [number for number in kept if number != fault]
        assert mutated.run(mutated.options(options.seed, fewer)).failure is None


def test_a_failing_campaign_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    seed = failing_seed()

    assert main(["--seeds", f"{seed}..{seed + 1}", "--mutant", MUTANT]) == 1
    told = capsys.readouterr().out
    assert f"seed {seed} fails: " in told
    assert "latencies" in told
    assert "event Started" in told
    again = next(line for line in told.splitlines() if line.startswith("again: "))
    assert main(again.split()[4:]) == 1
    assert capsys.readouterr().out.rstrip().splitlines()[-1] in told


def test_a_clean_seed_is_identical_and_tells_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--app", "late failures"]) == 0

    *_, digest, verdict = capsys.readouterr().out.splitlines()
    assert digest.startswith("digest ")
    assert verdict == "IDENTICAL"


def test_an_unknown_application_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--app", "no such thing"]) == 2
    assert "no application 'no such thing'" in capsys.readouterr().err


def test_seeds_are_numbers_and_ranges() -> None:
    assert parse_seeds("7") == [7]
    assert parse_seeds("1,5,8..10") == [1, 5, 8, 9, 10]
