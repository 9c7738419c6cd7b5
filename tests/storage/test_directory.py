"""A data directory is one process's, is never anything else, and survives a kill while it is created."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from xxhash import xxh3_64_hexdigest

from holdfast.core.errors import DamagedError, DirectoryInUseError, FormatError, StorageError, UsageError
from holdfast.storage import directory as directory_module
from holdfast.storage.directory import DataDirectory
from holdfast.storage.inspection import inspect, to_json, to_lines
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore
from tests.repository import ROOT
from tests.storage.contents import epoch, fill

HOLD = """
import sys
from holdfast.storage.directory import DataDirectory
with DataDirectory.open(sys.argv[1], create=True):
    print("open", flush=True)
    sys.stdin.read()
"""
STORAGE = str(Path(directory_module.__file__).parent)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the data directory open until its stdin ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_directory_in_use_is_refused_and_the_holder_named(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DirectoryInUseError, match=f"process {holder.pid}"):
        DataDirectory.open(tmp_path / "data", create=True, wait=0.05)
    with pytest.raises(DirectoryInUseError, match=f"process {holder.pid}"):
        inspect(tmp_path / "data")


def test_open_waits_until_the_holder_has_ended(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    holder.stdin.close()

    with DataDirectory.open(tmp_path / "data", create=True, wait=30) as opened:
        assert opened.state.identity().incarnation == 2


def test_a_killed_holder_leaves_no_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()

    DataDirectory.open(tmp_path / "data", create=True, wait=30).close()


@pytest.mark.parametrize("names", [["notes.txt"], ["lock", "notes.txt"], ["log"], ["state", "marks"]])
@pytest.mark.parametrize("create", [True, False])
def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path, names: list[str], create: bool) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")

    with pytest.raises(UsageError):
        DataDirectory.open(tmp_path, create=create)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(names)


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(UsageError, match="not a folder"):
        DataDirectory.open(tmp_path / "file", create=True)


def test_what_is_not_there_is_only_made_when_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data directory"):
        DataDirectory.open(tmp_path / "none", create=False)
    with pytest.raises(UsageError, match="no data directory"):
        inspect(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []

    DataDirectory.open(tmp_path / "some" / "where", create=True).close()


def test_a_format_of_another_version_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    file = tmp_path / "data" / "format"
    body = file.read_text().rpartition("digest ")[0].replace("version 1", "version 2")
    file.write_text(f"{body}digest {xxh3_64_hexdigest(body.encode())}\n")

    with pytest.raises(FormatError, match="version 2"):
        DataDirectory.open(tmp_path / "data", create=True)


def test_a_damaged_format_is_no_other_version(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    file = tmp_path / "data" / "format"
    file.write_text(file.read_text().replace("version 1", "version 2"))

    with pytest.raises(DamagedError, match="format"):
        DataDirectory.open(tmp_path / "data", create=True)


def test_a_write_that_fails_for_other_reasons_than_space_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        DataDirectory.open(tmp_path / "data", create=True)


def test_the_points_of_a_commit_are_told(tmp_path: Path) -> None:
    points: list[str] = []
    with DataDirectory.open(tmp_path / "data", create=True, reached=points.append) as opened:
        points.clear()
        opened.log.append([epoch(1)])
        opened.state.put_meta("name", 1)

    assert points == [f"{name}: {when} commit" for name in ("log", "state") for when in ("before", "after")]


def test_what_can_not_be_changed_can_be_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, open_ = tmp_path / "data", os.open
    fill(path)

    def read_only(name: Any, flags: int, mode: int = 0o777, **given: Any) -> int:
        if Path(name).is_relative_to(path) and flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))
        return open_(name, flags, mode, **given)

    before = (path / "lock").read_bytes()
    monkeypatch.setattr(os, "open", read_only)

    assert to_lines(inspect(path))[-1] == "every digest matches"
    assert (path / "lock").read_bytes() == before
    with pytest.raises(StorageError, match="Read-only"):
        DataDirectory.open(path, create=False)


def test_inspect_tells_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    before = {p: p.read_bytes() for p in (tmp_path / "data").rglob("*.mdb")}

    report = inspect(tmp_path / "data", meta=("application", "nothing"))

    assert report.problems == []
    assert (report.base, report.tail, report.checkpoint, report.generation) == (20, 60, 2, 3)
    assert report.meta == {"application": "app"}
    assert [(part.index, part.records, part.held, part.ended) for part in report.partitions] == [
        (0, 180, 120, False),
        (4, 20, 14, True),
    ]
    assert report.checkpoints == [(1, 4, 7510), (2, 4, 7510)]
    assert report.rows == {step: sum(n % 3 == step and n % 7 != 0 for n in range(600)) for step in range(3)}
    assert (report.prepared, report.adopted) == (3, 3)
    assert [(log.partition, log.held, log.adopted) for log in report.partition_logs] == [
        (0, True, 3),
        (1, True, 3),
        (2, False, 0),
        (3, True, 3),
    ]
    assert to_lines(report)[-1] == "every digest matches"
    assert to_json(report)["tail"] == 60
    assert {p: p.read_bytes() for p in before} == before
    with DataDirectory.open(tmp_path / "data", create=False) as opened:
        logs = opened.partitions()
        assert [log.rows for log in report.partition_logs] == [len(list(logs.rows(p))) for p in range(4)]
        assert sum(log.entry_bytes for log in report.partition_logs) == logs.size().entry_bytes


def open_data(path: Path) -> None:
    DataDirectory.open(path, create=True, wait=0).partitions()


def open_coordinator(path: Path) -> None:
    LmdbCoordinatorStore.open(path, create=True, wait=0)


def kill_at_line(path: Path, nth: int, opening: Callable[[Path], None] = open_data) -> bool:
    """Open `path` in a child that is gone before the nth line of storage's code; return whether it ended
    before.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal seen
            if not frame.f_code.co_filename.startswith(STORAGE):
                return None
            seen += event == "line"
            if seen >= nth:
                os._exit(9)
            return trace

        sys.settrace(trace)
        opening(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def killed_creations_are_completed(tmp_path: Path, stride: int) -> int:
    """Kill a creation at every `stride`-th line, and the second attempt at another one; return how many were
    killed.
    """
    nth = 1
    while not kill_at_line(tmp_path / f"data-{nth}", nth):
        path = tmp_path / f"data-{nth}"
        if nth % 2:
            kill_at_line(path, nth * 7 % 211 + 1)
        if path.exists() and any(path.iterdir()):
            assert all("missing" not in problem for problem in inspect_if_begun(path))
        with DataDirectory.open(path, create=True, wait=0) as opened:
            opened.log.append([epoch(1)])
            opened.partitions().adopt(b"one", 1, [(0, 0)])
        with DataDirectory.open(path, create=False, wait=0) as opened:
            assert opened.log.read(0, 1) == [epoch(1)]
            assert opened.partitions().adopted() == (1, b"one")
        nth += stride
    return nth // stride


def inspect_if_begun(path: Path) -> list[str]:
    try:
        return inspect(path).problems
    except UsageError:
        return []


def test_a_creation_killed_anywhere_is_completed(tmp_path: Path) -> None:
    assert killed_creations_are_completed(tmp_path, stride=11) > 20


def test_a_coordinators_creation_killed_anywhere_is_completed(tmp_path: Path) -> None:
    nth = 1
    while not kill_at_line(tmp_path / f"store-{nth}", nth, open_coordinator):
        with LmdbCoordinatorStore.open(tmp_path / f"store-{nth}", create=True, wait=0) as store:
            assert store.life() in (1, 2)
            store.put(b"record")
        with LmdbCoordinatorStore.open(tmp_path / f"store-{nth}", create=False, wait=0) as store:
            assert store.record() == b"record"
        nth += 7

    assert nth > 100


@pytest.mark.nightly
def test_a_creation_killed_at_any_line_is_completed(tmp_path: Path) -> None:
    assert killed_creations_are_completed(tmp_path, stride=1) > 200


def test_a_directory_of_one_worker_has_no_partition_log_until_it_is_asked_for(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data", create=True) as opened:
        assert not (tmp_path / "data" / "partitions").exists()
        assert opened.partitions() is opened.partitions()
    assert (tmp_path / "data" / "partitions").exists()

    assert inspect(tmp_path / "data").problems == []


def test_a_coordinators_directory_is_no_data_directory(tmp_path: Path) -> None:
    LmdbCoordinatorStore.open(tmp_path / "coordinator", create=True).close()
    DataDirectory.open(tmp_path / "data", create=True).close()

    with pytest.raises(UsageError, match="is a coordinator directory, not a data directory"):
        DataDirectory.open(tmp_path / "coordinator", create=True)
    with pytest.raises(UsageError, match="is a data directory, not a coordinator directory"):
        LmdbCoordinatorStore.open(tmp_path / "data", create=True)
