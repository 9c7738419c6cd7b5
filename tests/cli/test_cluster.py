"""What a user sees of a cluster on this machine: how it stops, and one clear line where it can't go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from chaos.cluster_kills import children
from holdfast.chaos.cluster_processes import look
from holdfast.runtime.supervisor import END_SECONDS
from tests.cli.command import COUNT, TICKER, append, counted, holdfast, running, wait_for, write, write_lines

CLUSTER = ("--workers", "2", "--backups", "1", "--data", "d")
FAILURE = '    if word == "bad":\n        raise ValueError("bad word")\n'
STRICT = COUNT.replace("    state.append(0)\n", f"{FAILURE}    state.append(0)\n")


def error_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("holdfast: error")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_cluster_cleanly_and_it_goes_on_afterwards(tmp_path: Path, number: int, code: int) -> None:
    write(tmp_path, TICKER)
    ticks = tmp_path / "ticks.txt"
    for size in (1_000, 3_000):
        with running(tmp_path, "run", "app.py", *CLUSTER) as process:
            wait_for(ticks, size)
            process.send_signal(number)
            process.communicate(timeout=60)
        assert process.returncode == code
    lines = ticks.read_text().splitlines()
    assert lines == [f"tick {n}" for n in range(len(lines))]


def test_a_second_signal_ends_a_cluster_at_once_although_its_coordinator_does_not_answer(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py", *CLUSTER) as process:
        wait_for(tmp_path / "ticks.txt")
        (coordinator,) = [pid for pid, role in children(process.pid) if role == "coordinator"]
        os.kill(coordinator, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "once more ends at once" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=5) == 130
        finally:
            with suppress(ProcessLookupError):
                os.kill(coordinator, signal.SIGKILL)  # stopped, it would keep the pipes of this test open for ever


def test_workers_that_have_not_joined_yet_do_not_hold_up_the_end(tmp_path: Path) -> None:
    waits = 'import sys, time\nif "worker" in sys.argv:\n    time.sleep(600)\n'
    write(tmp_path, f"{waits}{TICKER}")
    with running(tmp_path, "run", "app.py", *CLUSTER) as process:
        wait_for(tmp_path / "d" / "coordinator.address")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_SECONDS)

    assert process.returncode == 130


def test_a_failing_function_is_one_line_and_once_mended_everything_goes_on(tmp_path: Path) -> None:
    write(tmp_path, STRICT)
    write_lines(tmp_path, 30)
    append(tmp_path / "input.txt", "bad\n")
    write_lines(tmp_path, 30, start=30)

    stopped = holdfast(tmp_path, "run", "app.py", *CLUSTER)

    assert stopped.returncode == 3
    (line,) = error_lines(stopped.stderr)
    assert "step 'count' failed" in line
    assert "offset 30, key 'bad': ValueError: bad word" in line
    write(tmp_path)
    assert holdfast(tmp_path, "run", "app.py", *CLUSTER).returncode == 0
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


def test_a_missing_input_and_somebody_elses_output_are_one_line_each(tmp_path: Path) -> None:
    write(tmp_path)

    missing = holdfast(tmp_path, "run", "app.py", *CLUSTER)
    write_lines(tmp_path, 3)
    (tmp_path / "output.jsonl").write_text("mine\n")
    taken = holdfast(tmp_path, "run", "app.py", *CLUSTER)

    assert (missing.returncode, taken.returncode) == (2, 2)
    assert len(error_lines(missing.stderr)) == len(error_lines(taken.stderr)) == 1
    assert (tmp_path / "output.jsonl").read_text() == "mine\n"


def test_another_number_of_workers_goes_on_and_fresh_starts_anew(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 300)
    for workers in ("3", "1"):
        done = holdfast(tmp_path, "run", "app.py", "--workers", workers, "--data", "d")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)

    fresh = holdfast(tmp_path, "run", "app.py", "--workers", "2", "--data", "d", "--fresh")

    assert fresh.returncode == 0, fresh.stderr
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


def test_a_coordinator_that_is_killed_while_everything_ends_keeps_nobody_waiting(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 300)
    with running(tmp_path, "run", "app.py", *CLUSTER, stderr=subprocess.DEVNULL) as process:
        wait_for(tmp_path / "output.jsonl", len(counted(tmp_path)))
        while len(found := children(process.pid)) > 2:
            assert process.poll() is None
        for pid, role in found:
            if role == "coordinator":
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        assert process.wait(timeout=60) == 0
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


# A code that a worker ends with of itself as well, when it has said why.
POISON = COUNT.replace("    state.append(0)\n", '    if word == "poison":\n        os._exit(3)\n    state.append(0)\n')


def test_a_function_that_ends_the_process_is_given_up_after_some_starts_and_once_mended_everything_goes_on(
    tmp_path: Path,
) -> None:
    write(tmp_path, f"import os\n{POISON}")
    write_lines(tmp_path, 30)
    append(tmp_path / "input.txt", "poison\n")

    stopped = holdfast(tmp_path, "run", "app.py", *CLUSTER)

    assert stopped.returncode == 3
    (line,) = error_lines(stopped.stderr)
    assert "died (exit code 3)" in line
    assert "given up" in line
    assert len(stopped.stderr.splitlines()) < 8, stopped.stderr
    write(tmp_path)
    mended = holdfast(tmp_path, "run", "app.py", *CLUSTER, "--accept-code")
    assert mended.returncode == 0, mended.stderr
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


def test_a_worker_that_stands_still_does_not_outlive_the_command_that_started_it(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py", *CLUSTER) as process:
        wait_for(tmp_path / "ticks.txt")
        found = [pid for pid, _ in children(process.pid)]
        os.kill(found[-1], signal.SIGSTOP)
        process.kill()
        process.wait()
        try:
            assert all(ended(pid, seconds=5) for pid in found)
        finally:
            with suppress(ProcessLookupError):
                os.kill(found[-1], signal.SIGKILL)


def ended(pid: int, seconds: float) -> bool:
    """Whether a process that is nobody's child here ends in time."""
    until = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def is_alive(pid: int) -> bool:
    """A process that nobody has buried yet is none any more."""
    standing = look(pid)
    return standing is not None and standing.state != "Z"


def test_a_killed_worker_is_one_line_that_says_when_outputs_flowed_again(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py", *CLUSTER) as process:
        wait_for(tmp_path / "ticks.txt", 1_000)
        worker = next(pid for pid, role in children(process.pid) if role == "worker")
        os.kill(worker, signal.SIGKILL)
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = [line, *process.communicate(timeout=60)[1].splitlines()]

    assert "died (SIGKILL) and is started again; generation 2 after " in said[0]
    assert "outputs flow again after" in said[0]
    assert sum("SIGKILL" in line for line in said) == 1
    assert any(line.startswith("ticker: stopped; the next run goes on from here") for line in said)
    assert any(line.split()[:1] == ["recoveries"] for line in said), said
