"""Files that grow while they are read: whole lines as they come, nothing twice, nothing that was changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import sources
from holdfast.connectors.interface import Block, Reader
from holdfast.core.errors import InputChangedError
from tests.cli.command import append, holdfast, last_line, running
from tests.connectors.killing import Killing, count_lines, ended_cleanly, finish, wait_until

LINES = 3000
APP = """
import holdfast as hf


def numbered(line: str, state: list[int]) -> tuple[str, int]:
    state.append(0)
    return line, len(state)


app = hf.Application("follow")
lines = app.source(hf.sources.TextFile("input.txt", follow=True))
lines.key_by(lambda line: len(line) % 3).stateful(numbered, state=list).sink(hf.sinks.JsonLines("output.jsonl"))
"""


def opened(path: Path, offset: object | None = None) -> Reader:
    return sources.TextFile(path, follow=True).open(str(path), offset)


def repacked(offset: object) -> object:
    found: object = msgpack.unpackb(msgpack.packb(offset))
    return found


def raw(block: Block | None) -> bytes:
    assert block is not None
    assert not block.ended
    return block.raw


def test_a_following_source_is_live_and_any_other_is_not() -> None:
    assert sources.TextFile("x", follow=True).live
    assert sources.JsonLines("x", follow=True).live
    assert not sources.TextFile("x").live


def test_what_is_appended_is_given_line_by_line_and_half_a_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"one\ntw")
    reader = opened(path)
    assert raw(reader.read(64, 1000)) == b"one\n"
    answers: list[Block | None] = []
    thread = threading.Thread(target=lambda: answers.append(reader.read(64, 1000)))
    thread.start()
    append(path, "o")
    append(path, "\r\n\nthr")
    thread.join(10)
    assert raw(answers[0]) == b"two\r\n\n"
    append(path, "ee\n")
    assert raw(reader.read(64, 1000)) == b"three\n"
    reader.close()


def test_closing_ends_the_wait_for_more(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.touch()
    reader = opened(path)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(reader.read(64, 1000)))
    thread.start()
    reader.close()
    thread.join(10)
    assert answers == [None]
    reader.close()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text("ab\n\r\x85", max_size=30), st.integers(1, 5), st.integers(1, 8)), max_size=12),
    st.data(),
)
def test_however_it_grows_and_is_read_the_lines_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("grows") / "input"
    path.touch()
    reader = opened(path)
    got, count, taken = b"", 0, b""
    for text, records_max, bytes_max in pieces:
        with path.open("ab") as file:
            file.write(text.encode())
        whole = path.read_bytes()
        if b"\n" not in whole[len(got) :]:
            continue
        block = reader.read(records_max, bytes_max)
        assert block is not None
        assert block.count <= records_max
        assert block.raw.count(b"\n") == block.count
        got += block.raw
        count += block.count
        assert whole.startswith(got)
        if data.draw(st.booleans()):  # a new life
            offset = repacked(reader.offset_after(count))
            reader.close()
            reader, count, taken = opened(path, offset), 0, got
    rest = path.read_bytes()[len(got) :]
    while b"\n" in rest:
        part = raw(reader.read(None, 1000))
        got, rest = got + part, rest[len(part) :]
    assert path.read_bytes().startswith(got)
    assert b"\n" not in path.read_bytes()[len(got) :]
    assert got.startswith(taken)
    reader.close()


def test_a_line_longer_than_any_block_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "input"
    long = b"x" * 3_000_000
    path.write_bytes(b"a\n" + long[:1_000_000])
    reader = opened(path)
    assert raw(reader.read(64, 100)) == b"a\n"
    with path.open("ab") as file:
        file.write(long[1_000_000:] + b"\nb\n")
    assert raw(reader.read(64, 100)) == long + b"\n"
    assert raw(reader.read(64, 100)) == b"b\n"
    reader.close()


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"one\ntwo\n")
    reader = opened(path)
    raw(reader.read(64, 1000))
    os.truncate(path, 3)
    with pytest.raises(InputChangedError, match="became shorter"):
        reader.read(64, 1000)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_is_replaced_or_removed_is_refused(replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"one\n")
    reader = opened(path)
    raw(reader.read(64, 1000))
    path.rename(tmp_path / "input.1")
    if replaced:
        path.write_bytes(b"two\n")
    with pytest.raises(InputChangedError, match="moved, removed or replaced while it was followed"):
        reader.read(64, 1000)


# --- through the command


def test_nothing_is_lost_or_repeated_while_the_file_grows_and_the_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    path = tmp_path / "input.txt"
    path.touch()

    def feed(start: int, end: int) -> None:
        with path.open("a") as file:
            for number in range(start, end):
                file.write(f"line {number}")
                file.flush()
                file.write(f" ends with {number * 7}\n")
                file.flush()

    Killing(tmp_path, feed=feed, progress=count_lines(tmp_path / "output.jsonl"), total=LINES).survive(kills=5)

    totals = [0, 0, 0]
    expected = []
    for line in path.read_text().splitlines():
        totals[len(line) % 3] += 1
        expected.append(f'["{line}",{totals[len(line) % 3]}]')
    assert (tmp_path / "output.jsonl").read_text().splitlines() == expected


def test_a_file_that_was_changed_within_what_was_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "input.txt").write_text("one\ntwo\n")
    finish(tmp_path, progress=count_lines(tmp_path / "output.jsonl"), upto=2)
    append(tmp_path / "input.txt", "three\n")
    finish(tmp_path, progress=count_lines(tmp_path / "output.jsonl"), upto=3)

    (tmp_path / "input.txt").write_text("one\nTWO\nthree\nfour\n")
    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 4
    assert "was changed: its first 14 bytes are not what was read" in last_line(done.stderr)
    assert count_lines(tmp_path / "output.jsonl")() == 3


def test_a_file_that_is_rotated_away_ends_the_run_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "input.txt").write_text("one\n")
    with running(tmp_path, "run", "app.py") as process:
        wait_until(lambda: count_lines(tmp_path / "output.jsonl")() == 1, process)
        (tmp_path / "input.txt").rename(tmp_path / "input.txt.1")
        _, stderr = process.communicate(timeout=30)

    assert process.returncode == 4
    assert "moved, removed or replaced" in last_line(stderr)


@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--backups", "1")], ids=["one worker", "cluster"])
def test_a_finished_run_that_is_told_to_follow_reads_what_was_appended_since(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    source, output = tmp_path / "input.txt", tmp_path / "output.jsonl"
    (tmp_path / "app.py").write_text(APP.replace(", follow=True", ""))
    source.write_text("".join(f"{number:05}\n" for number in range(500)))
    finished = holdfast(tmp_path, "run", "app.py", *workers)
    assert finished.returncode == 0, finished.stderr
    append(source, "".join(f"{number:05}\n" for number in range(500, 700)))
    again = holdfast(tmp_path, "run", "app.py", *workers)
    assert again.returncode == 0, again.stderr
    assert count_lines(output)() == 500, "without `follow` a finished run does nothing"

    (tmp_path / "app.py").write_text(APP)
    for upto in (700, 900):  # started twice, killed in between
        with running(tmp_path, "run", "app.py", *workers) as process:
            wait_until(lambda: count_lines(output)() >= upto, process)  # noqa: B023 - it ends within this turn
            append(source, "".join(f"{number:05}\n" for number in range(upto, upto + 200)))
            process.kill()
            process.wait()
    with running(tmp_path, "run", "app.py", *workers) as process:
        wait_until(lambda: count_lines(output)() >= 1100, process)
        ended_cleanly(process)

    assert output.read_text() == "".join(f'["{number:05}",{number + 1}]\n' for number in range(1100))


def test_following_may_not_begin_while_there_is_work_to_be_done_again(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace(", follow=True", ""))
    (tmp_path / "input.txt").write_text("one\ntwo\n")
    assert holdfast(tmp_path, "run", "app.py", HOLDFAST_KILL="between-apply-and-delivery:1").returncode < 0
    (tmp_path / "app.py").write_text(APP)

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 4
    assert "the order of the steps" in last_line(done.stderr)


def test_a_last_line_that_was_read_without_its_newline_can_not_be_followed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace(", follow=True", ""))
    (tmp_path / "input.txt").write_text("one\ntw")
    assert holdfast(tmp_path, "run", "app.py").returncode == 0
    (tmp_path / "app.py").write_text(APP)
    append(tmp_path / "input.txt", "o\nthree\n")

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 4
    assert "its last line has no newline" in last_line(done.stderr)
