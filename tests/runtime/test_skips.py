"""What is told of skipped calls: the first of a step at once, then seldom, and with what it was."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import holdfast as hf
from holdfast.core.application import Application
from holdfast.core.failures import TIMER_ORIGIN, Failure, Origin, Skipped
from holdfast.runtime.notice import Notice
from holdfast.runtime.skips import QUIET_MS, Skips

FAILURE = Failure(Origin("orders", "a.jsonl", 3), "count", "'ann'", "ValueError: no", "7")


def build() -> Application:
    app = Application("skips", on_error="skip")
    app.source(hf.sources.Memory([1]), name="orders").map(abs).sink(hf.sinks.Memory())
    return app


def told(caplog: pytest.LogCaptureFixture) -> list[Notice]:
    notices: list[Any] = [getattr(record, "notice", None) for record in caplog.records]
    caplog.clear()
    return notices


def test_the_first_of_a_step_is_told_at_once_and_the_next_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    skips, skipped, steps = Skips(), Skipped(), build().steps

    for now in range(1_000, 1_000 + QUIET_MS, 500):
        skipped.note(0, FAILURE, is_kept=False)
        skipped.settle()
        skips.tell(now, steps, skipped)
    (first,) = told(caplog)
    skips.tell(1_000 + QUIET_MS, steps, skipped)
    (second,) = told(caplog)

    assert first == (
        "step 'orders' skipped a call, key 'ann': ValueError: no (source 'orders', partition 'a.jsonl', offset 3)"
    )
    assert (first.event, first.level) == ("skipped", "warning")
    assert (first.fields["key"], first.fields["skipped"]) == ("'ann'", 1)
    assert second.startswith("step 'orders' skipped a call (120 so far), key 'ann'")


def test_every_step_is_told_of_and_a_timer_has_no_record(caplog: pytest.LogCaptureFixture) -> None:
    skips, skipped = Skips(), Skipped()
    skipped.note(0, FAILURE, is_kept=False)
    skipped.note(1, Failure(TIMER_ORIGIN, "map", "", "KeyError: 1", ""), is_kept=False)
    skipped.settle()

    skips.tell(0, build().steps, skipped)

    assert [notice.fields["error"] for notice in told(caplog)] == ["ValueError: no", "KeyError: 1"]
    assert skipped.untold == {}


def test_what_is_done_again_or_kept_elsewhere_is_not_told() -> None:
    skipped = Skipped()
    skipped.note(0, FAILURE, is_kept=False)
    skipped.drop_slice()
    skipped.note(1, FAILURE, is_kept=True)
    skipped.settle()

    assert (skipped.untold, dict(skipped.counts)) == ({}, {1: 1})


def test_an_engine_tells_the_logger_of_its_user(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = Application("engine", on_error="skip")
    app.source(hf.sources.Send(), name="numbers").map(lambda number: 1 / number).reply()

    with caplog.at_level(logging.WARNING, "holdfast"), hf.Engine(app, data=tmp_path / "data") as engine:
        assert engine.ask("numbers", 2) == [0.5]
        assert engine.ask("numbers", 0) == engine.ask("numbers", 0) == []

    assert [record.getMessage() for record in caplog.records] == [
        "step 'map' skipped a call: ZeroDivisionError: division by zero (source 'numbers', partition '0', offset 1)"
    ]
