"""`holdfast verify` and `holdfast chaos`: the verdict, and that nothing of the application's own is touched."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.cli.command import COUNT, SECONDS_MAX, TICKER, append, holdfast, last_line, running, write, write_lines

CLOCK = COUNT.replace("return word, len(state)", "import time\n    return word, time.time_ns()")
ADDRESS = COUNT.replace("return word, len(state)", "return word, id(state)")
RANDOM = COUNT.replace("return word, len(state)", "import random\n    return word, random.random()")
HASHED = COUNT.replace("return word, len(state)", "return word, hash(word) % 1000")
SET_ORDER = COUNT.replace("return line.split()", "return list(set(line.split()))")
HIDDEN_STATE = COUNT.replace(
    "    state.append(0)\n    return word, len(state)", "    seen.append(word)\n    return word, len(seen)"
).replace("def split", "seen: list[str] = []\n\n\ndef split")
FAILING = COUNT.replace(
    "return word, len(state)", "if word == '77': raise ValueError('seventy-seven')\n    return word, len(state)"
)
OWN_SINK = COUNT.replace('hf.sinks.JsonLines("output.jsonl")', "Never()").replace(
    "def split",
    """class Never:
    def resume(self, partition, token):
        raise SystemError("never to be touched")

    def write(self, partition, first_number, outputs):
        raise SystemError("never to be touched")

    def flush(self, partition):
        raise SystemError("never to be touched")


def split""",
)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != "__pycache__"}


@pytest.mark.parametrize("text", [COUNT, OWN_SINK], ids=["file sink", "sink of the user's own"])
def test_verify_finds_an_application_identical_and_leaves_nothing_behind(text: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    write_lines(tmp_path, 300)
    before = files(tmp_path)

    done = holdfast(tmp_path, "verify", "app.py")

    assert done.returncode == 0, done.stderr
    assert "sink 'sink': 1,800 outputs" in done.stdout
    assert last_line(done.stdout) == "IDENTICAL"
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [CLOCK, RANDOM, ADDRESS, HASHED, SET_ORDER],
    ids=["clock", "chance", "address", "hash", "order of a set"],
)
def test_verify_names_the_step_that_is_not_deterministic(text: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    write_lines(tmp_path, 100)

    done = holdfast(tmp_path, "verify", "app.py")

    assert done.returncode == 1, done.stderr
    assert "first difference: sink 'sink', output " in done.stdout
    step = "split" if text is SET_ORDER else "count"
    assert f"nondeterminism: step '{step}'" in done.stdout
    if step == "count":
        assert "key 'line'" in done.stdout
    assert "ctx.random" in done.stdout
    assert last_line(done.stdout) == "DIFFERS"


def test_verify_says_where_an_application_stops_and_compares_what_came_before(tmp_path: Path) -> None:
    write(tmp_path, FAILING)
    write_lines(tmp_path, 300)

    done = holdfast(tmp_path, "verify", "app.py")

    assert done.returncode == 3
    assert "ValueError: seventy-seven" in last_line(done.stderr)
    assert last_line(done.stdout) == "the same up to where the application stopped"


def test_verify_ends_a_live_application_after_a_time(tmp_path: Path) -> None:
    write(tmp_path, TICKER)

    done = holdfast(tmp_path, "verify", "app.py", "--seconds", "0.5")

    assert done.returncode == 0, done.stderr
    assert last_line(done.stdout) == "IDENTICAL"
    assert files(tmp_path) == {"app.py"}


def test_verify_can_keep_what_it_made(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 30)

    assert holdfast(tmp_path, "verify", "app.py", "--keep", "scratch").returncode == 0
    again = holdfast(tmp_path, "verify", "app.py", "--keep", "scratch")

    assert (tmp_path / "scratch" / "engine" / "sink-0").read_text().count("\n") == 180
    assert again.returncode == 2
    assert "scratch is not empty" in last_line(again.stderr)


def test_verify_passes_on_that_an_application_can_not_be_found(tmp_path: Path) -> None:
    for command in ("verify", "chaos"):
        done = holdfast(tmp_path, command, "nowhere.py")
        assert done.returncode == 2
        assert last_line(done.stderr) == "holdfast: error: there is no file nowhere.py"


def test_an_application_verifies_itself(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 30)

    done = holdfast(tmp_path, "verify", program=("app.py",))

    assert done.returncode == 0, done.stderr
    assert last_line(done.stdout) == "IDENTICAL"


@pytest.mark.parametrize("scenario", ["mixed", "points", "recovery"])
def test_chaos_kills_and_finds_the_application_identical(scenario: str, tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 1500)
    before = files(tmp_path)

    done = holdfast(tmp_path, "chaos", "app.py", "--kills", "4", "--seed", "3", "--scenario", scenario)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" s  kill ") == 4
    assert "4 kills" in done.stdout
    assert last_line(done.stdout) == "IDENTICAL"
    assert files(tmp_path) == before


def test_chaos_finds_what_is_kept_outside_the_state(tmp_path: Path) -> None:
    write(tmp_path, HIDDEN_STATE)
    write_lines(tmp_path, 1500)

    done = holdfast(tmp_path, "chaos", "app.py", "--kills", "4", "--scenario", "checkpoint")

    assert done.returncode == 1, done.stderr
    assert "first difference" in done.stdout
    assert last_line(done.stdout) == "DIFFERS"


def test_chaos_says_that_an_input_is_too_short(tmp_path: Path) -> None:
    write(tmp_path)
    append(tmp_path / "input.txt", "a b c\n")

    done = holdfast(tmp_path, "chaos", "app.py", "--kills", "3", "--scenario", "random", "--seconds", "1")

    assert done.returncode == 0, done.stderr
    assert "give it more input" in done.stdout or done.stdout.count(" s  kill ") == 3
    assert last_line(done.stdout) == "IDENTICAL"


def test_sigterm_ends_a_verification_with_all_that_it_has_started(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 20_000)
    with running(tmp_path, "verify", "app.py", HOLDFAST_PACE="100:200", TMPDIR=str(tmp_path)) as process:
        deadline = time.monotonic() + SECONDS_MAX
        while not list(tmp_path.glob("*/**/format")):
            assert time.monotonic() < deadline
        started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS_MAX)

    assert process.returncode == 143
    assert started
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "input.txt"]
