"""A flipped byte in a data directory: no effect on any output, or a report with its place, but never a wrong output."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from tests.cli.command import counted, holdfast, last_line, write, write_lines

FLIPS = 4  # of each file
SEED = 1


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run was killed behind a complete checkpoint, with a log to replay; never run again itself."""
    folder = tmp_path_factory.mktemp("parent") / "work"
    folder.mkdir()
    write(folder)
    write_lines(folder, 3000)
    done = holdfast(folder, "run", "app.py", HOLDFAST_KILL="between-apply-and-delivery:12", HOLDFAST_PACE="20:2048")
    assert done.returncode < 0
    return folder.rename(folder.with_name("killed"))


@pytest.fixture
def work(killed: Path) -> Path:
    """A copy of it in the place where it was, because it knows its outputs by their absolute paths."""
    return copied(killed)


def copied(killed: Path) -> Path:
    folder = killed.with_name("work")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(killed, folder)
    return folder


@pytest.mark.parametrize("name", ["log/data.mdb", "state/data.mdb", "marks", "format"])
def test_a_flipped_byte_is_reported_or_without_effect(name: str, killed: Path) -> None:
    random = Random(f"{SEED} {name}")
    for _ in range(FLIPS):
        folder = copied(killed)
        path = folder / "holdfast-data" / "count" / name
        content = bytearray(path.read_bytes())
        place = random.randrange(len(content))
        content[place] ^= 1 << random.randrange(8)
        path.write_bytes(content)
        before = (folder / "output.jsonl").read_bytes()

        done = holdfast(folder, "run", "app.py")

        output = (folder / "output.jsonl").read_bytes()
        if done.returncode == 0:
            assert output == counted(folder), f"byte {place} of {name}"
        else:
            assert done.returncode == 4, f"byte {place} of {name}: {done.stderr}"
            assert "damaged data at " in last_line(done.stderr) or "format" in last_line(done.stderr)
            assert output[: len(before)] == before
            assert counted(folder).startswith(output)


def test_inspect_reports_damage_and_ends_with_four(work: Path) -> None:
    sound = holdfast(work, "inspect", "holdfast-data/count")
    path = work / "holdfast-data" / "count" / "state" / "data.mdb"
    content = path.read_bytes()
    place = content.rindex(b"input.txt")
    path.write_bytes(content[:place] + b"X" + content[place + 1 :])

    damaged = holdfast(work, "inspect", "holdfast-data/count")

    assert sound.returncode == 0, sound.stdout
    assert "every digest matches" in sound.stdout
    assert damaged.returncode == 4
    assert "damaged data at state" in damaged.stdout


def test_a_log_that_is_empty_beside_a_state_is_found_by_inspect_as_by_run(work: Path) -> None:
    data = work / "holdfast-data" / "count"
    for name in ("marks", "log/data.mdb"):
        (data / name).write_bytes(bytes((data / name).stat().st_size))

    looked = holdfast(work, "inspect", str(data))

    assert looked.returncode == 4
    assert "damaged data at log: it is empty" in looked.stdout
    assert holdfast(work, "run", "app.py").returncode == 4


def test_marks_that_are_empty_hide_nothing_from_inspect(work: Path) -> None:
    data = work / "holdfast-data" / "count"
    before = holdfast(work, "inspect", str(data)).stdout
    (data / "marks").write_bytes(bytes((data / "marks").stat().st_size))

    assert holdfast(work, "inspect", str(data)).stdout == before
