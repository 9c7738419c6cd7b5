"""Following a file that grows: its complete lines are given as they come, and it never ends.

Invariant: a line is given once its newline stands in the file; what is begun behind it waits. A file that became
shorter, or another one in its place, is an error: what was appended to the old one could no longer be told.
"""

from __future__ import annotations

import os
import threading

from holdfast.connectors import lines
from holdfast.connectors.file_offsets import FileOffset
from holdfast.connectors.interface import Block
from holdfast.connectors.line_reader import READ_BYTES, LineReader
from holdfast.core.errors import InputChangedError

# How soon what was appended is seen: at once while lines come, rarely while none do.
_WAIT_SECONDS_MIN = 0.001
_WAIT_SECONDS_MAX = 0.05


class FollowingReader(LineReader):
    """One file, open for reading the lines it has and those that it gets. Closed from any thread."""

    def __init__(self, path: str, offset: FileOffset | None) -> None:
        super().__init__(path, offset)
        if offset is not None and offset.position and self._pread(1, offset.position - 1) != b"\n":
            super().close()
            raise InputChangedError(
                f"input {path!r} was read to its end, and its last line has no newline: what is appended can't be told "
                "from that line. To follow it, let it end with a newline and start anew with --fresh"
            )
        self._exhausted = False  # where it ended for a reader that does not follow, it goes on
        self._searched = 0  # bytes of the buffer that hold no end of the line that stands at `_start`
        self._closed = threading.Event()
        self._reading = threading.Lock()  # held while the file is used, so that `close` does not take it away

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        assert bytes_max > 0, bytes_max
        wait = _WAIT_SECONDS_MIN
        while (end := self._end_of_whole_lines(records_max, bytes_max)) == self._start:
            if self._grow():
                wait = _WAIT_SECONDS_MIN
            elif self._closed.wait(wait):
                return None
            else:
                wait = min(2 * wait, _WAIT_SECONDS_MAX)
        raw = self._buffer[self._start : end]
        self._start = self._searched = end
        count = lines.count_lines(raw, 0, len(raw))
        self._given.add(raw, count)
        return Block(raw, count, ended=False)

    def _end_of_whole_lines(self, records_max: int | None, bytes_max: int) -> int:
        """Where the next block ends; its start when no whole line is there."""
        stop = min(len(self._buffer), self._start + bytes_max)
        if records_max is not None:
            end = lines.end_of_lines(self._buffer, records_max, self._start, stop)
            if end > 0:
                return end
        end = self._buffer.rfind(b"\n", self._start, stop) + 1
        if end == 0:  # a single line longer than the block
            end = self._buffer.find(b"\n", max(self._searched, stop)) + 1
            self._searched = len(self._buffer)
        return end if end > 0 else self._start

    def _grow(self) -> bool:
        """Read what was appended; whether there was anything."""
        with self._reading:
            if self._closed.is_set():
                return False
            # What is begun is copied each time: by reading as much as it is, a long line is not copied too often.
            data = self._next_bytes(max(READ_BYTES, len(self._buffer) - self._start))
            if not data:
                self._exhausted = False
                self._check_in_place()
                return False
        self._searched -= self._start
        self._buffer = self._buffer[self._start :] + data
        self._start = 0
        return True

    def _check_in_place(self) -> None:
        try:
            stands = os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            stands = False
        if not stands:
            raise InputChangedError(
                f"input {self._path!r} was moved, removed or replaced while it was followed: "
                "what was read stays, but what is appended now can't be found"
            )

    def close(self) -> None:
        self._closed.set()
        with self._reading:
            super().close()
