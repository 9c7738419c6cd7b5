"""Random applications through the worker's machine, with cruel limits and a cruel driver, against the reference.

The driver answers in any order, loses what was ordered when it kills, asks for a stop at any moment, starts again, and
turns the clock back. Outputs, the error and the entities must be the reference's; of live sources over the epoch table.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from holdfast.core.application import Application
from holdfast.core.reference import Reference, RunStoppedError
from holdfast.core.types import TypeRegistry
from holdfast.worker.effects import AppendLog
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver, Live, outputs_of
from tests.worker.stored import entities_of, entities_on_disk
from tests.zoo import identical, random_apps

SEEDS = 150
NIGHTLY_SEEDS = 6000
AT_ONCE = 50  # to a test: collecting thousands of tests takes longer than many of them


def draw_settings(random: Random) -> Settings:
    """Cruel limits, and kind ones now and then."""
    return Settings(
        checkpoint_ms=random.choice([1, 10, 60, 1000]),
        epoch_bytes_min=random.choice([1, 100, 5000]),
        epoch_bytes_max=random.choice([100, 20000]),
        slice_records=random.choice([1, 7, 128]),
        rows_per_slice=random.choice([1, 5, 4000]),
        epochs_in_flight=random.choice([1, 3]),
        undelivered_max=random.choice([0, 1, 16]),
        replay_bytes=random.choice([1, 1 << 20]),
        entities_in_memory=random.choice([None, None, 1, 9, 200]),
    )


def prepare(app: Application, *, strict: bool, live: tuple[bool, ...]) -> Application:
    """The same application, as this case wants it."""
    app.check()
    if strict:
        for step in app.steps:
            step.on_error = "stop"
    for step in app.sources:
        step.source.acknowledges = True  # the drivers look at what it is told
    for step, is_live in zip(app.sources, live, strict=False):
        if is_live:
            step.source = Live(step.source)
    return app


def check(seed: int) -> None:
    """One application, one set of limits, some kills and stops."""
    random = Random(seed)
    case = random_apps.draw(random)
    strict = random.random() < 0.3
    live = random.choice([(False, False), (False, False), (True, True), (True, False), (False, True)])
    app = prepare(case.build(), strict=strict, live=live)
    registry = TypeRegistry()
    driver = Driver(app, registry, draw_settings(random), random=random if random.random() < 0.8 else None)
    driver.kills = [random.randrange(1, 150) if random.random() < 0.7 else 10**6 for _ in range(random.randrange(6))]
    driver.stops = [random.randrange(1, 200) for _ in range(random.randrange(4))]

    error, ended = driver.run()

    reference = Reference(prepare(case.build(), strict=strict, live=live))
    stopped = None
    try:
        expected = reference.run(case.inputs, driver.disk.rows)
    except RunStoppedError as stop:
        expected, stopped = stop.outputs, str(stop)
    assert (None if error is None else str(error)) == stopped
    assert identical(outputs_of(driver), expected)
    if stopped is None:
        assert ended
        assert driver.told == {n: count for n, count in records_of(driver).items() if count or n in driver.told}
        assert entities_on_disk(driver.disk, registry) == entities_of(reference, app, registry)
        check_that_nothing_follows(driver)


def records_of(driver: Driver) -> dict[int, int]:
    """How many records were logged, by number of the partition."""
    counts = dict.fromkeys(range(len(driver.partitions())), 0)
    for row in driver.disk.rows:
        for partition, count, *_ in row.parts:
            counts[partition] += count
    return counts


def check_that_nothing_follows(driver: Driver) -> None:
    """An application that has ended ends again, and neither logs nor writes anything."""
    driver.kills = driver.stops = []
    before: dict[int, Any] = {sink: list(outputs) for sink, outputs in driver.disk.outputs.items()}
    assert driver.run() == (None, True)
    assert driver.disk.outputs == before or identical(driver.disk.outputs, before)
    assert not any(isinstance(order, AppendLog) for order in driver.orders)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_application_gives_the_reference_outputs(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("start", range(SEEDS, NIGHTLY_SEEDS, AT_ONCE))
def test_many_random_applications_give_the_reference_outputs(start: int) -> None:
    for seed in range(start, min(start + AT_ONCE, NIGHTLY_SEEDS)):
        check(seed)
