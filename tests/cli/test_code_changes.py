"""Code may change where nothing is to be done again; elsewhere the start says what changed and the two ways on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.command import COUNT, TICKER, append, counted, holdfast, last_line, running, wait_for, write, write_lines

DATACLASS = """
from dataclasses import dataclass

import holdfast as hf


@dataclass
class Total:
    count: int = 0


def by_length(line: str) -> int:
    return len(line)


def count(line: str, total: Total) -> int:
    total.count += 1
    if "stop here" in line:
        raise ValueError(line)
    return total.count


app = hf.Application("totals")
app.source(hf.sources.TextFile("input.txt")).key_by(by_length).stateful(count, state=Total).sink(
    hf.sinks.JsonLines("output.jsonl")
)
"""
OTHER_SPLIT = COUNT.replace("return line.split()", "return [word for word in line.split()]")
KILL = "between-apply-and-delivery:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    write_lines(tmp_path, 500)
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL=KILL).returncode < 0
    return tmp_path


def test_changed_code_is_refused_while_work_is_to_be_done_again(folder: Path) -> None:
    write(folder, OTHER_SPLIT)

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 4
    for said in ("flat_map 'split'", "since the last start", "run that code", "--accept-code"):
        assert said in last_line(done.stderr)
    write(folder)
    assert holdfast(folder, "run", "app.py").returncode == 0
    assert (folder / "output.jsonl").read_bytes() == counted(folder)


def test_changed_code_can_be_accepted(folder: Path) -> None:
    write(folder, OTHER_SPLIT)

    done = holdfast(folder, "run", "app.py", "--accept-code")

    assert done.returncode == 0, done.stderr
    assert (folder / "output.jsonl").read_bytes() == counted(folder)


def test_accepted_code_that_contradicts_what_was_delivered_stops(tmp_path: Path) -> None:
    write(tmp_path)
    write_lines(tmp_path, 500)
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL="before-completion:1").returncode < 0
    before = (tmp_path / "output.jsonl").read_bytes()
    write(tmp_path, COUNT.replace("len(state)", "-len(state)"))

    done = holdfast(tmp_path, "run", "app.py", "--accept-code")

    assert done.returncode == 3
    assert "what is generated differs from what was delivered" in last_line(done.stderr)
    assert (tmp_path / "output.jsonl").read_bytes() == before


def test_code_may_change_after_a_clean_stop(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    with running(tmp_path, "run", "app.py") as process:
        wait_for(tmp_path / "ticks.txt", 100)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    write(tmp_path, TICKER.replace('f"tick {tick}"', 'f"tick {tick}" if tick < 9000 else "no tick"'))
    with running(tmp_path, "run", "app.py") as process:
        wait_for(tmp_path / "ticks.txt", (tmp_path / "ticks.txt").stat().st_size + 100)


def test_a_function_that_failed_can_be_mended(tmp_path: Path) -> None:
    write(tmp_path, DATACLASS)
    write_lines(tmp_path, 300)
    append(tmp_path / "input.txt", "stop here\n")
    write_lines(tmp_path, 300)

    first = holdfast(tmp_path, "run", "app.py")
    again = holdfast(tmp_path, "run", "app.py")
    assert [first.returncode, again.returncode] == [3, 3]
    for done in (first, again):
        assert "step 'count' failed at source 'source', partition 'input.txt', offset 300" in last_line(done.stderr)
        assert "ValueError: stop here" in last_line(done.stderr)
    assert (tmp_path / "output.jsonl").read_text().count("\n") == 300

    write(tmp_path, DATACLASS.replace("raise ValueError(line)", "return -1"))
    done = holdfast(tmp_path, "run", "app.py")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "output.jsonl").read_text().splitlines()
    assert len(lines) == 601
    assert lines[300] == "-1"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("count: int = 0", "count: int = 0\n    new: int = 7", None),
        ("count: int = 0", "total: int = 0", "Total"),
        ("count: int = 0", "count: int = 0\n    new: int = None  # type: ignore", None),
        (
            ".stateful(count, state=Total)",
            '.stateful(count, state=Total, name="renamed")',
            "step 'count': removed or renamed",
        ),
        (".stateful(count, state=Total)", '.stateful(count, state=Total, name="renamed", was="count")', None),
        ("class Total:", "class Sum:", "Total became Sum"),
        ('"input.txt")', '"input.txt"), name="lines"', "source 'source' was removed or renamed"),
    ],
)
def test_changes_of_state_are_followed_or_refused_with_a_diff(
    old: str, new: str, said: str | None, tmp_path: Path
) -> None:
    write(tmp_path, DATACLASS)
    write_lines(tmp_path, 300)
    append(tmp_path / "input.txt", "stop here\n")
    assert holdfast(tmp_path, "run", "app.py").returncode == 3
    mended = DATACLASS.replace("raise ValueError(line)", "return -1")
    changed = mended.replace(old, new)
    if "class Sum" in new:
        changed = changed.replace("Total", "Sum")
    if "total: int" in new:
        changed = changed.replace("total.count", "total.total")
    write(tmp_path, changed)

    done = holdfast(tmp_path, "run", "app.py")

    if said is None:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "output.jsonl").read_text().count("\n") == 301
    else:
        assert done.returncode == 4, done.stderr
        assert said in done.stderr
        write(tmp_path, mended)
        assert holdfast(tmp_path, "run", "app.py").returncode == 0


def test_changed_code_is_refused_where_a_start_after_a_clean_stop_was_killed(tmp_path: Path) -> None:
    follow = 'TextFile("input.txt", follow=True)'
    write(tmp_path, COUNT.replace('TextFile("input.txt")', follow))
    write_lines(tmp_path, 50)
    assert holdfast(tmp_path, "run", "app.py", "--seconds", "0.5").returncode == 0
    write_lines(tmp_path, 50, start=50)
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL=KILL).returncode < 0
    write(tmp_path, OTHER_SPLIT.replace('TextFile("input.txt")', follow))

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 4
    assert "flat_map 'split'" in last_line(done.stderr)
