"""The zoo through the real thing: engine thread, LMDB stores, connectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.runtime.engine_thread import Options
from holdfast.worker.settings import Settings
from tests.runtime.engine import outputs, run
from tests.zoo import Case, all_cases, identical

SMALL = Settings(checkpoint_ms=1, epoch_bytes_min=16, epoch_bytes_max=64, slice_records=1, rows_per_slice=1)
TINY = replace(SMALL, entities_in_memory=1)


@pytest.mark.parametrize("settings", [Settings(), SMALL, TINY], ids=["ordinary", "small", "tiny"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_the_engine_gives_what_was_derived_by_hand(case: Case, settings: Settings, tmp_path: Path) -> None:
    app = case.build()

    outcome = run(app, tmp_path, Options(tmp_path / "data", settings=settings))

    expected = {name: list(values) for name, values in case.expected.items()}
    assert identical(outputs(app), expected)
    assert getattr(outcome.error, "step", None) == case.stops
    if case.stops is None:
        assert outcome.error is None
        assert outcome.ended


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_a_second_run_of_what_has_finished_adds_nothing(case: Case, tmp_path: Path) -> None:
    app = case.build()
    run(app, tmp_path / "data")
    before = {name: list(values) for name, values in outputs(app).items()}

    outcome = run(app, tmp_path / "data")

    assert identical(outputs(app), before)
    assert outcome.finished_before or case.stops is not None
