"""`holdfast run`: to the end, again, with signals, and from other commands than `holdfast`."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast import testing
from tests.cli.command import (
    COUNT,
    TICKER,
    counted,
    environment,
    holdfast,
    last_line,
    running,
    wait_for,
    write,
    write_lines,
)

STDOUT = COUNT.replace('.sink(hf.sinks.JsonLines("output.jsonl"))', ".map(str).sink(hf.sinks.Stdout())")


def test_a_run_writes_every_output_and_says_what_it_did(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 500)

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)
    assert done.stdout == ""
    assert "count: finished" in done.stderr
    for label in ("records     500", "outputs     3,000", "entities", "epochs", "checkpoints", "data"):
        assert label in done.stderr
    assert len(done.stderr.splitlines()) < 24


def test_a_second_run_of_what_has_finished_does_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 50)
    holdfast(tmp_path, "run", "app.py")
    before = (tmp_path / "output.jsonl").stat()

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert (tmp_path / "output.jsonl").stat() == before


@pytest.mark.parametrize("point", ["after-sync-before-apply:1", "in-sink-write:1", "before-completion:1"])
def test_a_killed_run_goes_on_where_it_was(point: str, tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 500)
    killed = holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL=point)

    done = holdfast(tmp_path, "run", "app.py")

    assert killed.returncode == -signal.SIGKILL
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_cleanly_and_the_next_goes_on(number: signal.Signals, code: int, tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    output = tmp_path / "ticks.txt"
    lines = 0
    for _ in range(2):
        with running(tmp_path, "run", "app.py") as process:
            wait_for(output, output.stat().st_size + 100 if output.exists() else 100)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
        assert process.returncode == code, said
        assert f"{number.name}: ending cleanly" in said
        assert "stopped; the next run goes on from here" in said
        text = output.read_text()
        assert text.count("\n") > lines
        lines = text.count("\n")
    assert text == "".join(f"tick {tick}\n" for tick in range(lines))
    report = json.loads(holdfast(tmp_path, "inspect", "holdfast-data/ticker", "--json").stdout)
    assert [(part["records"], part["held"]) for part in report["partitions"]] == [(lines, 0)]


def test_a_second_signal_ends_a_run_at_once(tmp_path: Path) -> None:
    write(tmp_path, COUNT.replace("    state.append(0)\n", "    state.append(0)\n    __import__('time').sleep(0.2)\n"))
    write_lines(tmp_path, 5000)
    with running(tmp_path, "run", "app.py") as process:
        wait_for(tmp_path / "output.jsonl", 0)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "ending cleanly" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130


def test_an_application_is_its_own_command_and_keeps_its_process_id(tmp_path: Path) -> None:
    telling = 'if __name__ == "__main__":\n    import os, sys\n    print(os.getpid(), hash("x"), file=sys.stderr)\n'
    write(tmp_path, COUNT.replace('if __name__ == "__main__":\n', telling))
    write_lines(tmp_path, 50)

    done = [holdfast(tmp_path, "run", "--fresh", program=("app.py",)) for _ in range(2)]

    assert [run.returncode for run in done] == [0, 0]
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)
    for run in done:
        before, after = (line.split() for line in run.stderr.splitlines()[:2])
        assert before[0] == after[0]
        assert before[1] != after[1]
    assert done[0].stderr.splitlines()[1].split()[1] == done[1].stderr.splitlines()[1].split()[1]


def test_stdout_carries_outputs_only(tmp_path: Path) -> None:
    write(tmp_path, STDOUT)
    write_lines(tmp_path, 50)

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 300
    assert done.stdout.startswith("('line', 1)\n('0', 1)\n")


def test_a_reader_of_stdout_that_goes_away_ends_the_run_with_one_line(tmp_path: Path) -> None:
    write(tmp_path, STDOUT)
    write_lines(tmp_path, 5000)
    with running(tmp_path, "run", "app.py") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()
        assert process.wait(timeout=30) == 3
        process.stdout = process.stderr = None
    assert last_line(said) == "holdfast: error: standard output can't be written: Broken pipe"


def test_a_generator_that_fails_ends_the_run_cleanly(tmp_path: Path) -> None:
    write(tmp_path, TICKER.replace("        time.sleep(0.001)", "        if tick == 30: raise OSError('line is dead')"))

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 3
    assert "line is dead" in last_line(done.stderr)
    assert (tmp_path / "ticks.txt").read_text().splitlines() == [f"tick {tick}" for tick in range(31)]


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    ours, theirs = os.openpty()
    try:
        with running(tmp_path, "run", "app.py", stderr=theirs) as process:
            shown = ""
            while "records" not in shown:
                assert select.select([ours], [], [], 20)[0], "nothing is shown"
                shown += os.read(ours, 1000).decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.search(r"\r\x1b\[Kticker: [0-9,]+ records, [0-9,]+/s, \d+ s", shown)


def test_either_command_goes_on_where_the_other_was_killed(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 500)
    kill = "between-apply-and-delivery:1"
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL=kill).returncode < 0
    assert holdfast(tmp_path, "run", program=("app.py",), HOLDFAST_KILL=f"{kill}:replay").returncode < 0

    done = holdfast(tmp_path, "run", "app:app")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


def test_an_idle_run_needs_next_to_no_time(tmp_path: Path) -> None:
    write(tmp_path, TICKER.replace("        time.sleep(0.001)", "        time.sleep(3600)"))
    with running(tmp_path, "run", "app.py") as process:
        wait_for(tmp_path / "ticks.txt")
        busy_until_quiet(process.pid)


def test_a_start_with_one_worker_loads_no_cluster_and_its_command_line_once(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 3)

    done = holdfast(tmp_path, "run", "app.py", program=("-X", "importtime", "-m", "holdfast"))

    loaded = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert done.returncode == 0
    assert loaded.count("holdfast.cli.interpreter") == 2  # before and after the process began anew
    assert loaded.count("holdfast.cli.options") == loaded.count("holdfast.worker.machine") == 1
    assert not {"trio", "holdfast.worker.member", "holdfast.recovery.messages", "holdfast.cli.cluster"} & set(loaded)


def busy_until_quiet(pid: int) -> None:
    """Wait for half a second in which a process uses at most 1 % of a core."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        before = cpu_ticks(pid)
        time.sleep(0.5)
        if cpu_ticks(pid) == before:
            return
    pytest.fail(f"process {pid} is busy although it has nothing to do, on {sys.platform}")


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


