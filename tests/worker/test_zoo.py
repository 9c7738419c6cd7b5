"""The zoo through the worker's machine, over plain lists, with kind and with cruel limits."""

from __future__ import annotations

import pytest

from holdfast.worker.settings import Settings
from tests.worker.drive import run_case
from tests.zoo import Case, all_cases, identical

KIND = Settings()
CRUEL = Settings(
    checkpoint_ms=10,
    epoch_bytes_min=16,
    epoch_bytes_max=64,
    slice_records=1,
    rows_per_slice=1,
    replay_bytes=1,
)


@pytest.mark.parametrize("settings", [KIND, CRUEL], ids=["kind", "cruel"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_the_worker_gives_what_was_derived_by_hand(case: Case, settings: Settings) -> None:
    outputs, _, error = run_case(case.build(), settings)

    assert identical(outputs, {name: list(values) for name, values in case.expected.items()})
    assert getattr(error, "step", None) == case.stops
