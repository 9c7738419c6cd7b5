r"""Standard input as a source: its lines, as they come, until it ends.

What was logged is never lost; what the pipe held when the process died is its sender's. With `repeats` the sender
gives the same lines again at every start, as `zcat file |` does, and those that were logged are skipped. Within one
process every reader goes on where the last offset is: what was taken from the pipe and not logged is kept.
Invariant of the stream: `_kept` are the lines numbered from `_first` on, and `_begun` the bytes behind them.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import xxhash

from holdfast.connectors import lines
from holdfast.connectors.gate import Gate
from holdfast.connectors.interface import Block
from holdfast.connectors.line_files import checked_encoding
from holdfast.connectors.record_times import RecordTimes
from holdfast.connectors.text_file import TextDecoder, raw_lines
from holdfast.core.connector import Undecodable
from holdfast.core.errors import InputChangedError, UsageError
from holdfast.core.serial_order import ONLY_PARTITION
from holdfast.core.types import TypeRegistry

_FILE = 0
_READ_BYTES = 1 << 16
# Kept for a return to the last logged line: more than can have been taken and not be logged.
_KEPT_BYTES = 32 << 20
_KEPT_BLOCKS = 64


class Stdin:
    r"""Live: the lines of standard input, each a str without its "\n", until it ends.

    With `repeats=True` standard input gives the same lines again at every start, and what was read is skipped;
    otherwise what comes after a restart follows what was read before it. `time` gives a record's time in Unix
    milliseconds.
    """

    live = True

    def __init__(
        self, *, repeats: bool = False, encoding: str = "utf-8", time: Callable[[str], int] | None = None
    ) -> None:
        self._repeats = repeats
        self._text = TextDecoder(checked_encoding(encoding))
        self._times = None if time is None else RecordTimes(time)
        self._stream: Stream | None = None  # once something was opened

    def bind(self, registry: TypeRegistry) -> None:
        """Lines hold no values, so no types are needed."""

    def partitions(self) -> list[str]:
        return [ONLY_PARTITION]

    def open(self, partition: str, offset: object | None) -> StdinReader:
        number, digest = (0, 0) if offset is None else _unpacked(offset)
        skips = self._repeats and self._stream is None
        if self._stream is None:
            self._stream = Stream(0 if self._repeats else number)
        return StdinReader(self._stream, number, digest if self._repeats else None, skips=skips)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return lines.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[str | Undecodable]:
        records = self._text.records(raw)
        if self._times is not None:
            self._times.mark(records, lambda index: raw_lines(raw)[index])
        return records

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return None if self._times is None else self._times.times(records)


def _unpacked(offset: object) -> tuple[int, int]:
    assert isinstance(offset, list | tuple), offset
    number, digest = offset
    return number, digest


class Stream:
    """What came through standard input of this process."""

    def __init__(self, first: int) -> None:
        self._first = first  # number of the first line kept, from 0
        self._kept: deque[tuple[bytes, int]] = deque()  # blocks of whole lines, with their number
        self._kept_bytes = 0
        self._begun = b""
        self.ended = False
        self._lock = threading.Lock()

    def block_at(self, number: int, stop: int) -> tuple[bytes, int] | None:
        """The lines from a number on that are there or come next; None at the end, or once `stop` is readable."""
        with self._lock:
            while (found := self._kept_at(number)) is None:
                if self.ended or not self._take(stop):
                    return None
            return found

    def _kept_at(self, number: int) -> tuple[bytes, int] | None:
        if number < self._first:
            raise InputChangedError("standard input: what was read of it and is not logged is no longer kept")
        start = self._first
        for raw, count in self._kept:
            if number < start + count:
                skipped = lines.length_of(raw, number - start) if number > start else 0
                return raw[skipped:], count - (number - start)
            start += count
        return None

    def _take(self, stop: int) -> bool:
        """Read what comes; whether anything did, the end included."""
        ready, _, _ = select.select([_FILE, stop], [], [])
        if stop in ready:
            return False
        data = os.read(_FILE, _READ_BYTES)
        end = data.rfind(b"\n") + 1
        if not data:
            self.ended = True
            raw, self._begun = self._begun, b""
        elif end:
            raw, self._begun = self._begun + data[:end], data[end:]
        else:
            raw, self._begun = b"", self._begun + data
        if raw:
            self._kept.append((raw, lines.count_lines(raw, 0, len(raw))))
            self._kept_bytes += len(raw)
            while len(self._kept) > _KEPT_BLOCKS and self._kept_bytes - len(self._kept[0][0]) > _KEPT_BYTES:
                dropped, count = self._kept.popleft()
                self._kept_bytes -= len(dropped)
                self._first += count
        return True


class StdinReader:
    """Reads on after a line. Offset: [lines before it, digest of these, 0 where they don't come again]."""

    def __init__(self, stream: Stream, number: int, digest: int | None, *, skips: bool) -> None:
        self._stream = stream
        self._covered = number
        self._digest = digest  # of what lies before `_covered`
        self._number = 0 if skips else number  # of the next line to take
        self._given = lines.GivenLines()
        self._stop, self._stopper = os.pipe()
        self._gate = Gate(self._let_go, wake=lambda: os.write(self._stopper, b"x"))
        self._skipped = 0  # digest of what was skipped

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        with self._gate.inside() as enters:
            try:
                return self._read(records_max) if enters else None
            except OSError as error:
                raise UsageError(f"standard input can't be read: {error.strerror}") from error

    def _read(self, records_max: int | None) -> Block | None:
        while self._number < self._covered:
            if not self._skip_some():
                return None
        found = self._stream.block_at(self._number, self._stop)
        if found is None:
            return None
        raw, count = found
        if records_max is not None and records_max < count:
            raw, count = raw[: lines.length_of(raw, records_max)], records_max
        self._number += count
        self._given.add(raw, count)
        return Block(raw, count, ended=False)

    def _skip_some(self) -> bool:
        """Pass over lines that were logged in an earlier life, and compare them with what they were."""
        found = self._stream.block_at(self._number, self._stop)
        if found is None:
            if self._stream.ended:
                raise InputChangedError(
                    f"standard input gave {self._covered} lines in an earlier run, now only {self._number}"
                )
            return False
        raw, count = found
        if self._number + count > self._covered:
            count = self._covered - self._number
            raw = raw[: lines.length_of(raw, count)]
        self._skipped = _digest(raw, self._skipped)
        self._number += count
        if self._number == self._covered and self._skipped != self._digest:
            raise InputChangedError(f"standard input differs within the first {self._covered} lines, which were read")
        return True

    def offset_after(self, count: int) -> object:
        number = self._given.taken
        for raw in self._given.take(count):
            if self._digest is not None:
                self._digest = _digest(raw, self._digest)
        self._covered += count - number
        return [self._covered, self._digest or 0]

    def close(self) -> None:
        self._gate.close()

    def _let_go(self) -> None:
        os.close(self._stop)
        os.close(self._stopper)


def _digest(raw: bytes, digest: int) -> int:
    """The digest of lines behind others: a chain, so that it goes on from its last link, wherever blocks end."""
    for line in raw_lines(raw):
        digest = xxhash.xxh3_64_intdigest(line, digest)
    return digest