STOPS = """
import holdfast as hf

BAD = {bad}


def when(line: str) -> int:
    return int(line.split()[0])


def by_number(line: str) -> int:
    return int(line.split()[1]) % 7


def put(line: str, seen: list, ctx: hf.Context) -> str:
    number = int(line.split()[1])
    if number >= BAD:
        raise ValueError("bad")
    seen.append(number)
    ctx.set_timer(ctx.time + 1500)
    return f"{{ctx.time}} {{line}} {{len(seen)}}"


def ring(name: str, seen: list, ctx: hf.Context) -> str:
    return f"ring {{ctx.key}} {{ctx.time}} {{len(seen)}}"


app = hf.Application("stops")
lines = app.source(hf.sources.TextFile("input.txt", time=when), name="lines")
lines.key_by(by_number).stateful(put, state=list, on_timer=ring).sink(hf.sinks.TextFile("output.txt"), name="out")
"""


def test_a_stop_within_an_epoch_of_several_rounds_keeps_the_time_before_it(tmp_path: Path) -> None:
    given = [f"{number * 10} {number}" for number in range(6000)]
    (tmp_path / "input.txt").write_text("\n".join(given))
    for bad, code in ((1900, 3), (3333, 3), (5000, 3), (10**9, 0)):
        write(tmp_path, STOPS.format(bad=bad))
        assert holdfast(tmp_path, "run", "app.py").returncode == code

    found: dict[str, Any] = {}
    exec(STOPS.format(bad=10**9), found)
    expected = testing.run(found["app"], {"lines": [testing.At(int(line.split()[0]), line) for line in given]})
    assert (tmp_path / "output.txt").read_text().splitlines() == expected["out"]


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2>&- >&-"])
def test_a_run_that_can_say_nothing_does_its_work(where: str, tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 50)

    command = ["sh", "-c", f"exec {sys.executable} app.py run {where}"]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment())

    assert done.returncode == 0
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)
