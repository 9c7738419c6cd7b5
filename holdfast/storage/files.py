"""What is done to plain files and folders so that it survives power loss, and what their errors mean."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryFile

from holdfast.core.errors import DiskFullError, HoldfastError, StorageError

# An LMDB commit on a full disk fails with EIO (from a short write): that it is full is seen by asking for
# this much.
PROBE = 4 << 20
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_directory(folder.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file durably: it is there whole or not at all."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(path)
    sync_directory(path.parent)


def free_space(path: Path) -> int:
    """Return the bytes that may still be written to the file system of `path`."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def total_space(path: Path) -> int:
    """Return the size of the file system of `path`."""
    status = os.statvfs(path)
    return status.f_blocks * status.f_frsize


def write_error(path: Path, code: int, text: str) -> HoldfastError:
    """Return the error that a failed write to the folder `path` with errno `code` means."""
    if code in NO_SPACE or (code == errno.EIO and not _can_grow(path)):
        return DiskFullError(f"no space left for {path}: {text}")
    return StorageError(f"writing {path} failed: {text}")


def _can_grow(path: Path) -> bool:
    """Find out whether a file in `path` could grow behind the end of the largest one there."""
    try:
        largest = max((file.stat().st_size for file in path.iterdir()), default=0)
        with TemporaryFile(dir=path) as probe:
            os.posix_fallocate(probe.fileno(), largest, PROBE)
    except OSError as error:
        return error.errno not in NO_SPACE
    return True
