"""What a run refuses to touch: one clear line, the exit code, nothing lost; once the cause is gone, on it goes."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import COUNT, counted, holdfast, last_line, running, wait_for, write, write_lines

RECORDS = 500
KILL = "between-apply-and-delivery:1"  # leaves a log without a checkpoint


def refused(done: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert done.returncode == code, done.stderr
    assert said in last_line(done.stderr)
    assert last_line(done.stderr).startswith("holdfast: error: ")


def finishes(folder: Path, *arguments: str) -> None:
    done = holdfast(folder, "run", "app.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert (folder / "output.jsonl").read_bytes() == counted(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    write_lines(tmp_path, RECORDS)
    return tmp_path


@pytest.fixture
def interrupted(folder: Path) -> Path:
    """Where a run was killed behind its first commit."""
    assert holdfast(folder, "run", "app.py", HOLDFAST_KILL=KILL).returncode < 0
    return folder


@pytest.fixture
def finished(folder: Path) -> Path:
    finishes(folder)
    return folder


def test_a_missing_input_is_refused_before_anything_is_made(folder: Path) -> None:
    (folder / "input.txt").rename(folder / "elsewhere.txt")

    refused(holdfast(folder, "run", "app.py"), 2, "input.txt")

    assert not (folder / "holdfast-data").exists()
    (folder / "elsewhere.txt").rename(folder / "input.txt")
    finishes(folder)


def test_an_output_that_is_not_ours_is_refused_and_kept(folder: Path) -> None:
    (folder / "output.jsonl").write_text("precious\n")

    refused(holdfast(folder, "run", "app.py"), 2, "output.jsonl exists and this data directory did not write it")
    refused(holdfast(folder, "run", "app.py", "--fresh"), 2, "exists and this data directory did not write it")

    assert (folder / "output.jsonl").read_text() == "precious\n"
    assert not (folder / "holdfast-data").exists()
    (folder / "output.jsonl").unlink()
    finishes(folder)


def test_two_sinks_with_one_file_are_refused(folder: Path) -> None:
    write(folder, COUNT + "\napp.sources[0]\n")
    text = COUNT.replace(
        '    .sink(hf.sinks.JsonLines("output.jsonl"))\n)',
        ")\nwords = app\n",
    )
    text = text.replace("(\n    app.source", "stream = (\n    app.source").replace("words = app\n", "")
    text += '\nstream.sink(hf.sinks.JsonLines("output.jsonl"))\nstream.sink(hf.sinks.JsonLines("./output.jsonl"))\n'
    write(folder, text.replace('if __name__ == "__main__":\n    hf.main(app)\n', ""))

    refused(holdfast(folder, "run", "app.py"), 2, "sinks 'sink' and 'sink-2' both write ./output.jsonl")


def test_an_output_that_is_an_input_is_refused(folder: Path) -> None:
    before = (folder / "input.txt").read_bytes()
    write(folder, COUNT.replace("output.jsonl", "input.txt"))

    refused(holdfast(folder, "run", "app.py"), 2, "input.txt is an input of source 'source'")

    assert (folder / "input.txt").read_bytes() == before


def test_a_folder_of_other_things_is_no_data_directory(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("dear")

    refused(holdfast(folder, "run", "app.py", "--data", "mine"), 2, "holds other things")
    refused(holdfast(folder, "run", "app.py", "--data", "mine", "--fresh"), 2, "holds other things")

    assert (folder / "mine" / "letter.txt").read_text() == "dear"


def test_another_applications_data_directory_is_refused(finished: Path) -> None:
    write(finished, COUNT.replace('Application("count")', 'Application("other")'), "other.py")
    before = (finished / "output.jsonl").read_bytes()

    for more in ((), ("--fresh",)):
        done = holdfast(finished, "run", "other.py", "--data", "holdfast-data/count", *more)
        refused(done, 4, "'count'")
        assert "'other'" in last_line(done.stderr)

    assert (finished / "output.jsonl").read_bytes() == before
    finishes(finished)


def test_a_second_run_on_the_same_directory_waits_and_is_refused(folder: Path) -> None:
    holdfast(folder, "run", "app.py", HOLDFAST_KILL=KILL)
    with (folder / "holdfast-data" / "count" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(holdfast(folder, "run", "app.py"), 4, "is in use by process")
    finishes(folder)


def test_a_second_run_goes_on_when_the_first_ends_meanwhile(folder: Path) -> None:
    write_lines(folder, 20_000, start=RECORDS)
    with running(folder, "run", "app.py") as first:
        wait_for(folder / "output.jsonl")
        with running(folder, "run", "app.py") as second:
            assert first.wait(timeout=30) == 0
            assert second.wait(timeout=30) == 0
    assert (folder / "output.jsonl").read_bytes() == counted(folder)


def test_an_input_changed_within_what_was_read_is_refused(interrupted: Path) -> None:
    path = interrupted / "input.txt"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"line 3 ", b"lime 3 "))

    refused(holdfast(interrupted, "run", "app.py"), 4, "input.txt")

    path.write_bytes(before)
    finishes(interrupted)


def test_an_input_changed_after_the_end_is_refused(finished: Path) -> None:
    path = finished / "input.txt"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"line 3 ", b"lime 3 "))

    refused(holdfast(finished, "run", "app.py"), 4, "input.txt")

    path.write_bytes(before)
    finishes(finished)


def test_an_output_that_is_shorter_than_at_the_checkpoint_is_refused(finished: Path) -> None:
    path = finished / "output.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[:-20])

    refused(holdfast(finished, "run", "app.py"), 4, "shorter than at the checkpoint")

    path.write_bytes(before)
    finishes(finished)


def test_an_output_changed_behind_the_checkpoint_stops_the_run(folder: Path) -> None:
    assert holdfast(folder, "run", "app.py", HOLDFAST_KILL="before-completion:1").returncode < 0
    path = folder / "output.jsonl"
    before = path.read_bytes()
    assert before
    path.write_bytes(before.replace(b'"line",2', b'"line",9'))

    refused(holdfast(folder, "run", "app.py"), 3, "what is generated differs from what was delivered")

    path.write_bytes(before)
    finishes(folder)


def test_fresh_begins_anew_and_deletes_only_what_is_ours(finished: Path) -> None:
    (finished / "other.txt").write_text("mine")
    (finished / "input.txt").write_text("a b a\n")

    finishes(finished, "--fresh")

    assert (finished / "output.jsonl").read_bytes() == b'["a",1]\n["b",1]\n["a",2]\n'
    assert (finished / "other.txt").read_text() == "mine"


def test_fresh_also_deletes_what_can_not_be_read(finished: Path) -> None:
    (finished / "holdfast-data" / "count" / "format").write_text("who knows")
    refused(holdfast(finished, "run", "app.py"), 4, "format")

    done = holdfast(finished, "run", "app.py", "--fresh")
    assert "its output files could not be told and are left" in done.stderr
    refused(done, 2, "output.jsonl exists")
    (finished / "output.jsonl").unlink()
    finishes(finished)


def test_a_new_match_of_a_glob_is_reported_and_not_read(tmp_path: Path) -> None:
    write(tmp_path, COUNT.replace('TextFile("input.txt")', 'TextFile("in*.txt")'))
    write_lines(tmp_path, RECORDS)
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL=KILL).returncode < 0
    (tmp_path / "inner.txt").write_text("new\n")

    done = holdfast(tmp_path, "run", "app.py")

    assert "note: inner.txt of source 'source' was not there at the first start and is not read" in done.stderr
    assert done.returncode == 0
    assert (tmp_path / "output.jsonl").read_bytes() == counted(tmp_path)


def test_an_output_inside_the_data_directory_is_refused(folder: Path) -> None:
    write(folder, COUNT.replace("output.jsonl", "data/output.jsonl"))

    refused(holdfast(folder, "run", "app.py", "--data", "data"), 2, "inside the data directory")

    assert not (folder / "data").exists()


def test_fresh_deletes_nothing_where_somebody_else_has_put_something(folder: Path) -> None:
    finishes(folder, "--data", "data")
    (folder / "data" / "mine").write_text("precious")

    refused(holdfast(folder, "run", "app.py", "--data", "data", "--fresh"), 2, "also holds mine")

    assert (folder / "data" / "mine").read_text() == "precious"
    assert (folder / "output.jsonl").read_bytes() == counted(folder)


def test_a_mended_record_that_is_logged_already_is_a_changed_input(folder: Path) -> None:
    lines = (folder / "input.txt").read_bytes().splitlines(keepends=True)
    (folder / "input.txt").write_bytes(b"".join([*lines[:7], b"\xff\n", *lines[7:]]))
    refused(holdfast(folder, "run", "app.py"), 3, "offset 7")
    refused(holdfast(folder, "run", "app.py"), 3, "offset 7")
    (folder / "input.txt").write_bytes(b"".join(lines))

    refused(holdfast(folder, "run", "app.py"), 4, "input.txt")


@pytest.mark.parametrize("kills", ["-1", "many"])
def test_a_number_of_kills_that_is_none_is_refused(folder: Path, kills: str) -> None:
    done = holdfast(folder, "chaos", "app.py", "--kills", kills)

    assert done.returncode == 2
    assert "--kills" in last_line(done.stderr)


def test_a_state_that_is_no_value_is_told_before_anything_is_delivered(folder: Path) -> None:
    write(folder, COUNT.replace("state.append(0)", "state.append(split)"))

    done = holdfast(folder, "run", "app.py")

    assert done.returncode == 3
    assert "step 'count', key " in last_line(done.stderr)
    assert not (folder / "output.jsonl").read_bytes()


@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--backups", "1")], ids=["one worker", "cluster"])
def test_a_state_that_is_no_value_later_is_told_with_its_key(workers: tuple[str, ...], folder: Path) -> None:
    later = "state.append(split if word == 'w3' and len(state) == 5 else 0)"
    write(folder, COUNT.replace("state.append(0)", later))

    done = holdfast(folder, "run", "app.py", *workers)

    assert done.returncode == 3
    assert "step 'count', key 'w3': its state is not a value: value[5]" in done.stderr


def test_fresh_deletes_nothing_where_the_new_start_would_be_refused(finished: Path) -> None:
    before = (finished / "output.jsonl").read_bytes()
    (finished / "input.txt").rename(finished / "away.txt")

    for options in ((), ("--workers", "2")):
        refused = holdfast(finished, "run", "app.py", "--fresh", *options)
        assert refused.returncode == 2, refused.stderr
        assert (finished / "output.jsonl").read_bytes() == before
        assert (finished / "holdfast-data" / "count").is_dir()
