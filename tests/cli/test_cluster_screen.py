"""The line that follows a cluster, and its summary, from statuses as the coordinator gives them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.cluster_screen import ClusterScreen, progress_text, summary_lines
from holdfast.cli.reports import Reports
from holdfast.cli.screen import CLEAR_LINE
from holdfast.runtime.coordinator_process import LAST_STATUS

TOTALS: dict[str, Any] = {
    "records": 3_000,
    "records_here": 1_000,
    "outputs": 2_000,
    "outputs_here": 900,
    "entities": 7,
    "skipped_here": {"count": 2},
    "replayed_here": 4,
    "lag": {"epochs_unsealed": 5},
}
STATUS: dict[str, Any] = {
    "application": "shop",
    "now": 20_000,
    "waiting": "",
    "workers_wanted": 3,
    "backups": 1,
    "generation": {"number": 4},
    "checkpoint": {"ended": True},
    "workers": {"a": {"member": True, "alive": True}, "b": {"member": True, "alive": False}},
    "recovery_counts": {"failure": 2},
    "recoveries": [
        {"kind": "failure", "detected": 10_000, "ms": {"flowing": 7_000}},
        {"kind": "failure", "detected": 18_000, "ms": {"flowing": 90}},
        {"kind": "failure", "detected": 18_500, "ms": {"flowing": 400}},
        {"kind": "planned", "detected": 19_000, "ms": {"flowing": 9_000}},
        {"kind": "failure", "detected": 19_500, "ms": {"flowing": None}},
    ],
    "totals": TOTALS,
}


def test_the_line_says_how_far_it_is_who_is_there_and_what_is_waited_for() -> None:
    assert progress_text("shop", STATUS, 123.4, 7.6) == (
        "shop: 1,000 records, 123/s, 900 outputs, 5 epochs unsealed, 1 of 3 workers, generation 4, 8 s"
    )
    waiting = STATUS | {"waiting": "waiting for node b", "generation": None}
    assert progress_text("shop", waiting, 0, 1).endswith("1 of 3 workers, 1 s - waiting for node b")


def test_programs_are_told_now_and_then_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = ClusterScreen("shop", tmp_path, Reports("json"))
    screen.progress(STATUS)
    assert capsys.readouterr().err == ""

    monkeypatch.setattr("holdfast.cli.cluster_screen.LOGGED_SECONDS", 0.0)
    screen.progress(STATUS)

    told = json.loads(capsys.readouterr().err)
    assert (told["event"], told["records"], told["skipped"]) == ("progress", 1_000, {"count": 2})
    assert told["lag"] == {"epochs_unsealed": 5}


def test_the_summary_tells_of_failures_how_long_outputs_paused() -> None:
    lines = summary_lines(STATUS, Path("d"), 2.0, stopped_by_error=False)

    assert lines[0] == "shop: finished, 2.00 s"
    assert "  recoveries  3   outputs flowed again after 400 ms, at worst 400" in lines
    assert "  skipped     2 at count" in lines
    assert summary_lines(STATUS, Path("d"), 2.0, stopped_by_error=True)[0].startswith("shop: stopped by an error")


def test_what_was_done_before_this_run_is_not_counted_as_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A coordinator that was killed and started again has counted only what it saw itself."""
    (tmp_path / "coordinator").mkdir()
    (tmp_path / LAST_STATUS).write_text(json.dumps(STATUS | {"totals": TOTALS | {"records": 500, "outputs": 400}}))
    screen = ClusterScreen("shop", tmp_path, Reports())
    (tmp_path / LAST_STATUS).write_text(json.dumps(STATUS))

    screen.summary(0)

    said = capsys.readouterr().err
    assert "records     2,500" in said
    assert "outputs     1,600" in said


def test_a_rate_is_taken_over_a_second_since_numbers_come_less_often_than_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.0, 0.25, 0.5, 1.0, 1.25])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    screen = ClusterScreen("shop", tmp_path, Reports())
    for records in (0, 0, 50, 100, 100):
        screen.progress(STATUS | {"totals": TOTALS | {"records": records}})

    lines = capsys.readouterr().err.split(CLEAR_LINE)[1:]
    assert [line.split(", ")[1] for line in lines] == ["0/s", "0/s", "0/s", "100/s", "100/s"]
