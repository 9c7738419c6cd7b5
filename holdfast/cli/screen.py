"""What a run shows on stderr: a line that follows the progress on a terminal (or one in a while), and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.cli.reports import Reports
from holdfast.core.application import Application
from holdfast.runtime.engine_thread import EngineThread, Outcome
from holdfast.runtime.notice import Notice, stopping
from holdfast.worker.machine import Statistics

CLEAR_LINE = "\r\x1b[K"
LOGGED_SECONDS = 10.0  # between progress events, where programs read what is said


class Screen:
    """One run, as its user sees it."""

    def __init__(
        self, app: Application, data: Path, engine: EngineThread, notes: Sequence[str], reports: Reports
    ) -> None:
        self.follows = reports.form == "people" and sys.stderr.isatty()
        self.tells = self.follows or reports.form != "people"  # about its progress
        self._say = reports
        self._app = app
        self._data = data
        self._engine = engine
        self._started = time.monotonic()
        self._last = (self._started, 0)  # when records were counted last, and how many
        for note in notes:
            self._say(note)

    def report(self, line: str) -> None:
        """A line, in front of the one that follows the progress."""
        if self.follows:
            print(CLEAR_LINE, end="", file=sys.stderr)
        self._say(line)

    def progress(self) -> None:
        """Show how far the run is; called about once a second."""
        worker = self._engine.worker
        before, counted = self._last
        now = time.monotonic()
        if worker is None or (not self.follows and now - before < LOGGED_SECONDS):
            return
        done = worker.statistics
        records = done.records
        rate = max(0, records - counted) / max(now - before, 1e-9)
        self._last = (now, records)
        text = f"{self._app.name}: {records:,} records, {rate:,.0f}/s, {now - self._started:.0f} s"
        if self.follows:
            print(f"{CLEAR_LINE}{text}", end="", file=sys.stderr, flush=True)
        else:
            numbers = {"records": records, "records_per_second": round(rate), "outputs": done.outputs}
            more: dict[str, Any] = {"skipped": dict(done.skipped), "entities": done.entities, "epoch": done.epoch}
            self._say(Notice(text, "progress", **more | numbers))

    def stopping(self, number: int) -> None:
        """Say that the first signal was heard."""
        self._say(stopping(number))

    def summary(self) -> None:
        """Say what was done."""
        outcome = self._engine.outcome
        for note in outcome.notes:
            self._say(note)
        worker = self._engine.worker
        if worker is None:
            return
        if self.follows:
            print(CLEAR_LINE, end="", file=sys.stderr)
        done, state = worker.statistics, self._state()
        lines = summary_lines(self._app.name, self._data, done, outcome.seconds, state, outcome.lives)
        self._say.say_block(lines, Notice(lines[0], "summary", data=str(self._data), **_facts(done, outcome)))

    def _state(self) -> str:
        outcome = self._engine.outcome
        if outcome.finished_before:
            return "was finished before; nothing to do"
        if outcome.error is not None:
            return "stopped by an error"
        return "finished" if outcome.ended else "stopped; the next run goes on from here"


def _facts(done: Statistics, outcome: Outcome) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "seconds": round(outcome.seconds, 3),
        "records": done.records,
        "outputs": done.outputs,
        "skipped": dict(done.skipped),
        "entities": done.entities,
        "epochs": done.epochs,
        "checkpoints": done.checkpoints,
        "resumed_from": done.resumed_from,
        "replayed": done.replayed,
        "lives": outcome.lives,
    }


def summary_lines(name: str, data: Path, done: Statistics, seconds: float, state: str, lives: int) -> list[str]:
    """Return the summary of a run, one screen at most."""
    rows = [
        ("records", records_text(done.records, seconds)),
        ("outputs", f"{done.outputs:,}"),
        *(("skipped", f"{count:,} at {step}") for step, count in done.skipped.items()),
        ("entities", f"{done.entities:,}"),
        ("epochs", f"{done.epochs:,}"),
        ("checkpoints", f"{done.checkpoints:,}"),
        ("resumed", f"after epoch {done.resumed_from:,}, {done.replayed:,} epochs replayed")
        if done.resumed_from or done.replayed
        else ("resumed", "no, from the start"),
        *([("went back", f"{lives - 1:,} times, to do again what a failed call had touched")] if lives > 1 else []),
        ("data", str(data)),
    ]
    return [f"{name}: {state}, {seconds:.2f} s", *(row_text(label, text) for label, text in rows)]


def records_text(records: int, seconds: float) -> str:
    """How many, and how fast."""
    return f"{records:,}   {records / seconds:,.0f}/s" if seconds > 0 and records else f"{records:,}"


def row_text(label: str, text: str) -> str:
    """One row of a summary."""
    return f"  {label:<12}{text}"
