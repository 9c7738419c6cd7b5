"""Whole clusters of one to four members over the driver, with faults drawn by seeds.

Against hand-derived outputs and the reference; `cluster_trial` says what befalls them and what must be true at the end.
"""

from __future__ import annotations

from random import Random

import pytest

from holdfast.core.reference import Reference
from tests.worker.cluster_trial import Trial, judge
from tests.worker.test_random_apps import prepare
from tests.zoo import Case, all_cases, identical, random_apps

SEEDS = 30
NIGHTLY_SEEDS = 4000
AT_ONCE = 50  # to a test: collecting thousands of tests takes longer than many of them
ROUNDS_OF_ZOO = 20
CASES = all_cases()


def check_case(case: Case, seed: int, *, faults: bool) -> None:
    """One animal."""
    random = Random(seed)
    app = case.build()
    app.check()
    trial = Trial(app, random, nodes=random.randint(1, 4), backups=random.randint(0, 2), faults=faults)

    error = trial.run()

    assert (error is None) == (case.stops is None), error
    assert identical(trial.outputs(), {name: list(values) for name, values in case.expected.items()})


def check_random_app(seed: int) -> None:
    """One drawn application."""
    random = Random(seed)
    case = random_apps.draw(random)
    strict = random.random() < 0.3
    live = random.choice([(False, False), (False, False), (True, True), (True, False), (False, True)])
    app = prepare(case.build(), strict=strict, live=live)
    trial = Trial(app, random, nodes=random.randint(1, 4), backups=random.choice([0, 1, 1, 2]))

    error = trial.run()

    judge(trial, error, Reference(prepare(case.build(), strict=strict, live=live)), case.inputs)
    if error is None:
        logged: dict[int, int] = {}
        for row in trial.cluster.epoch_table():
            for partition, count, *_ in row.parts:
                logged[partition] = logged.get(partition, 0) + count
        told = trial.cluster.told
        assert {p: told.get(p, 0) for p in logged} == logged, "in the end a source is told of all that it gave"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_cluster_gives_what_was_derived_by_hand(case: Case) -> None:
    check_case(case, 1, faults=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_cluster_that_is_beset_gives_what_was_derived_by_hand(case: Case) -> None:
    check_case(case, 2, faults=True)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_cluster_that_is_beset_gives_the_reference_outputs(seed: int) -> None:
    check_random_app(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_zoo_survives_many_fates(case: Case) -> None:
    for seed in range(3, 3 + ROUNDS_OF_ZOO):
        check_case(case, seed, faults=True)


@pytest.mark.nightly
@pytest.mark.parametrize("start", range(SEEDS, NIGHTLY_SEEDS, AT_ONCE))
def test_many_clusters_give_the_reference_outputs(start: int) -> None:
    for seed in range(start, min(start + AT_ONCE, NIGHTLY_SEEDS)):
        check_random_app(seed)
