"""A folder that is one process's: its lock, its format and its marks, whatever environments are inside.

    lock            held with flock while a process has the folder open; holds its process id
    format          magic, version and id of the folder
    marks           what the environments held at least (storage.marks)

Invariants: one process at a time has it open. It is created in this order, each step durable before the
next, so a creation that was killed goes on where it stopped. Nothing foreign is ever taken for one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from xxhash import xxh3_64_hexdigest

from holdfast.core.errors import DamagedError, DirectoryInUseError, FormatError, UsageError
from holdfast.storage.files import make_folder, sync_directory, write_error, write_whole
from holdfast.storage.marks import Marks

FORMAT_VERSION = 1
HOLDER_WAIT = 5.0  # seconds: a worker that was told to end needs some
POLL = 0.02  # seconds between two tries to get the lock


@dataclass(frozen=True, slots=True)
class Kind:
    """What a folder is, and the environments inside."""

    what: str
    environments: tuple[str, ...]  # made with the folder, known to its marks
    later: tuple[str, ...] = ()  # made when first asked for, each with a file of marks of its own

    @property
    def magic(self) -> str:
        """The first line of its format."""
        return f"holdfast {self.what}"

    @property
    def names(self) -> frozenset[str]:
        """All that may stand in such a folder."""
        files = ["format", "marks", *map(marks_of, self.later)]
        return frozenset({"lock", *files, *(f"{file}.new" for file in files), *self.environments, *self.later})


DATA = Kind("data directory", ("log", "state"), later=("partitions",))
COORDINATOR = Kind("coordinator directory", ("coordinator",))


def marks_of(environment: str) -> str:
    """The name of the file of marks of an environment that is made later."""
    return f"{environment}.marks"


class DirectoryLock:
    """The flock of a data directory; given back by the operating system however the process ends."""

    def __init__(self, folder: Path, *, wait: float, only_read: bool = False) -> None:
        """`only_read` is for who changes nothing, and may find the folder where nothing can be changed."""
        self._path = folder / "lock"
        self._only_read = only_read
        deadline = time.monotonic() + wait
        while not self._try():
            if time.monotonic() >= deadline:
                text = self._path.read_text(errors="replace").strip()
                holder = int(text) if text.isdigit() else None
                told = f"the data directory {folder} is in use by process {holder or 'unknown'}"
                raise DirectoryInUseError(told, holder)
            time.sleep(POLL)

    def _try(self) -> bool:
        self._descriptor, writable = self._open()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The folder may have been deleted and made again meanwhile: then this is the lock of nothing.
            if os.fstat(self._descriptor).st_ino == self._path.stat().st_ino:
                if writable:
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

    def _open(self) -> tuple[int, bool]:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), True
        except OSError as error:
            if not self._only_read or error.errno not in (errno.EROFS, errno.EACCES):
                raise
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), False

    def release(self) -> None:
        os.close(self._descriptor)


class Folder:
    """An open folder: its lock is held, its marks can be noted."""

    def __init__(self, path: Path, lock: DirectoryLock, identity: str, marks: Marks) -> None:
        self.path = path
        self.id = identity
        self.marks = marks
        self._lock = lock

    @classmethod
    def open(cls, path: Path, kind: Kind, *, create: bool, wait: float) -> Folder:
        """Open a folder, with `create` also a new one; wait up to `wait` seconds for its holder to end.

        Raises UsageError, DirectoryInUseError, FormatError, DamagedError, DiskFullError, StorageError.
        """
        refuse_foreign(path, kind, create=create)
        try:
            make_folder(path)
            lock = DirectoryLock(path, wait=wait)
        except (NotADirectoryError, PermissionError) as error:
            raise UsageError(f"the {kind.what} {path} can't be made or opened: {error.strerror}") from error
        except OSError as error:
            raise write_error(path, error.errno or 0, str(error)) from error
        try:
            identity = find_out(path, kind)
            if identity is None:
                identity = read_format(path, kind) or _create_format(path, kind)
                Marks.create(path / "marks", kind.environments)
            return cls(path, lock, identity, Marks(path / "marks", kind.environments))
        except OSError as error:
            lock.release()
            raise write_error(path, error.errno or 0, str(error)) from error
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        self.marks.close()
        self._lock.release()


def refuse_foreign(path: Path, kind: Kind, *, create: bool) -> None:
    """Raise UsageError if `path` is something else than a folder of this kind, or without `create` is none."""
    if not path.exists():
        if create:
            return
        raise UsageError(f"there is no {kind.what} at {path}")
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder")
    if (path / "format").exists():
        return
    names = {entry.name for entry in path.iterdir()}
    if not names <= kind.names or (names and "lock" not in names):
        raise UsageError(f"{path} holds other things and is not a {kind.what}; give an empty or a new folder")
    if not create and "marks" not in names:
        raise UsageError(f"there is no {kind.what} at {path}")


def find_out(path: Path, kind: Kind) -> str | None:
    """Return the id of the folder, None if its creation did not come as far as the marks, which are made
    last.
    """
    if (path / "marks").exists():
        identity = read_format(path, kind)
        if identity is None:
            raise DamagedError("format", "the file is missing")
        return identity
    if any((path / name).exists() for name in kind.environments):
        raise DamagedError("marks", "the file is missing")
    return None


def read_format(path: Path, kind: Kind) -> str | None:
    """Return the id of the folder, None if its creation did not come that far."""
    try:
        text = (path / "format").read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None
    body, _, digest = text.rpartition("digest ")
    lines = body.splitlines()
    if digest != xxh3_64_hexdigest(body.encode()) + "\n" or len(lines) < 3:
        raise DamagedError("format", "its digest does not match")
    if lines[0] != kind.magic:
        raise UsageError(f"{path} is a {lines[0].removeprefix('holdfast ')}, not a {kind.what}")
    if lines[1] != f"version {FORMAT_VERSION}":
        raise FormatError(f"{path} has format {lines[1]}, this release of holdfast knows version {FORMAT_VERSION}")
    return lines[2].removeprefix("id ")


def _create_format(path: Path, kind: Kind) -> str:
    identity = uuid4().hex
    body = f"{kind.magic}\nversion {FORMAT_VERSION}\nid {identity}\n"
    write_whole(path / "format", f"{body}digest {xxh3_64_hexdigest(body.encode())}\n".encode())
    sync_directory(path.parent)
    return identity
