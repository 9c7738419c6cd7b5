"""What is said on stderr: for people as ever, with `--log` one line an event, from every process of a cluster."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import holdfast as hf
from chaos.cluster_kills import children
from holdfast.cli.main import main
from holdfast.cli.reports import Form, Reports
from holdfast.cli.screen import Screen
from holdfast.core.errors import StoppedError
from holdfast.runtime.engine_thread import Options
from holdfast.runtime.main_task import MainTask
from holdfast.runtime.notice import Notice
from tests.cli.command import COUNT, TICKER, append, holdfast, running, wait_for, write, write_lines

FAILING = COUNT.replace("    state.append(0)\n", '    if word == "bad":\n        raise ValueError("a\\nb")\n')
STOPPED = StoppedError(
    source="orders", partition="a.jsonl", offset=3, step="count", key="'x'", error="ValueError: a\nb", message="'m'"
)


def events(text: str) -> list[dict[str, Any]]:
    """Every line of stderr, which must all be JSON with what each line has."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert {"time", "level", "event", "message"} <= set(line)
        assert datetime.fromisoformat(line["time"]).tzinfo == UTC
        assert line["level"] in ("info", "warning", "error")
    return lines


def said(form: Form, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    reports = Reports(form)
    reports.introduce("shop", "worker-1")
    reports(line)
    return capsys.readouterr().err


def test_people_read_the_line_and_programs_what_it_is_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    notice = Notice("node n2 is slow", "slow", level="warning", node="n2", why="it is so")

    assert said("people", notice, capsys) == "holdfast: worker-1: node n2 is slow\n"
    told = json.loads(said("json", notice, capsys))
    del told["time"]
    assert told == {
        "level": "warning",
        "event": "slow",
        "application": "shop",
        "member": "worker-1",
        "message": "node n2 is slow",
        "node": "n2",
        "why": "it is so",
    }
    text = said("text", notice, capsys)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING slow application=shop member=worker-1 node=n2 "
        r'why="it is so" node n2 is slow\n',
        text,
    )


@pytest.mark.parametrize("form", ["people", "text", "json"])
def test_what_is_said_stays_on_its_line(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(form, "one\ntwo\r\nthree", capsys).count("\n") == 1
    assert said(form, Notice("x", "y", given="a\nb"), capsys).count("\n") == 1
    Reports(form).fail(STOPPED, 3, debug=False)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_failed_call_is_told_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    Reports("json").fail(STOPPED, 3, debug=False)

    (line,) = events(capsys.readouterr().err)
    assert (line["level"], line["event"], line["error"], line["exit_code"]) == ("error", "failed", "StoppedError", 3)
    assert (line["source"], line["partition"], line["offset"], line["step"]) == ("orders", "a.jsonl", 3, "count")


def test_a_wrong_call_is_an_event_too(capsys: pytest.CaptureFixture[str]) -> None:
    for log in (["--log", "json"], ["--log=json"]):
        assert main(["run", "app.py", "--frehs", *log]) == 2
        (line,) = events(capsys.readouterr().err)
        assert line["exit_code"] == 2


def test_a_run_tells_its_summary_in_numbers(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 100)

    done = holdfast(tmp_path, "run", "app.py", "--log", "json")

    (line,) = events(done.stderr)
    assert (line["event"], line["application"], line["records"]) == ("summary", "count", 100)


def test_a_failing_function_is_one_event_with_its_place_and_perhaps_its_traceback(tmp_path: Path) -> None:
    write(tmp_path, FAILING)
    append(tmp_path / "input.txt", "good bad\n")

    done = holdfast(tmp_path, "run", "app.py", "--log", "json", "--debug")

    line = events(done.stderr)[-1]
    assert (line["event"], line["step"], line["key"], line["exit_code"]) == ("failed", "count", "'bad'", 3)
    assert "StoppedError" in line["traceback"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_skipped_call_is_one_event_with_its_place(workers: str, tmp_path: Path) -> None:
    write(tmp_path, FAILING.replace('Application("count"', 'Application("count", on_error="skip"'))
    append(tmp_path / "input.txt", "good bad\nbad\n")

    done = holdfast(tmp_path, "run", "app.py", "--log", "json", "--workers", workers)

    (line,) = [line for line in events(done.stderr) if line["event"] == "skipped"]
    assert (line["level"], line["step"], line["key"], line["offset"]) == ("warning", "count", "'bad'", 0)


def test_a_run_that_programs_follow_tells_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.cli.screen.LOGGED_SECONDS", 0.0)
    app = hf.Application("numbers")
    app.source(hf.sources.Memory([1, 2])).sink(hf.sinks.Memory())
    task = MainTask(app, Options(tmp_path / "data"))
    screen = Screen(app, tmp_path / "data", task.engine, [], Reports("json"))
    screen.progress()  # before there is anything to tell
    task.run(lambda number: None, None)

    assert screen.tells
    screen.progress()

    (line,) = events(capsys.readouterr().err)
    assert (line["event"], line["records"], line["outputs"], line["epoch"]) == ("progress", 2, 2, 1)


def test_every_process_of_a_cluster_says_who_it_is(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    cluster = ("--workers", "2", "--backups", "1", "--data", "d", "--log", "json")
    with running(tmp_path, "run", "app.py", *cluster) as process:
        wait_for(tmp_path / "ticks.txt")
        victim = next(pid for pid, role in children(process.pid) if role == "worker")
        os.kill(victim, signal.SIGKILL)
        wait_for(tmp_path / "ticks.txt", (tmp_path / "ticks.txt").stat().st_size + 5_000)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)

    assert process.returncode == 130
    found = events(text)
    assert {line["application"] for line in found} == {"ticker"}
    by_event = {line["event"]: line for line in found}
    assert by_event["restarted"]["member"] == "supervisor"
    assert by_event["restarted"]["ends"] == ["SIGKILL"]
    assert by_event["listening"]["member"] == by_event["worker-lost"]["member"] == "coordinator"
    assert by_event["stopping"]["signal"] == "SIGINT"
    assert {line["member"] for line in found if line["event"] == "link-lost"} <= {"worker-1", "worker-2"}


def test_a_skip_before_a_stop_is_counted_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import holdfast as hf

app = hf.Application("counts")
lines = app.source(hf.sources.TextFile("input.txt")).map(lambda m: 1 / 0 if m == "skip" else m, on_error="skip")
lines.map(lambda m: 1 / 0 if m == "stop" else m).sink(hf.sinks.TextFile("output.txt"))
""",
    )
    (tmp_path / "input.txt").write_text("a\nskip\nb\nstop\n")

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 3
    assert [line.split()[:2] for line in done.stderr.splitlines() if line.startswith("  skipped")] == [["skipped", "1"]]
