"""Standard input: lines as they come, kept for a new life in the process, skipped where they come again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest

from holdfast import sources, testing
from holdfast.connectors import standard_input
from holdfast.connectors.interface import Block, Reader
from holdfast.core.errors import InputChangedError
from tests.cli.command import environment
from tests.connectors.killing import SECONDS_MAX, count_lines, wait_until

LINES = 3000
APP = """
import holdfast as hf

app = hf.Application("piped")
app.source(hf.sources.Stdin({options})).sink(hf.sinks.TextFile("output.txt"))
"""


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end to write to; the other is what the source takes for standard input."""
    outlet, inlet = os.pipe()
    monkeypatch.setattr(standard_input, "_FILE", outlet)
    yield inlet
    for file in (outlet, inlet):
        try:
            os.close(file)
        except OSError:
            pass  # the test closed it


def repacked(offset: object) -> object:
    found: object = msgpack.unpackb(msgpack.packb(offset))
    return found


def raw(reader: Reader, records_max: int = 64) -> bytes:
    block = reader.read(records_max, 1000)
    assert block is not None
    return block.raw


def test_lines_come_as_they_are_written_and_the_last_may_lack_its_newline(pipe: int) -> None:
    source = sources.Stdin()
    assert source.live
    assert source.partitions() == ["0"]
    reader = source.open("0", None)
    os.write(pipe, b"one\ntwo\nth")
    assert raw(reader, 1) == b"one\n"
    assert raw(reader) == b"two\n"
    os.write(pipe, b"ree\r\n\nend \xff")
    os.close(pipe)
    assert raw(reader) == b"three\r\n\n"
    assert raw(reader) == b"end \xff"
    assert reader.read(64, 1000) is None
    assert source.decode(b"a\nb\xff\n")[0] == "a"
    reader.close()


def test_closing_ends_the_wait_for_a_line(pipe: int) -> None:
    reader = sources.Stdin().open("0", None)
    answers: list[Block | None] = []
    thread = threading.Thread(target=lambda: answers.append(reader.read(64, 1000)))
    thread.start()
    reader.close()
    reader.close()
    thread.join(10)
    assert answers == [None]
    assert reader.read(1, 1) is None


@pytest.mark.parametrize("repeats", [False, True])
def test_what_was_read_and_not_logged_is_given_to_the_next_reader_of_the_process(pipe: int, repeats: bool) -> None:
    source = sources.Stdin(repeats=repeats)
    reader = source.open("0", None)
    os.write(pipe, b"1\n2\n3\n")
    assert raw(reader) == b"1\n2\n3\n"
    offset = repacked(reader.offset_after(1))
    reader.close()
    reader = source.open("0", offset)
    assert raw(reader) == b"2\n3\n"
    os.write(pipe, b"4\n")
    assert raw(reader) == b"4\n"
    reader.close()


def test_in_a_new_process_other_lines_follow_unless_they_come_again(pipe: int) -> None:
    reader = sources.Stdin(repeats=True).open("0", None)
    os.write(pipe, b"1\n2\n3\n")
    raw(reader)
    reader.offset_after(1)
    offset = repacked(reader.offset_after(2))
    reader.close()

    os.write(pipe, b"1\n2\n3\n4\n")
    again = sources.Stdin(repeats=True).open("0", offset)
    assert raw(again) == b"3\n4\n"
    again.close()
    os.write(pipe, b"5\n")
    others = sources.Stdin().open("0", offset)
    assert raw(others) == b"5\n"
    assert others.offset_after(1) == [3, 0]
    others.close()


def test_lines_that_come_again_and_differ_are_refused(pipe: int) -> None:
    reader = sources.Stdin(repeats=True).open("0", None)
    os.write(pipe, b"1\n2\n")
    raw(reader)
    offset = repacked(reader.offset_after(2))
    reader.close()
    os.write(pipe, b"1\nX\n3\n")
    with pytest.raises(InputChangedError, match="differs within the first 2 lines"):
        sources.Stdin(repeats=True).open("0", offset).read(64, 1000)
    os.write(pipe, b"1\n")
    os.close(pipe)
    with pytest.raises(InputChangedError, match="gave 2 lines in an earlier run, now only 1"):
        sources.Stdin(repeats=True).open("0", offset).read(64, 1000)


def test_standard_input_keeps_the_contract_where_it_repeats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"".join(b"line %d\n" % n for n in range(100)))
    opened: list[int] = []

    def made() -> Any:
        opened.append(os.open(tmp_path / "lines", os.O_RDONLY))
        monkeypatch.setattr(standard_input, "_FILE", opened[-1])
        return sources.Stdin(repeats=True)

    testing.check_source(made, records=100)
    for file in opened:
        os.close(file)


# --- through the command


def reached(progress: Callable[[], int], aim: int) -> bool:
    return progress() >= aim


def piped(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast", "run", "app.py"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_pipe_that_repeats_comes_out_once_however_often_the_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(options="repeats=True"))
    data = b"".join(b"line %d\n" % n for n in range(LINES))
    progress = count_lines(tmp_path / "output.txt")
    for part in range(1, 4):
        with piped(tmp_path) as process:
            assert process.stdin is not None
            process.stdin.write(data[: len(data) * part // 4])
            process.stdin.flush()
            wait_until(partial(reached, progress, LINES * (part - 1) // 4 + 100), process)
            process.kill()
    with piped(tmp_path) as process:
        process.communicate(data, timeout=SECONDS_MAX)
    assert process.returncode == 0
    assert (tmp_path / "output.txt").read_bytes() == data


def test_a_pipe_that_goes_on_loses_nothing_that_came_out_and_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(options=""))
    progress = count_lines(tmp_path / "output.txt")
    with piped(tmp_path) as process:
        assert process.stdin is not None
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        wait_until(lambda: progress() >= 2, process)
        process.kill()
    with piped(tmp_path) as process:
        _, stderr = process.communicate(b"three\nfour", timeout=SECONDS_MAX)
    assert process.returncode == 0, stderr
    assert (tmp_path / "output.txt").read_text() == "one\ntwo\nthree\nfour\n"
