"""A full disk is told from other failures, loses nothing, and once there is space again everything goes
on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.core.epochs import Chunk, Epoch, LogEntry
from holdfast.core.errors import DiskFullError
from holdfast.storage import environment
from holdfast.storage.directory import DataDirectory
from holdfast.storage.environment import GRANTS
from holdfast.storage.lmdb_log import RESERVE_SHARE
from holdfast.storage.partition_log import PartitionLog
from tests.repository import ROOT

# Appends until the disk is full, with no more than a limit for a file where there is one; prints the tail.
FILL = """
import resource, sys
from pathlib import Path
from holdfast.core.errors import DiskFullError
from holdfast.storage.directory import DataDirectory
from tests.storage.test_disk_full import append, end, epoch
limit = int(sys.argv[2])
directory = DataDirectory.open(sys.argv[1], create=True)
directory.partitions().adopt(b"one", 1, [(0, 0), (1, 0)])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    while True:
        if sys.argv[3] == "log":
            directory.log.append([epoch(directory.log.tail() + 1)])
        elif sys.argv[3] == "partitions":
            append(directory.partitions())
        else:
            number = directory.state.checkpoint() + 1
            directory.state.stage(number, [epoch(number).chunks[0].raw])
            directory.state.complete(number, b"%d" % number, 0)
except DiskFullError:
    print(directory.log.tail() + end(directory.partitions()), directory.state.checkpoint())
"""
SPACE = 6 << 20


def epoch(number: int) -> Epoch:
    raw = number.to_bytes(4) * 10_000
    return Epoch(number, 1, number, (Chunk(0, number, 1, number, None, False, raw),))


def entry(number: int) -> LogEntry:
    return LogEntry(number, 1, number, replace(epoch(number).chunks[0], first=number - 1))


def end(log: PartitionLog) -> int:
    """The last epoch of the log that is filled."""
    return log.lineages()[0].tail


def append(log: PartitionLog) -> None:
    log.append([entry(end(log) + 1)])


def fill_up(path: Path, what: str, limit: int) -> tuple[int, int]:
    command = [sys.executable, "-c", FILL, str(path), str(limit), what]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)
    assert process.returncode == 0, process.stderr
    tail, checkpoint = process.stdout.split()
    return int(tail), int(checkpoint)


def check_complete(path: Path, tail: int, checkpoint: int) -> None:
    with DataDirectory.open(path, create=False) as directory:
        log, logs = directory.log, directory.partitions()
        assert (log.tail() + end(logs), directory.state.checkpoint()) == (tail, checkpoint)
        for number in range(1, log.tail() + 1):
            assert log.read(number - 1, 1) == [epoch(number)]
        for number in range(1, end(logs) + 1):
            assert logs.read(0, number - 1, 1) == [entry(number)]
        assert [chunk for _, chunk in directory.state.chunks()] == [
            epoch(number).chunks[0].raw for number in range(1, checkpoint + 1)
        ]
        log.append([epoch(log.tail() + 1)])
        append(logs)
        logs.adopt(b"two", 2, [(1, 0)])
        directory.state.stage(checkpoint + 1, [b"more"])
        directory.state.complete(checkpoint + 1, b"more", 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("what", ["log", "state", "partitions"])
def test_a_full_file_system_loses_nothing_and_is_no_other_error(small_disk: Path, what: str) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(SPACE // 3))
    tail, checkpoint = fill_up(small_disk / "data", what, 0)
    assert tail + checkpoint > 10

    ballast.unlink()
    check_complete(small_disk / "data", tail, checkpoint)


@pytest.mark.parametrize("filled", ["log", "partitions"])
@pytest.mark.parametrize("what", ["log", "state"])
def test_the_log_leaves_room_for_a_last_checkpoint(small_disk: Path, what: str, filled: str) -> None:
    fill_up(small_disk / "data", filled, 0)
    if what == "log":
        with pytest.raises(DiskFullError):
            fill_and_close(small_disk / "data", filled)
    else:
        with DataDirectory.open(small_disk / "data", create=False) as directory:
            directory.state.stage(1, [bytes(50_000)])
            directory.state.complete(1, b"last", 0)


@pytest.mark.parametrize("filled", ["log", "partitions"])
def test_a_disk_that_others_fill_is_noticed_in_time_for_a_last_checkpoint(small_disk: Path, filled: str) -> None:
    with DataDirectory.open(small_disk / "data", create=True) as directory:
        directory.partitions().adopt(b"one", 1, [(0, 0), (1, 0)])
        append_to(directory, filled)
        free = os.statvfs(small_disk)
        (small_disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - SPACE // RESERVE_SHARE))

        with pytest.raises(DiskFullError, match="bytes are free"):
            for _ in range(GRANTS + 1):
                append_to(directory, filled)
    with DataDirectory.open(small_disk / "data", create=False) as directory:
        directory.state.stage(1, [bytes(50_000)])
        directory.state.complete(1, b"last", 0)


@pytest.mark.parametrize("wanted", [0, 1 << 20], ids=["little", "much"])
def test_one_look_at_the_disk_serves_few_appends_and_little_data(
    wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def free(path: Path) -> int:
        nonlocal looks
        looks += 1
        return 1 << 30

    monkeypatch.setattr(environment, "free_space", free)
    with DataDirectory.open(tmp_path / "data", create=True) as directory:
        log = directory.log
        log.append([epoch(1)])
        opened = looks
        for number in range(2, 2 + 4 * GRANTS):
            log.append([replace(epoch(number), chunks=(replace(epoch(number).chunks[0], raw=bytes(wanted)),))])

    assert looks - opened == 4 if not wanted else looks - opened > 4


def fill_and_close(path: Path, what: str) -> None:
    with DataDirectory.open(path, create=False) as directory:
        append_to(directory, what)


def append_to(directory: DataDirectory, what: str) -> None:
    if what == "log":
        directory.log.append([epoch(directory.log.tail() + 1)])
    else:
        append(directory.partitions())


@pytest.mark.parametrize("what", ["log", "state", "partitions"])
def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path, what: str) -> None:
    tail, checkpoint = fill_up(tmp_path / "data", what, 2 << 20)
    assert tail + checkpoint > 10

    check_complete(tmp_path / "data", tail, checkpoint)
