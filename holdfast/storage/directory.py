"""A data directory: the folder, its lock, its format, and the log and the state inside.

    lock            held with flock while a process has the directory open; holds its process id
    format          magic, version and id of the directory
    marks           what log and state held at least (storage.marks)
    log/ state/     the LMDB environments

Invariants: one process at a time has it open. It is created in this order, each step durable before the
next, so a creation that was killed goes on where it stopped. Nothing foreign is ever taken for a data
directory.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from xxhash import xxh3_64_hexdigest

from holdfast.core.errors import DamagedError, DirectoryInUseError, FormatError, UsageError
from holdfast.storage.environment import Reached
from holdfast.storage.files import make_folder, sync_directory, write_error, write_whole
from holdfast.storage.lmdb_log import LmdbLog, open_log
from holdfast.storage.lmdb_state import LmdbState, open_state
from holdfast.storage.marks import Marks

FORMAT_VERSION = 1
MAGIC = "holdfast data directory"
OWN_NAMES = frozenset({"lock", "format", "format.new", "marks", "marks.new", "log", "state"})
HOLDER_WAIT = 5.0  # seconds: a worker that was told to end needs some
POLL = 0.02  # seconds between two tries to get the lock


class DirectoryLock:
    """The flock of a data directory; given back by the operating system however the process ends."""

    def __init__(self, folder: Path, *, wait: float) -> None:
        self._path = folder / "lock"
        deadline = time.monotonic() + wait
        while not self._try():
            if time.monotonic() >= deadline:
                holder = self._path.read_text(errors="replace").strip()
                raise DirectoryInUseError(f"the data directory {folder} is in use by process {holder or 'unknown'}")
            time.sleep(POLL)

    def _try(self) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The folder may have been deleted and made again meanwhile: then this is the lock of nothing.
            if os.fstat(self._descriptor).st_ino == self._path.stat().st_ino:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(self._descriptor)
            raise
        os.close(self._descriptor)
        return False

    def release(self) -> None:
        os.close(self._descriptor)


class DataDirectory:
    """An open data directory. Use as a context manager or call `close`."""

    def __init__(self, path: Path, lock: DirectoryLock, marks: Marks, log: LmdbLog, state: LmdbState) -> None:
        self.path = path
        self.log = log
        self.state = state
        self._lock = lock
        self._marks = marks

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool,
        wait: float = HOLDER_WAIT,
        sync: bool = True,
        reached: Reached | None = None,
    ) -> DataDirectory:
        """Open a data directory, with `create` also a new one; wait up to `wait` seconds for its holder to
        end.

        For tests: `sync=False` is a planted bug, `reached` is told the points of a commit (see Environment).
        Raises UsageError, DirectoryInUseError, FormatError, DamagedError, DiskFullError, StorageError.
        """
        path = Path(path)
        refuse_foreign(path, create=create)
        try:
            make_folder(path)
            lock = DirectoryLock(path, wait=wait)
        except OSError as error:
            raise write_error(path, error.errno or 0, str(error)) from error
        try:
            return cls._open(path, lock, sync=sync, reached=reached)
        except OSError as error:
            lock.release()
            raise write_error(path, error.errno or 0, str(error)) from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open(cls, path: Path, lock: DirectoryLock, *, sync: bool, reached: Reached | None) -> DataDirectory:
        directory = find_out(path)
        if directory is None:
            directory = read_format(path) or _create_format(path)
            Marks.create(path / "marks")
        marks = Marks(path / "marks")
        log = state = None
        try:
            log = open_log(path / "log", marks, directory, sync=sync, reached=reached)
            state = open_state(path / "state", marks, (FORMAT_VERSION, directory), sync=sync, reached=reached)
            marks.sync()
        except BaseException:
            for opened in (log, state, marks):
                if opened is not None:
                    opened.close()
            raise
        return cls(path, lock, marks, log, state)

    def close(self) -> None:
        self.log.close()
        self.state.close()
        self._marks.close()
        self._lock.release()

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_foreign(path: Path, *, create: bool) -> None:
    """Raise UsageError if `path` is something else than a data directory, or without `create` is none."""
    if not path.exists():
        if create:
            return
        raise UsageError(f"there is no data directory at {path}")
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder")
    if (path / "format").exists():
        return
    names = {entry.name for entry in path.iterdir()}
    if not names <= OWN_NAMES or (names and "lock" not in names):
        raise UsageError(f"{path} holds other things and is not a data directory; give an empty or a new folder")
    if not create and "marks" not in names:
        raise UsageError(f"there is no data directory at {path}")


def find_out(path: Path) -> str | None:
    """Return the id of the directory, None if its creation did not come as far as the marks, which are made
    last.
    """
    if (path / "marks").exists():
        directory = read_format(path)
        if directory is None:
            raise DamagedError("format", "the file is missing")
        return directory
    if (path / "log").exists() or (path / "state").exists():
        raise DamagedError("marks", "the file is missing")
    return None


def read_format(path: Path) -> str | None:
    """Return the id of the directory, None if its creation did not come that far."""
    try:
        text = (path / "format").read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None
    body, _, digest = text.rpartition("digest ")
    lines = body.splitlines()
    if digest != xxh3_64_hexdigest(body.encode()) + "\n" or len(lines) < 3 or lines[0] != MAGIC:
        raise DamagedError("format", "its digest does not match")
    if lines[1] != f"version {FORMAT_VERSION}":
        raise FormatError(f"{path} has format {lines[1]}, this release of holdfast knows version {FORMAT_VERSION}")
    return lines[2].removeprefix("id ")


def _create_format(path: Path) -> str:
    directory = uuid4().hex
    body = f"{MAGIC}\nversion {FORMAT_VERSION}\nid {directory}\n"
    write_whole(path / "format", f"{body}digest {xxh3_64_hexdigest(body.encode())}\n".encode())
    sync_directory(path.parent)
    return directory
