"""`holdfast status`: of clusters and single workers, running and not, and what is said where nothing is."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import TICKER, holdfast, last_line, running, wait_for, write, write_lines

CLUSTER = ("--workers", "2", "--backups", "1", "--data", "d")
SECRET = "s" * 32


def status(folder: Path, *arguments: str, secret: str = "") -> dict[str, Any]:
    done = holdfast(folder, "status", *arguments, "--json", HOLDFAST_SECRET=secret)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_running_cluster_says_who_holds_what_and_how_far_it_is(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py", *CLUSTER):
        wait_for(tmp_path / "ticks.txt", 20_000)
        found = status(tmp_path, "--data", "d")
        address = (tmp_path / "d" / "coordinator.address").read_text()
        asked = status(tmp_path, "--coordinator", address)
        text = holdfast(tmp_path, "status", "--data", "d").stdout

    assert (found["application"], found["running"], found["state"]) == ("ticker", True, "run")
    assert asked["generation"] == found["generation"]
    assert {own["name"] for own in found["workers"].values()} == {"worker-1", "worker-2"}
    assert sum(own["share"] for own in found["workers"].values()) == pytest.approx(1.0)
    for own in found["workers"].values():
        assert own["member"]
        assert own["alive"]
        assert own["observed"]["process"]["pid"]
    (source,), (sink,) = found["sources"], found["sinks"]
    assert source["node"] in found["workers"]
    assert sink["node"] in found["workers"]
    assert found["totals"]["records"] > 1_000
    assert found["sealed"] > 0
    assert found["recoveries"][0]["kind"] == "start"
    assert found["recoveries"][0]["ms"]["flowing"] is not None
    assert text.startswith("ticker: running\n")
    assert "worker-2" in text


def test_a_cluster_that_was_stopped_or_killed_says_what_its_directory_holds(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    for number in (signal.SIGINT, signal.SIGKILL):
        with running(tmp_path, "run", "app.py", *CLUSTER) as process:
            wait_for(tmp_path / "ticks.txt", 5_000)
            process.send_signal(number)
            process.wait(timeout=60)
        found = status(tmp_path, "--data", "d")

        assert (found["application"], found["running"]) == ("ticker", False)
        assert found["generation"]["number"] >= 1
        assert len(found["workers"]) == 2
        assert not any(own["alive"] for own in found["workers"].values())
        assert "nobody runs it" in holdfast(tmp_path, "status", "--data", "d").stdout


def test_a_single_worker_is_told_of_running_and_stopped(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py", "--data", "d") as process:
        wait_for(tmp_path / "ticks.txt", 1_000)
        found = status(tmp_path, "--data", "d")
        assert (found["application"], found["running"], found["pid"]) == ("ticker", True, process.pid)
        assert found["epochs_logged"] >= found["epochs_applied"] > 0
        text = holdfast(tmp_path, "status", "--data", "d").stdout
        assert text.startswith(f"ticker: one worker without a cluster, process {process.pid} runs it\n")
        assert "  since start " in text
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    found = status(tmp_path, "--data", "d")

    assert (found["application"], found["running"], found["clean"]) == ("ticker", False, True)
    assert found["checkpoint"]["epoch"] == found["epochs_logged"] > 0
    assert found["epochs_to_replay"] == 0
    assert "one worker without a cluster, nobody runs it" in holdfast(tmp_path, "status", "--data", "d").stdout


def test_what_is_no_data_directory_and_where_nobody_listens_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write_lines(tmp_path, 1)
    calls = {
        ("--data", "nowhere"): "there is no data directory at nowhere",
        ("--data", "."): "is not a data directory",
        ("--coordinator", "127.0.0.1:1"): "can't be reached",
        ("--coordinator", "here"): "is not an address",
        (): "say which cluster",
    }
    for arguments, text in calls.items():
        done = holdfast(tmp_path, "status", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert text in last_line(done.stderr)
        assert len(done.stderr.splitlines()) == 1


def test_without_the_secret_of_a_cluster_its_status_is_refused_and_the_error_says_so(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py", *CLUSTER, HOLDFAST_SECRET=SECRET) as process:
        wait_for(tmp_path / "ticks.txt", 1_000)
        assert status(tmp_path, "--data", "d", secret=SECRET)["running"]
        for other in ("", "x" * 32):
            done = holdfast(tmp_path, "status", "--data", "d", HOLDFAST_SECRET=other)
            assert done.returncode == 2
            assert "secret" in last_line(done.stderr)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "stopped; the next run goes on from here" in said
