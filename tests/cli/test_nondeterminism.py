"""A replay that contradicts what was delivered stops, names the step and the key, and says what to use instead.

`verify` finds the same without a crash: test_verify.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from chaos.cluster_kills import children
from tests.cli.command import COUNT, POLL_SECONDS, holdfast, last_line, running, write, write_lines

KILLS_MAX = 50
RESULTS = {
    "clock": "__import__('time').time_ns()",
    "chance": "__import__('random').random()",
    "uuid": "str(__import__('uuid').uuid4())",
    "address": "id(state)",
}
SECOND_INPUT = COUNT.replace('TextFile("input.txt")', 'TextFile("input.txt", time=lambda line: 0)')
# Ticks for ever; every output has something of the clock.
TICKER = """
import time

import holdfast as hf


def ticks():
    for tick in range(1_000_000):
        yield tick
        time.sleep(0.001)


def stamp(tick: int, seen: list[int]) -> str:
    return f"{tick} {time.time_ns()}"


app = hf.Application("ticker")
stamped = app.source(hf.sources.Generator(ticks)).key_by(lambda tick: tick % 5).stateful(stamp, state=list)
stamped.sink(hf.sinks.TextFile("ticks.txt"))
"""


@pytest.mark.parametrize("result", RESULTS)
def test_a_replay_names_step_and_key_of_what_contradicts_it(result: str, tmp_path: Path) -> None:
    write(tmp_path, COUNT.replace("return word, len(state)", f"return word, {RESULTS[result]}"))
    write_lines(tmp_path, 500)
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL="before-completion:1").returncode < 0
    before = (tmp_path / "output.jsonl").read_bytes()

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 3
    said = last_line(done.stderr)
    assert "what is generated differs from what was delivered" in said
    assert "step 'count', key 'line' gives different results for the same message 'line'" in said
    assert "ctx.time" in said
    assert (tmp_path / "output.jsonl").read_bytes() == before


def test_an_output_that_somebody_else_changed_is_not_blamed_on_a_function(tmp_path: Path) -> None:
    write(tmp_path, SECOND_INPUT)
    write_lines(tmp_path, 500)
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL="before-completion:1").returncode < 0
    output = tmp_path / "output.jsonl"
    output.write_bytes(output.read_bytes().replace(b'"line",2', b'"line",9'))

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 3
    assert "no function was found" in last_line(done.stderr)
    assert "was the output changed by somebody else?" in last_line(done.stderr)


def test_a_cluster_names_step_and_key_as_well(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    cluster = ("--workers", "2", "--backups", "1", "--data", "d")
    with running(tmp_path, "run", "app.py", *cluster) as process:
        for _ in range(KILLS_MAX):  # a kill after which nothing that was delivered is generated again shows nothing
            if not grows(tmp_path / "ticks.txt", process):
                break
            for pid in [pid for pid, role in children(process.pid) if role == "worker"][:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        _, text = process.communicate(timeout=60)

    assert process.returncode == 3
    said = [line for line in text.splitlines() if line.startswith("holdfast: error")]
    assert said
    for line in said:
        assert "what is generated differs from what was delivered; step 'stamp', key " in line
        assert "ctx.time" in line


def grows(path: Path, process: subprocess.Popen[str]) -> bool:
    """Wait until a file is longer by some outputs; False where the process ends before."""
    until = (path.stat().st_size if path.exists() else 0) + 5_000
    while process.poll() is None:
        if path.exists() and path.stat().st_size >= until:
            return True
        time.sleep(POLL_SECONDS)
    return False
