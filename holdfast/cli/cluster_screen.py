"""What `holdfast run --workers N` shows on stderr: a line that follows the cluster, and a summary at the end.

Not here: what is said when a process dies (runtime.deaths), and the table of `holdfast status` (status).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.cli.reports import Reports
from holdfast.cli.screen import CLEAR_LINE, LOGGED_SECONDS, records_text, row_text
from holdfast.runtime.coordinator_process import LAST_STATUS
from holdfast.runtime.notice import Notice

RATE_SECONDS = 1.0
CLEAR_SCREEN = "\x1b[H\x1b[2J"


class ClusterScreen:
    """One run of a cluster, as its user sees it."""

    def __init__(self, name: str, data: Path, reports: Reports) -> None:
        self.is_moving = sys.stderr.isatty() and reports.form == "people"
        self.tells = self.is_moving or reports.form != "people"  # about its progress
        self._name = name
        self._data = data
        self._reports = reports
        self._started = self._logged = time.monotonic()
        self._counted: tuple[float, int] | None = None  # when records were counted last, and how many
        self._rate = 0.0
        self._before = self._left_before()

    def report(self, line: str) -> None:
        """A line for people, in front of the one that follows the progress."""
        if self.is_moving:
            print(CLEAR_LINE, end="", file=sys.stderr)
        self._reports(line)

    def progress(self, status: Mapping[str, Any]) -> None:
        """Show how far the cluster is."""
        now = time.monotonic()
        rate = self._follow_rate(now, status["totals"]["records"])
        text = progress_text(self._name, status, rate, now - self._started)
        if self._reports.form != "people":
            if now - self._logged >= LOGGED_SECONDS:
                self._logged = now
                self._reports(progress_notice(text, status, rate))
            return
        print(f"{CLEAR_LINE}{text}", end="", file=sys.stderr, flush=True)

    def _follow_rate(self, now: float, records: int) -> float:
        """Records a second over the last second or more: workers tell their numbers less often than this is shown."""
        at, counted = self._counted or (now, records)
        if self._counted is None or now - at >= RATE_SECONDS:
            self._counted = (now, records)
            self._rate = max(0, records - counted) / (now - at) if now > at else 0.0
        return self._rate

    def summary(self, code: int) -> None:
        """Say what was done, as the coordinator left it; nothing where it could not."""
        if self.is_moving:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)
        try:
            last = json.loads((self._data / LAST_STATUS).read_text())
        except (OSError, ValueError):
            return
        if self._before is not None:
            for name in ("records", "outputs"):
                last["totals"][f"{name}_here"] = last["totals"][name] - self._before[name]
        lines = summary_lines(last, self._data, time.monotonic() - self._started, stopped_by_error=code != 0)
        done = Notice(lines[0], "summary", **last["totals"], recoveries=last["recovery_counts"]["failure"])
        self._reports.say_block(lines, done)

    def _left_before(self) -> Mapping[str, Any] | None:
        """How much was done before this run; None after one that was killed, and after one worker.

        The coordinator counts what it has seen itself, and may be killed and started again meanwhile.
        """
        if not (self._data / "coordinator").exists():
            return None if (self._data / "format").exists() else {"records": 0, "outputs": 0}
        try:
            totals: Mapping[str, Any] = json.loads((self._data / LAST_STATUS).read_text())["totals"]
        except (OSError, ValueError):
            return None
        return totals


def progress_notice(text: str, status: Mapping[str, Any], rate: float) -> Notice:
    """The line with its numbers, as one worker's (screen)."""
    totals = status["totals"]
    numbers = {"records": totals["records_here"], "records_per_second": round(rate), "outputs": totals["outputs_here"]}
    more = {"skipped": totals["skipped_here"], "entities": totals["entities"], "lag": totals["lag"]}
    return Notice(text, "progress", **numbers, **more, waiting=status["waiting"])


def progress_text(name: str, status: Mapping[str, Any], rate: float, seconds: float) -> str:
    """One line."""
    totals, generation = status["totals"], status["generation"]
    there = sum(bool(worker["member"] and worker["alive"]) for worker in status["workers"].values())
    parts = [
        f"{totals['records_here']:,} records, {rate:,.0f}/s",
        f"{totals['outputs_here']:,} outputs",
        f"{totals['lag']['epochs_unsealed']:,} epochs unsealed",
        f"{there} of {status['workers_wanted']} workers",
        *([f"generation {generation['number']}"] if generation is not None else []),
        f"{seconds:.0f} s",
    ]
    waiting = f" - {status['waiting']}" if status["waiting"] else ""
    return f"{name}: {', '.join(parts)}{waiting}"


def summary_lines(last: Mapping[str, Any], data: Path, seconds: float, *, stopped_by_error: bool) -> list[str]:
    """The summary of a run, one screen at most."""
    totals, generation, checkpoint = last["totals"], last["generation"], last["checkpoint"]
    ended = checkpoint is not None and checkpoint["ended"]
    state = "finished" if ended else "stopped; the next run goes on from here"
    if stopped_by_error:
        state = "stopped by an error"
    elif ended and not totals["records_here"]:
        state = "was finished before; nothing to do"
    since = last["now"] - 1000 * seconds  # recoveries of earlier runs are remembered, too …
    failures = [own for own in last["recoveries"] if own["kind"] == "failure" and own["detected"] >= since]
    count = max(last["recovery_counts"]["failure"], len(failures))  # … and counted by this life of the coordinator only
    flowing = sorted(own["ms"]["flowing"] for own in failures if own["ms"]["flowing"])
    pauses = f"   outputs flowed again after {flowing[len(flowing) // 2]} ms, at worst {flowing[-1]}" if flowing else ""
    rows = [
        ("records", records_text(totals["records_here"], seconds)),
        ("outputs", f"{totals['outputs_here']:,}"),
        *(("skipped", f"{count:,} at {step}") for step, count in totals["skipped_here"].items()),
        ("entities", f"{totals['entities']:,}"),
        ("workers", f"{last['workers_wanted']}, every entity on {last['backups'] + 1} of them"),
        ("generations", f"{generation['number'] if generation is not None else 0:,} so far"),
        *([("recoveries", f"{count:,}{pauses}")] if count else []),
        *([("replayed", f"{totals['replayed_here']:,} epochs")] if totals["replayed_here"] else []),
        ("data", str(data)),
    ]
    return [f"{last['application']}: {state}, {seconds:.2f} s", *(row_text(label, text) for label, text in rows)]
