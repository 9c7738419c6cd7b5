"""The output file: created, appended, compared, torn, full, locked. Every byte of it once."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import sinks
from holdfast.connectors.file_writer import FileWriter
from holdfast.core.errors import (
    DiskFullError,
    NonDeterminismError,
    OutputExistsError,
    OutputHeldError,
    OutputShortError,
    SinkError,
    UsageError,
)

LINES = [b"one\n", b"two\n", b"three\n", b"four\n"]
WHOLE = b"".join(LINES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.txt"


def opened(path: Path, token: int | None = None, number: int = 0, *, owned: bool = True) -> FileWriter:
    return sinks.TextFile(path).open(token, number, owned)


def test_outputs_are_appended_in_order(path: Path) -> None:
    writer = opened(path)
    assert writer.token() == 0
    writer.write(1, LINES[:1], 1)
    writer.write(2, LINES[1:3], 2)
    assert writer.token() == len(b"".join(LINES[:3]))
    writer.write(4, LINES[3], 1)  # a column's bytes as they are
    writer.sync()
    writer.finish()
    writer.close()
    writer.close()
    assert path.read_bytes() == WHOLE


def test_a_file_is_there_even_without_outputs(path: Path) -> None:
    writer = opened(path)
    writer.write(1, [], 0)
    writer.finish()
    writer.close()
    assert path.read_bytes() == b""


def test_numbers_must_follow_each_other(path: Path) -> None:
    writer = opened(path, None, 0)
    with pytest.raises(AssertionError):
        writer.write(2, LINES[:1], 1)
    writer.close()


# --- resuming


@settings(deadline=None)
@given(st.data())
def test_after_any_crash_the_file_ends_as_without_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "crashes.txt"
    path.unlink(missing_ok=True)
    outputs = data.draw(st.lists(st.binary(max_size=6).map(lambda raw: raw + b"\n"), max_size=12))
    token, number = None, 0
    for _ in range(data.draw(st.integers(0, 3))):
        writer = opened(path, token, number)
        position = number
        while position < len(outputs) and data.draw(st.booleans()):
            count = data.draw(st.integers(1, len(outputs) - position))
            writer.write(position + 1, outputs[position : position + count], count)
            position += count
            if data.draw(st.booleans()):
                token, number = writer.token(), position
        writer.close()
        tear(path, token or 0, data)
    writer = opened(path, token, number)
    writer.write(number + 1, outputs[number:], len(outputs) - number)
    writer.finish()
    writer.close()
    assert path.read_bytes() == b"".join(outputs)


def tear(path: Path, durable: int, data: st.DataObject) -> None:
    """A power loss: behind the durable length the end may be missing, and any bytes may read NUL."""
    stands = bytearray(path.read_bytes())
    del stands[data.draw(st.integers(durable, len(stands))) :]
    for index in range(durable, len(stands)):
        if data.draw(st.booleans()):
            stands[index] = 0
    stands += bytes(data.draw(st.integers(0, 2)))
    path.write_bytes(stands)


TORN_TAILS = {
    "nothing stands": b"",
    "a part stands": b"tw",
    "a whole output and a part": b"two\nth",
    "everything stands": b"two\nthree\nfour\n",
    "a hole at the start": b"\0\0\0\0three\n",
    "a hole in the middle": b"two\n\0\0\0\0\0\0fo",
    "a hole at the end": b"two\nth\0\0\0\0\0",
    "a torn byte": b"t\0o\n",
    "all holes": b"\0" * 15,
    "holes beyond the end": b"two\nthree\nfour\n\0\0\0",
    "all holes and more": b"\0" * 5000,
}


@pytest.mark.parametrize("tail", TORN_TAILS.values(), ids=TORN_TAILS.keys())
@pytest.mark.parametrize("at_once", [True, False])
def test_a_torn_tail_is_made_whole(path: Path, tail: bytes, at_once: bool) -> None:
    path.write_bytes(b"one\n" + tail)
    writer = opened(path, 4, 1)
    for first, payload in [(2, LINES[1:])] if at_once else [(2, [LINES[1]]), (3, [LINES[2]]), (4, [LINES[3]])]:
        writer.write(first, payload, len(payload))
    writer.finish()
    writer.close()
    assert path.read_bytes() == WHOLE


DIFFERENCES = {
    b"tWo\n": (2, 5),
    b"two\nthree\nfouR\n": (4, 17),
    b"two\nth\0\0\0\nX": (4, 14),
    b"\0\0\0\0thrEe": (3, 11),
    b"X": (2, 4),
}


@pytest.mark.parametrize("tail", DIFFERENCES)
@pytest.mark.parametrize("as_column", [True, False])
def test_any_other_difference_is_nondeterminism_and_nothing_is_written(
    path: Path, tail: bytes, as_column: bool
) -> None:
    path.write_bytes(b"one\n" + tail)
    number, byte = DIFFERENCES[tail]
    writer = opened(path, 4, 1)
    with pytest.raises(NonDeterminismError, match=rf"out\.txt.*output {number}, byte {byte}\b"):
        writer.write(2, b"".join(LINES[1:]) if as_column else LINES[1:], 3)
    writer.close()
    assert path.read_bytes() == b"one\n" + tail


def test_the_number_of_a_difference_is_told_when_outputs_hold_newlines(path: Path) -> None:
    path.write_bytes(b"a\nb\nX\n")
    writer = opened(path)
    with pytest.raises(NonDeterminismError, match=r"output 2, byte 4\b"):
        writer.write(1, [b"a\nb\n", b"c\n"], 2)
    writer.close()


def test_a_byte_that_stands_is_a_difference_where_nul_is_generated(path: Path) -> None:
    path.write_bytes(b"aXb\n")
    writer = opened(path)
    with pytest.raises(NonDeterminismError, match=r"output 1, byte 1\b"):
        writer.write(1, [b"a\0b\n"], 1)
    writer.close()
    assert path.read_bytes() == b"aXb\n"


def test_a_file_that_can_not_be_opened_for_too_many_others_says_what_to_do(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    try:
        for allowed in (free, free + 1):  # not the file itself; its folder
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, limits[1]))
            with pytest.raises(UsageError, match=r"out\.txt.*can't be opened: Too many open files; .*ulimit -n"):
                opened(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_what_stands_before_the_checkpoint_is_not_compared(path: Path) -> None:
    path.write_bytes(b"ONE\n")
    writer = opened(path, 4, 1)
    writer.write(2, LINES[1:], 3)
    writer.close()
    assert path.read_bytes() == b"ONE\n" + WHOLE[4:]


def test_more_delivered_than_is_generated_is_nondeterminism(path: Path) -> None:
    path.write_bytes(WHOLE)
    writer = opened(path, 4, 1)
    writer.write(2, LINES[1:3], 2)
    with pytest.raises(NonDeterminismError, match=r"out\.txt.*number 3 .*byte 14"):
        writer.finish()
    writer.close()
    assert path.read_bytes() == WHOLE


def test_a_stop_before_the_end_leaves_what_stands(path: Path) -> None:
    path.write_bytes(WHOLE)
    writer = opened(path, 4, 1)
    writer.write(2, LINES[1:2], 1)
    token = writer.token()
    writer.sync()
    writer.close()
    assert path.read_bytes() == WHOLE
    writer = opened(path, token, 2)
    writer.write(3, LINES[2:], 2)
    writer.finish()
    writer.close()
    assert path.read_bytes() == WHOLE


def test_an_output_shorter_than_at_the_checkpoint_is_refused(path: Path) -> None:
    path.write_bytes(b"one")
    with pytest.raises(OutputShortError, match=r"3 bytes of 4") as refused:
        opened(path, 4, 1)
    assert refused.value.exit_code == 4
    path.unlink()
    with pytest.raises(OutputShortError, match="missing"):
        opened(path, 4, 1)
    assert not path.exists()


# --- opening


def test_a_file_that_is_not_owned_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"precious\n")
    with pytest.raises(OutputExistsError, match="not this application's") as refused:
        opened(path, owned=False)
    assert refused.value.exit_code == 2
    assert path.read_bytes() == b"precious\n"
    path.unlink()
    opened(path, owned=False).close()
    assert path.exists()


def test_paths_that_cannot_be_output_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, why in {
        tmp_path: "is a directory",
        tmp_path / "none" / "out.txt": "folder is missing",
        tmp_path / "pipe": "not a regular file",
        Path("/dev/null"): "not a regular file",
        tmp_path / "pipe" / "out.txt": "can't be opened",
    }.items():
        with pytest.raises(UsageError, match=why) as refused:
            opened(path)
        assert refused.value.exit_code == 2


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/out.txt")
    writer = opened(tmp_path / "link")
    writer.write(1, LINES, 4)
    writer.close()
    assert (tmp_path / "folder" / "out.txt").read_bytes() == WHOLE


def test_the_folder_of_a_new_file_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/out.txt")
    opened(tmp_path / "link").close()
    assert synced == [str(tmp_path / "folder")]


def test_a_file_held_by_another_writer_is_refused(path: Path) -> None:
    holder = opened(path)
    with pytest.raises(OutputHeldError, match="being written by another"):
        opened(path)
    holder.close()
    opened(path).close()


def test_a_file_put_in_place_while_waiting_is_the_one_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(WHOLE)
    flock = fcntl.flock

    def replaced_meanwhile(file: int, operation: int) -> None:
        flock(file, operation)
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    writer = opened(path)
    writer.write(1, LINES[:1], 1)
    writer.close()
    assert path.read_bytes() == LINES[0]


# --- trouble while writing


class Pwrite:
    """A disk that takes so many more bytes, a few at a time, then fails."""

    def __init__(self, room: int, error: int, at_once: int = 1 << 30) -> None:
        self.room, self.error, self.at_once = room, error, at_once
        self._pwrite = os.pwrite

    def __call__(self, file: int, data: Any, position: int) -> int:
        size = min(len(data), self.room, self.at_once)
        if size == 0:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= size
        return self._pwrite(file, data[:size], position)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("room", range(0, 19, 3))
def test_a_full_disk_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, room: int, error: int) -> None:
    disk = Pwrite(room, error)
    monkeypatch.setattr(os, "pwrite", disk)
    writer = opened(path)
    with pytest.raises(DiskFullError, match=r"out\.txt") as full:
        writer.write(1, LINES, 4)
    assert full.value.exit_code == 3
    assert path.read_bytes() == WHOLE[:room]
    assert writer.token() == 0
    disk.room = 1000  # someone made room: the same writer or the next one goes on
    if room % 2:
        writer.write(1, LINES, 4)
    writer.close()
    writer = opened(path)
    writer.write(1, LINES, 4)
    writer.finish()
    writer.close()
    assert path.read_bytes() == WHOLE


def test_what_a_failed_write_left_is_compared_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Pwrite(6, errno.ENOSPC)
    monkeypatch.setattr(os, "pwrite", disk)
    writer = opened(path)
    with pytest.raises(DiskFullError):
        writer.write(1, LINES, 4)
    disk.room = 1000
    with pytest.raises(NonDeterminismError, match=r"output 2, byte 4\b"):
        writer.write(1, [LINES[0], b"else\n"], 2)
    writer.close()
    assert path.read_bytes() == WHOLE[:6]


def test_partial_writes_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", Pwrite(1000, errno.EIO, at_once=3))
    writer = opened(path)
    writer.write(1, LINES, 4)
    writer.close()
    assert path.read_bytes() == WHOLE


def test_one_write_is_one_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    positions = []
    pwrite = os.pwrite

    def noted(file: int, data: bytes, position: int) -> int:
        positions.append(position)
        return pwrite(file, data, position)

    monkeypatch.setattr(os, "pwrite", noted)
    writer = opened(path)
    writer.write(1, LINES[:2], 2)
    writer.write(3, LINES[2:], 2)
    writer.close()
    assert positions == [0, 8]


def test_an_error_of_the_device_is_the_sinks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", Pwrite(5, errno.EIO))
    writer = opened(path)
    with pytest.raises(SinkError, match=r"out\.txt"):
        writer.write(1, LINES, 4)
    writer.close()


def test_after_a_failed_sync_nothing_succeeds_any_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(file: int) -> None:
        raise OSError(errno.EIO, "lost")

    writer = opened(path)
    writer.write(1, LINES[:1], 1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(SinkError, match="lost"):
            writer.sync()
    with pytest.raises(SinkError):
        writer.sync()
    with pytest.raises(SinkError):
        writer.write(2, LINES[1:2], 1)
    with pytest.raises(SinkError):
        writer.finish()
    writer.close()


def test_opening_in_vain_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "short").write_bytes(b"a")
    os.mkfifo(tmp_path / "pipe")
    for path, token in ((tmp_path / "short", 5), (tmp_path / "pipe", 0), (tmp_path, 0)):
        with pytest.raises((OutputShortError, UsageError)):
            opened(path, token)
    assert len(os.listdir("/proc/self/fd")) == before
