"""Putting outputs into a file exactly once: compare what stands, append what is missing.

The token of a checkpoint is the file's length at its cut. Up to it the file is durable and never looked at
again. Behind it may stand what was delivered later, before a crash; the same bytes are generated again and
compared. Invariants: [0, _position) holds the outputs up to `_number`; [_position, _standing) stood before
and is still to be regenerated; nothing is ever written over bytes that differ, except over a torn tail:
differing bytes that all read NUL are blocks that a power loss left unwritten. Who owns a file is the data
directory's matter.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from typing import Any

from holdfast.core.errors import (
    DiskFullError,
    HoldfastError,
    NonDeterminismError,
    OutputExistsError,
    OutputHeldError,
    OutputShortError,
    ProcessingError,
    SinkError,
    UsageError,
)

# Memory bound of reading back what stands behind the last output.
_READ_BYTES = 1 << 20

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})


def failure(name: str, error: OSError) -> ProcessingError:
    """The error of ours for a failed write."""
    if error.errno in _NO_SPACE:
        return DiskFullError(f"no space left to write {name}")
    return SinkError(f"{name} can't be written: {error.strerror or error}")


def _unopened(name: str, error: OSError) -> HoldfastError:
    """The error of ours for a file, or its folder, that can't be opened."""
    if error.errno in _NO_SPACE:
        return failure(name, error)
    hint = "; raise that limit (ulimit -n), or use fewer partitions" if error.errno in _TOO_MANY else ""
    return UsageError(f"{name} can't be opened: {error.strerror}{hint}")


class FileWriter:
    """One output file, open and locked."""

    def __init__(self, path: str, token: object | None, number: int, owned: bool) -> None:
        assert token is None or type(token) is int, token
        length = 0 if token is None else token
        self._path = path
        self._name = f"output file {path!r}"
        self._failed: ProcessingError | None = None
        self._file = self._open_locked(length, owned)
        try:
            self._standing = os.fstat(self._file).st_size
            if self._standing < length:
                raise OutputShortError(
                    f"{self._name} is shorter than at the checkpoint: {self._standing} bytes of {length}"
                )
        except BaseException:
            os.close(self._file)
            raise
        self._position = length
        self._number = number  # of the last output before `_position`

    def _open_locked(self, length: int, owned: bool) -> int:
        """The file at the path, locked; created where there is nothing to resume."""
        while True:
            file = self._open(length, owned)
            try:
                self._lock(file)
                # Before it was locked, its holder may have put another file in this place.
                if self._stands_at_path(file):
                    if length == 0:
                        self._sync_folder()
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _open(self, length: int, owned: bool) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        if not owned:
            flags |= os.O_CREAT | os.O_EXCL
        elif length == 0:
            flags |= os.O_CREAT
        try:
            file = os.open(self._path, flags, 0o666)
        except FileExistsError:
            raise OutputExistsError(
                f"{self._name} exists and is not this application's; remove it or write somewhere else"
            ) from None
        except IsADirectoryError:
            raise UsageError(f"{self._name} is a directory") from None
        except FileNotFoundError:
            if flags & os.O_CREAT:
                raise UsageError(f"{self._name} can't be created: its folder is missing") from None
            raise OutputShortError(f"{self._name} is missing; {length} bytes were delivered") from None
        except OSError as error:
            raise _unopened(self._name, error) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise UsageError(f"{self._name} is not a regular file: what it holds can't be compared after a crash")
        return file

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputHeldError(f"{self._name} is being written by another process or sink") from None
        except OSError as error:
            raise failure(self._name, error) from error

    def _stands_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(file))
        except FileNotFoundError:
            return False

    def _sync_folder(self) -> None:
        # A created file survives a power loss only with its entry; of a link, that is where it leads.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
        try:
            folder = os.open(os.path.dirname(os.path.realpath(self._path)), flags)
        except OSError as error:
            raise _unopened(self._name, error) from error
        try:
            os.fsync(folder)
        except OSError as error:
            raise failure(self._name, error) from error
        finally:
            os.close(folder)

    def write(self, first_number: int, payload: Any, count: int) -> None:
        """Compare with what stands, append the rest. `payload`: the outputs' bytes, in one or many pieces."""
        assert first_number == self._number + 1, (first_number, self._number)
        self._check_sound()
        data = payload if type(payload) is bytes else b"".join(payload)
        if self._position < self._standing:
            self._write_over_standing(data, first_number, payload, count)
        else:
            self._pwrite(data, self._position)
        self._position += len(data)
        self._number += count

    def _write_over_standing(self, data: bytes, first_number: int, payload: Any, count: int) -> None:
        stands = self._pread(min(len(data), self._standing - self._position), self._position)
        if data.startswith(stands):
            self._pwrite(memoryview(data)[len(stands) :], self._position + len(stands))
            return
        offset = next((i for i, byte in enumerate(stands) if byte != data[i] and byte != 0), None)
        if offset is not None:
            number = first_number + _outputs_before(offset, data, payload, count)
            place = f"output {number}, byte {self._position + offset}"
            raise NonDeterminismError(f"{self._name}: {place}: what is generated differs from what was delivered")
        self._pwrite(data, self._position)

    def _pread(self, size: int, position: int) -> bytes:
        pieces = []
        while size:
            try:
                piece = os.pread(self._file, size, position)
            except OSError as error:
                raise SinkError(f"{self._name} can't be read back: {error.strerror}") from error
            if not piece:
                break
            pieces.append(piece)
            position += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _pwrite(self, data: bytes | memoryview, position: int) -> None:
        rest = memoryview(data)
        while len(rest):
            try:
                written = os.pwrite(self._file, rest, position)
            except OSError as error:
                raise failure(self._name, error) from error
            rest = rest[written:]
            position += written
            # Also where the next piece fails: what was written stands, and is compared should it come again.
            self._standing = max(self._standing, position)

    def token(self) -> int:
        return self._position

    def sync(self) -> None:
        self._check_sound()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # The kernel reports a lost page once: a second call would succeed without it.
            self._failed = failure(self._name, error)
            raise self._failed from error

    def _check_sound(self) -> None:
        if self._failed is not None:
            raise self._failed

    def finish(self) -> None:
        """Nothing may stand behind the last output but a torn tail, which is cut off."""
        self._check_sound()
        position = self._position
        while piece := self._pread(_READ_BYTES, position):
            if piece.count(0) != len(piece):
                raise NonDeterminismError(
                    f"{self._name}: more was delivered than is generated now; the last output is number "
                    f"{self._number} and ends at byte {self._position}"
                )
            position += len(piece)
        if position > self._position:
            try:
                os.ftruncate(self._file, self._position)
            except OSError as error:
                raise failure(self._name, error) from error
        self._standing = self._position

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _outputs_before(offset: int, data: bytes, payload: Sequence[bytes] | bytes, count: int) -> int:
    """How many outputs of the payload end before the offset: by its pieces, else by lines."""
    if isinstance(payload, bytes) or len(payload) != count:
        return min(data.count(b"\n", 0, offset), count - 1)
    end = 0
    for index, piece in enumerate(payload):
        end += len(piece)
        if offset < end:
            return index
    raise AssertionError(offset)
