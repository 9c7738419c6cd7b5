"""One file read in blocks of lines, from an offset on, with the proof that what was read before is unchanged.

Invariant: the bytes before `_read_to` were given, except those in `_buffer` from `_start` on.
"""

from __future__ import annotations

import os
import stat
import time as clock

from holdfast.connectors import lines
from holdfast.connectors.file_offsets import SEGMENT_BYTES, Chain, FileLooks, FileOffset
from holdfast.connectors.interface import Block
from holdfast.core.errors import InputChangedError, ProcessingError, UsageError

# One read call: large enough that its price per line vanishes, small enough to stay in the processor's cache.
READ_BYTES = 256 * 1024
# More than lines took so far that is read ahead of a block, so that they seldom take more.
_MARGIN = 1.0625


def check_input(path: str) -> None:
    """Raise UsageError unless a regular file stands at the path."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"input {path!r} is missing") from None
    except OSError as error:
        raise UsageError(f"input {path!r} can't be read: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"input {path!r} is a directory; name its files, for example {os.path.join(path, '*')!r}")
    if not stat.S_ISREG(mode):
        raise UsageError(f"input {path!r} is not a regular file: a pipe, socket or device can't be read again")


def _open_input(path: str) -> int:
    check_input(path)
    try:
        # O_NONBLOCK: should the file have become a pipe meanwhile, opening it must not wait for a writer.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UsageError(f"input {path!r} is missing") from None
    except OSError as error:
        raise UsageError(f"input {path!r} can't be read: {error.strerror}") from error


class LineReader:
    """One file, open for reading lines."""

    def __init__(self, path: str, offset: FileOffset | None) -> None:
        self._path = path
        self._file = _open_input(path)
        try:
            # Taken before anything is read: a change during the reading makes the file look different
            # afterwards.
            looks = FileLooks.of(os.fstat(self._file))
            self._seen = looks if looks.settled(clock.time_ns()) else None
            self._chain = Chain() if offset is None else self._verified(offset, looks)
        except BaseException:
            os.close(self._file)
            raise
        self._read_to = self._chain.position  # bytes of the file that were read
        self._buffer = b""
        self._start = 0  # bytes of the buffer that were given
        self._exhausted = offset is not None and offset.ended  # the end of the file was met
        self._given = lines.GivenLines()
        self._line_bytes = lines.LINE_BYTES_GUESS  # about the length of a line

    def _verified(self, offset: FileOffset, looks: FileLooks) -> Chain:
        """The chain up to the offset, read again as far as it must be; InputChangedError when it differs."""
        if looks.size < offset.position:
            raise InputChangedError(
                f"input {self._path!r} is shorter than what was read of it: "
                f"{looks.size} bytes now, {offset.position} were read"
            )
        begun = offset.position - offset.position % SEGMENT_BYTES
        if offset.seen == looks:
            chain = Chain(begun, offset.chain)
        else:
            chain = Chain()
            while chain.position < begun:
                chain.update(self._read_exactly(chain.position, SEGMENT_BYTES))
        if chain.chain == offset.chain:
            chain.update(self._read_exactly(begun, offset.position - begun))
            if chain.partial == offset.partial:
                return chain
        raise InputChangedError(
            f"input {self._path!r} was changed: its first {offset.position} bytes are not what was read"
        )

    def _read_exactly(self, position: int, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._pread(size, position)
            if not piece:
                raise InputChangedError(f"input {self._path!r} became shorter while it was read")
            pieces.append(piece)
            position += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _pread(self, size: int, position: int) -> bytes:
        try:
            return os.pread(self._file, size, position)
        except OSError as error:
            raise ProcessingError(f"input {self._path!r} can't be read: {error.strerror}") from error

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        assert bytes_max > 0, bytes_max
        end, count = self._end_of_block(records_max, bytes_max)
        if end == self._start:
            return None
        raw = self._buffer[self._start : end]
        self._start = end
        if end == len(self._buffer):
            # Read on now, so that the last block of a file is known to be the last.
            self._fill(READ_BYTES)
        if count is None:
            count = lines.count_lines(raw, 0, len(raw))
        self._line_bytes = len(raw) / count
        self._given.add(raw, count)
        return Block(raw, count, self._all_given)

    @property
    def _all_given(self) -> bool:
        return self._exhausted and self._start == len(self._buffer)

    def _end_of_block(self, records_max: int | None, bytes_max: int) -> tuple[int, int | None]:
        """Where in the buffer the next block ends, its start when the file holds nothing more; its lines if known."""
        if records_max is not None:
            # As much as they probably take, but hardly more: looking for them in less would be in vain.
            likely = min(int(records_max * self._line_bytes * _MARGIN), bytes_max)
            if len(self._buffer) - self._start < likely:
                self._fill(max(READ_BYTES, likely) + self._start - len(self._buffer))
            stop = min(len(self._buffer), self._start + bytes_max)
            end = lines.end_of_lines(self._buffer, records_max, self._start, stop, self._line_bytes)
            if end > 0:
                return end, records_max
        while len(self._buffer) - self._start < bytes_max and not self._exhausted:
            self._fill(max(READ_BYTES, bytes_max))
        stop = min(len(self._buffer), self._start + bytes_max)
        if records_max is not None:
            end = lines.end_of_lines(self._buffer, records_max, self._start, stop, self._line_bytes)
            if end > 0:
                return end, records_max
        if self._exhausted and stop == len(self._buffer):
            return stop, None
        end = self._buffer.rfind(b"\n", self._start, stop) + 1
        return (end if end > 0 else self._end_of_long_line(stop)), None

    def _end_of_long_line(self, searched: int) -> int:
        """Where the line ends that fills all of the buffer up to `searched`; reads on as far as it takes."""
        pieces = [self._buffer[self._start :]]
        searched -= self._start
        size = 0
        while True:
            end = pieces[-1].find(b"\n", searched) + 1
            if end > 0 or self._exhausted:
                break
            size += len(pieces[-1])
            searched = 0
            pieces.append(self._next_bytes(READ_BYTES))
        self._buffer, self._start = b"".join(pieces), 0
        return size + end if end > 0 else len(self._buffer)

    def _fill(self, size: int) -> None:
        self._buffer = self._buffer[self._start :] + self._next_bytes(size)
        self._start = 0

    def _next_bytes(self, size: int) -> bytes:
        if self._exhausted:
            return b""
        data = self._pread(size, self._read_to)
        self._read_to += len(data)
        if not data:
            self._exhausted = True
            if os.fstat(self._file).st_size < self._read_to:
                raise InputChangedError(f"input {self._path!r} became shorter while it was read")
        return data

    def offset_after(self, count: int) -> object:
        for raw in self._given.take(count):
            self._chain.update(raw)
        ended = self._all_given and count == self._given.given
        return FileOffset(self._chain.position, self._chain.chain, self._chain.partial, self._seen, ended).packed()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
