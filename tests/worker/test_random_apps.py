"""Random applications through the worker's machine, killed and with cruel limits, against the reference."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from holdfast import testing
from holdfast.core.errors import StoppedError
from holdfast.core.types import TypeRegistry
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver
from tests.zoo import identical, random_apps

SEEDS = 60
NIGHTLY_SEEDS = 3000


def check(seed: int) -> None:
    """One application, one set of limits, some kills."""
    random = Random(seed)
    case = random_apps.draw(random)
    expected: dict[str, list[Any]]
    stopped: str | None = None
    try:
        expected = testing.run(case.build(), case.inputs)
    except StoppedError as error:
        expected, stopped = error.outputs, error.step  # type: ignore[attr-defined]
    app = case.build()
    settings = Settings(
        checkpoint_ms=random.choice([10, 60, 1000]),
        epoch_bytes_min=random.choice([1, 100, 5000]),
        epoch_bytes_max=random.choice([100, 20000]),
        slice_records=random.choice([1, 7, 128]),
        rows_per_slice=random.choice([1, 5, 4000]),
        epochs_in_flight=random.choice([1, 3]),
        entities_in_memory=random.choice([None, None, 9, 200]),
    )
    if any(step.on_timer is not None for step in app.stateful_steps):
        settings = Settings(checkpoint_ms=settings.checkpoint_ms, slice_records=settings.slice_records)
    driver = Driver(app, TypeRegistry(), settings)
    driver.kills = [random.randrange(1, 60) for _ in range(random.randrange(5))]

    error, _ = driver.run()

    assert getattr(error, "step", None) == stopped
    names = [step.name for step in app.sinks]
    assert identical({name: driver.disk.outputs.get(i, []) for i, name in enumerate(names)}, expected)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_application_gives_the_reference_outputs(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(SEEDS, NIGHTLY_SEEDS))
def test_many_random_applications_give_the_reference_outputs(seed: int) -> None:
    check(seed)
