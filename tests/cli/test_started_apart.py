"""A coordinator and workers that were started apart from one another, as on several machines: how each of them ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.command import TICKER, running, wait_for, write

SECONDS_MAX = 60
COORDINATOR = ("coordinator", "app.py", "--data", "c", "--listen", "127.0.0.1:0", "--workers", "2", "--backups", "1")

Processes = list["subprocess.Popen[str]"]


@contextmanager
def a_cluster(folder: Path) -> Iterator[Processes]:
    """A coordinator and two workers that are at work."""
    write(folder, TICKER)
    (folder / "c" / "coordinator.address").unlink(missing_ok=True)
    with ExitStack() as stack:
        processes = [stack.enter_context(running(folder, *COORDINATOR))]
        wait_for(folder / "c" / "coordinator.address")
        address = (folder / "c" / "coordinator.address").read_text()
        for name in ("w1", "w2"):
            worker = running(folder, "worker", "app.py", "--join", address, "--data", name)
            processes.append(stack.enter_context(worker))
        wait_for(folder / "ticks.txt", 2_000)
        yield processes


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=SECONDS_MAX)
    return process.returncode, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_coordinator_ends_the_whole_cluster_cleanly(tmp_path: Path, number: int, code: int) -> None:
    ticks = tmp_path / "ticks.txt"
    for turn in (1, 2):
        with a_cluster(tmp_path) as (coordinator, *workers):
            wait_for(ticks, turn * 5_000)
            coordinator.send_signal(number)
            ended, said = ends(coordinator)
            assert (ended, "the cluster ends cleanly" in said, "Traceback" in said) == (code, True, False)
            assert [ends(worker)[0] for worker in workers] == [0, 0]
    lines = ticks.read_text().splitlines()
    assert lines == [f"tick {n}" for n in range(len(lines))]


def test_a_second_signal_ends_a_coordinator_that_waits_for_its_workers(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as (coordinator, *workers):
        for worker in workers:
            worker.send_signal(signal.SIGSTOP)
        coordinator.send_signal(signal.SIGINT)
        assert coordinator.stderr is not None
        while "the cluster ends cleanly" not in coordinator.stderr.readline():
            pass
        coordinator.send_signal(signal.SIGINT)
        assert coordinator.wait(timeout=SECONDS_MAX) == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_one_worker_at_once_and_the_other_goes_on(tmp_path: Path, number: int, code: int) -> None:
    ticks = tmp_path / "ticks.txt"
    with a_cluster(tmp_path) as (coordinator, worker, other):
        worker.send_signal(number)
        ended, said = ends(worker)
        assert (ended, "Traceback" in said) == (code, False)
        wait_for(ticks, ticks.stat().st_size + 5_000)
        coordinator.send_signal(signal.SIGINT)
        assert [ends(process)[0] for process in (coordinator, other)] == [130, 0]
    lines = ticks.read_text().splitlines()
    assert lines == [f"tick {n}" for n in range(len(lines))]


def test_a_coordinator_that_nobody_has_joined_ends_at_a_signal(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, *COORDINATOR) as coordinator:
        wait_for(tmp_path / "c" / "coordinator.address")
        coordinator.send_signal(signal.SIGINT)
        code, said = ends(coordinator)
    assert (code, "Traceback" in said) == (130, False)
