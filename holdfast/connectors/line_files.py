"""What text files and JSON-lines files share: finding the files, reading blocks of lines, resuming in them.

A partition is one file; its name is its path as it was given. A raw block is exactly the file's bytes.
Invariant of a reader: the bytes before `_read_to` were given, except those in `_buffer` from `_start` on.
How the bytes of a line become a record is the matter of the two kinds.
"""

from __future__ import annotations

import codecs
import glob
import os
import stat
import time as clock
from collections.abc import Callable
from typing import Any

from holdfast.connectors import lines
from holdfast.connectors.file_offsets import SEGMENT_BYTES, Chain, FileLooks, FileOffset
from holdfast.connectors.interface import Block
from holdfast.connectors.record_times import RecordTimes
from holdfast.core.errors import ApplicationError, InputChangedError, ProcessingError, UsageError
from holdfast.core.types import TypeRegistry

# One read call: large enough that its price per line vanishes, small enough to stay in the processor's cache.
READ_BYTES = 256 * 1024

# Encodings in which a line can't be decoded without those before it, or which are none of text.
_NOT_BY_LINE = frozenset({"utf-7", "utf-8-sig", "hz", "idna", "punycode", "undefined", "raw-unicode-escape"})
_NOT_BY_LINE_PREFIXES = ("iso2022",)


class LineFiles:
    """The files of one source; `decode` is left to the kinds."""

    live = False

    def __init__(
        self, paths: tuple[str | os.PathLike[str], ...], encoding: str, time: Callable[[Any], int] | None
    ) -> None:
        if not paths:
            raise ApplicationError(f"sources.{type(self).__name__} needs at least one path")
        self.paths = tuple(_checked_path(path) for path in paths)
        self.encoding = checked_encoding(encoding)
        self._times = None if time is None else RecordTimes(time)

    def bind(self, registry: TypeRegistry) -> None:
        """Lines hold no values, so no types are needed."""

    def partitions(self) -> list[str]:
        """The files in the order given, matches of a glob sorted; a path that comes twice counts once."""
        found: dict[str, str] = {}
        for path in self.paths:
            for match in _matches(path):
                _check_input(match)
                found.setdefault(os.path.abspath(match), match)
        return list(found.values())

    def open(self, partition: str, offset: object | None) -> LineReader:
        return LineReader(partition, None if offset is None else FileOffset.unpacked(offset))

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return lines.cut(raw, start, size)

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return None if self._times is None else self._times.times(records)


def checked_encoding(encoding: str) -> str:
    """The encoding's own name; ApplicationError unless lines can be cut before they are decoded."""
    try:
        codec = codecs.lookup(encoding)
        newline = "\n".encode(codec.name)
    except (LookupError, TypeError, ValueError):
        raise ApplicationError(f"encoding {encoding!r} is not an encoding of text that Python knows") from None
    if newline != b"\n" or codec.name in _NOT_BY_LINE or codec.name.startswith(_NOT_BY_LINE_PREFIXES):
        raise ApplicationError(
            f"encoding {encoding!r} can't be read line by line: its newline is not the single byte 0x0A, or "
            "a line depends on those before it; convert the file to UTF-8 first"
        )
    return codec.name


def _checked_path(path: str | os.PathLike[str]) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ApplicationError(f"the path of an input is a str or a Path, not {path!r}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ApplicationError(f"the path {path!r} is not UTF-8 and can't name a partition") from None
    return text


def _matches(path: str) -> list[str]:
    if not any(character in path for character in "*?[") or os.path.lexists(path):
        return [path]
    # Folders match "**" and "*" as a matter of course; nobody means to read one.
    matches = sorted(match for match in glob.glob(path, recursive=True) if not os.path.isdir(match))
    if not matches:
        raise UsageError(f"input {path!r} matches no file")
    return [_checked_path(match) for match in matches]


def _check_input(path: str) -> None:
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
    _check_input(path)
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
        self._given.add(raw, count)
        return Block(raw, count, self._all_given)

    @property
    def _all_given(self) -> bool:
        return self._exhausted and self._start == len(self._buffer)

    def _end_of_block(self, records_max: int | None, bytes_max: int) -> tuple[int, int | None]:
        """Where in the buffer the next block ends, its start when the file holds nothing more; its lines if known."""
        if records_max is not None:
            stop = min(len(self._buffer), self._start + bytes_max)
            end = lines.end_of_lines(self._buffer, records_max, self._start, stop)
            if end > 0:
                return end, records_max
        while len(self._buffer) - self._start < bytes_max and not self._exhausted:
            self._fill(max(READ_BYTES, bytes_max))
        stop = min(len(self._buffer), self._start + bytes_max)
        if records_max is not None:
            end = lines.end_of_lines(self._buffer, records_max, self._start, stop)
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
