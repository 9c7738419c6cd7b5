"""`holdfast query`: states of a running cluster, and of what stopped runs have left."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import COUNT, append, holdfast, last_line, running, wait_for, write

CLUSTER = ("--workers", "2", "--backups", "1")
# A live application, whose states are of a class of its own, by keys of several types.
TALLY = """
import time
from collections import Counter
from dataclasses import dataclass, field

import holdfast as hf


@dataclass
class Tally:
    count: int = 0
    seen: Counter[str] = field(default_factory=Counter)


def numbers():
    yield from range(3_000)
    while True:
        time.sleep(60)


def key(number: int) -> tuple[str, int]:
    return "rest", number % 7


def tally(number: int, state: Tally) -> int:
    state.count += 1
    state.seen[str(number % 2)] += 1
    return number


app = hf.Application("tally")
(
    app.source(hf.sources.Generator(numbers))
    .key_by(key)
    .stateful(tally, state=Tally)
    .sink(hf.sinks.JsonLines("output.jsonl"))
)
"""
KEY = ("--as", "literal", "('rest', 3)")
COUNTED = len([n for n in range(3_000) if n % 7 == 3])


def query(folder: Path, *arguments: str) -> dict[str, Any]:
    done = holdfast(folder, "query", "tally", *arguments, "--data", "d", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_running_cluster_tells_the_state_of_a_key_and_afterwards_its_directory_does(tmp_path: Path) -> None:
    write(tmp_path, TALLY)
    with running(tmp_path, "run", "app.py", *CLUSTER, "--data", "d") as process:
        wait_for(tmp_path / "output.jsonl", len("".join(f"{n}\n" for n in range(3_000))))
        found = query(tmp_path, *KEY)
        nobody = query(tmp_path, "--as", "literal", "('rest', 30)")
        wrong = holdfast(tmp_path, "query", "tallly", "x", "--data", "d")
        text = holdfast(tmp_path, "query", "tally", *KEY, "--data", "d")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    stored = query(tmp_path, *KEY, "--app", "app.py")
    without = holdfast(tmp_path, "query", "tally", *KEY, "--data", "d")

    assert (found["found"], found["from"], found["key"]) == (True, "cluster", ["rest", 3])
    assert found["state"]["count"] == COUNTED
    assert sum(found["state"]["seen"].values()) == COUNTED
    assert (nobody["found"], nobody["state"]) == (False, None)
    assert wrong.returncode == 2
    assert "there is no stateful step 'tallly': the application's are 'tally'" in last_line(wrong.stderr)
    assert text.stdout.startswith(f"Tally(count={COUNTED}, seen=Counter(")
    assert (stored["from"], stored["state"]) == ("checkpoint", found["state"])
    assert without.returncode == 2
    assert "--app APP" in last_line(without.stderr)


def test_one_worker_that_runs_tells_the_state_of_a_key(tmp_path: Path) -> None:
    write(tmp_path, TALLY)
    with running(tmp_path, "run", "app.py", "--data", "d") as process:
        wait_for(tmp_path / "output.jsonl", len("".join(f"{n}\n" for n in range(3_000))))
        found = query(tmp_path, *KEY)
        nobody = query(tmp_path, "--as", "literal", "('rest', 30)")
        wrong = holdfast(tmp_path, "query", "tallly", "x", "--data", "d")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert (found["found"], found["from"], found["key"]) == (True, "worker", ["rest", 3])
    assert found["state"]["count"] == COUNTED
    assert (nobody["found"], nobody["state"]) == (False, None)
    assert wrong.returncode == 2
    assert "there is no stateful step 'tallly'; there are: 'tally'" in last_line(wrong.stderr)


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_stopped_directory_tells_the_state_of_its_last_checkpoint(tmp_path: Path, options: tuple[str, ...]) -> None:
    write(tmp_path, COUNT)
    append(tmp_path / "input.txt", "a b a\na\n")
    assert holdfast(tmp_path, "run", "app.py", *options, "--data", "d").returncode == 0

    done = holdfast(tmp_path, "query", "count", "a", "--data", "d")
    nobody = holdfast(tmp_path, "query", "count", "z", "--data", "d")
    wrong = holdfast(tmp_path, "query", "other", "a", "--data", "d")

    assert (done.returncode, done.stdout) == (0, "[0, 0, 0]\n")
    assert "at its last checkpoint" in done.stderr
    assert (nobody.returncode, nobody.stdout) == (0, "None\n")
    assert "has no state for the key 'z'" in nobody.stderr
    assert wrong.returncode == 2
    assert "these have: 'count'" in last_line(wrong.stderr)


def test_entities_that_were_folded_into_rows_are_found(tmp_path: Path) -> None:
    write(tmp_path, COUNT.replace('Application("count")', 'Application("count", entities_in_memory=1000)'))
    append(tmp_path / "input.txt", "".join(f"w{number % 3_000}\n" for number in range(6_001)))
    assert holdfast(tmp_path, "run", "app.py", "--data", "d").returncode == 0

    for key, count in (("w0", 3), ("w1", 2), ("w2999", 2)):
        assert holdfast(tmp_path, "query", "count", key, "--data", "d").stdout == f"{[0] * count}\n"


def test_what_is_no_key_and_nothing_to_ask_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    calls = {
        ("--as", "literal", "w1", "--data", "d"): "'w1' is no key as literal",
        ("--as", "literal", "[1]", "--data", "d"): "a key can't be a list",
        ("--as", "uuid", "1", "--data", "d"): "'1' is no key as uuid",
        ("w1", "--data", "d"): "there is no data directory at d",
        ("w1", "--coordinator", "127.0.0.1:1"): "can't be reached",
        ("w1",): "say of what",
    }
    for arguments, text in calls.items():
        done = holdfast(tmp_path, "query", "count", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert text in last_line(done.stderr)
