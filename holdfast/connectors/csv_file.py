r"""CSV files as a source: a dict of str for each row, by the names in the file's first row.

A row may go over several lines, inside quotes; the csv module says where it ends. So a raw block is not the
file's bytes but framed rows. Offsets are those of line files: bytes of the file, at ends of rows.
Invariant of a reader: `_row` holds the lines that were taken since the last row ended.
"""

from __future__ import annotations

import csv
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from holdfast.connectors import framing
from holdfast.connectors.file_offsets import FileOffset
from holdfast.connectors.interface import Block
from holdfast.connectors.line_files import LineFiles
from holdfast.connectors.line_reader import READ_BYTES, LineReader
from holdfast.connectors.row_frames import RowFrames
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError, UsageError

# The module's own limit of 128 KiB is in the way of honest fields; without any, a lost quote would take the rest
# of the file into memory. The limit is the process's: it is only ever raised.
FIELD_CHARACTERS_MAX = 1 << 26
_BLOCK_RECORDS = 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CsvFile(LineFiles):
    """Finite: the rows of CSV files, each a dict from column to str.

    The columns are named by a file's first row, or by `columns` where it has no such row. Lines without anything
    are no rows; a row with more or fewer fields than columns is undecodable. `time` as of the other files.
    """

    def __init__(
        self,
        *paths_or_globs: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        delimiter: str = ",",
        quotechar: str = '"',
        encoding: str = "utf-8",
        time: Callable[[dict[str, str]], int] | None = None,
    ) -> None:
        super().__init__(paths_or_globs, encoding, None)
        self._columns = None if columns is None else checked_columns(columns)
        self._format = {"delimiter": delimiter, "quotechar": quotechar, "strict": True}
        try:
            csv.reader([], **self._format)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise ApplicationError(f"sources.Csv: {error}") from None
        self._frames = RowFrames(time)

    def open(self, partition: str, offset: object | None) -> RowReader:
        start = None if offset is None else FileOffset.unpacked(offset)
        return RowReader(partition, start, self._columns, self._format, self.encoding, self._frames)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[dict[str, str] | Undecodable]:
        return self._frames.decode(raw)

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return self._frames.times(records)


def checked_columns(columns: Sequence[str]) -> list[str]:
    """The columns, if they can be told apart."""
    found = list(columns)
    if isinstance(columns, str) or not found or not all(type(name) is str for name in found):
        raise ApplicationError(f"columns= are the names of the columns, a list of str, not {columns!r}")
    twice = _twice(found)
    if twice is not None:
        raise ApplicationError(f"columns= names {twice!r} twice")
    return found


def _twice(names: list[str]) -> str | None:
    return next((name for index, name in enumerate(names) if name in names[:index]), None)


class RowReader(LineReader):
    """One file, open for reading rows."""

    def __init__(
        self,
        path: str,
        offset: FileOffset | None,
        columns: list[str] | None,
        format_: dict[str, Any],
        encoding: str,
        frames: RowFrames,
    ) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARACTERS_MAX))
        super().__init__(path, offset)
        self._encoding = encoding
        self._frames = frames
        self._row: list[bytes] = []
        self._rows = csv.reader(self._texts(), **format_)
        self._sizes: deque[bytes] = deque()  # the bytes of each record given that no offset covers yet
        self._covered = 0
        self._held: tuple[bytes, bytes] | None = None
        try:
            self._columns = columns if columns is not None else self._header(format_)
            self._look_ahead()
        except BaseException:
            self.close()
            raise

    def _header(self, format_: dict[str, Any]) -> list[str]:
        """The names in the first row, which was read already where reading goes on behind it."""
        resumed_at, ended = self._read_to, self._exhausted
        self._read_to, self._exhausted = 0, False
        columns: list[str] = []
        try:
            columns = next((row for row in self._rows if row), [])
        except csv.Error as error:
            raise UsageError(f"input {self._path!r}: its first row, which names the columns: {error}") from None
        twice = _twice(columns)
        if twice is not None:
            raise UsageError(f"input {self._path!r}: its first row names the column {twice!r} twice")
        if any("\udc80" <= character <= "\udcff" for name in columns for character in name):
            raise UsageError(f"input {self._path!r}: its first row is not {self._encoding}")
        if resumed_at:
            self._row.clear()
            self._buffer, self._start, self._read_to, self._exhausted = b"", 0, resumed_at, ended
            self._rows = csv.reader(self._texts(), **format_)
        return columns

    def _texts(self) -> Iterator[str]:
        """The lines that are left, for the csv module, which takes one at a time."""
        while line := self._next_line():
            self._row.append(line)
            # What does not decode comes through, and is found where the row is whole.
            yield line.decode(self._encoding, "surrogateescape")

    def _next_line(self) -> bytes:
        pieces = []
        while (end := self._buffer.find(b"\n", self._start) + 1) == 0:
            pieces.append(self._buffer[self._start :])
            at_start = self._read_to == 0
            self._buffer, self._start = self._next_bytes(READ_BYTES), 0
            if at_start and self._encoding == "utf-8" and self._buffer.startswith(_BYTE_ORDER_MARK):
                self._row.append(_BYTE_ORDER_MARK)
                self._start = len(_BYTE_ORDER_MARK)
            if not self._buffer:
                return b"".join(pieces)
        pieces.append(self._buffer[self._start : end])
        self._start = end
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]

    def _look_ahead(self) -> None:
        """Take the next row, so that the last one is known to be the last."""
        self._held = None
        while True:
            try:
                fields = next(self._rows, None)
                error = ""
            except csv.Error as problem:
                fields, error = [], str(problem)
            if fields is None:
                return
            if fields or error:
                break
        raw, self._row = b"".join(self._row), []
        self._held = raw, self._frame(fields, error, raw)

    def _frame(self, fields: list[str], error: str, raw: bytes) -> bytes:
        if not error and len(fields) != len(self._columns):
            error = f"the row has {len(fields)} fields, there are {len(self._columns)} columns"
        if not error and not raw.isascii():
            try:
                raw.decode(self._encoding)
            except UnicodeDecodeError as problem:
                error = str(problem)
        if error:
            return self._frames.bad_frame(raw, error)
        return self._frames.frame(dict(zip(self._columns, fields, strict=True)))

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        frames: list[bytes] = []
        size = 0
        wanted = min(records_max or _BLOCK_RECORDS, _BLOCK_RECORDS)
        while self._held is not None and len(frames) < wanted:
            raw, frame = self._held
            size += len(frame)
            if frames and size > bytes_max:
                break
            frames.append(frame)
            self._sizes.append(raw)
            self._look_ahead()
        return Block(b"".join(frames), len(frames), self._held is None) if frames else None

    def offset_after(self, count: int) -> object:
        for _ in range(count - self._covered):
            self._chain.update(self._sizes.popleft())
        self._covered = count
        ended = self._held is None and not self._sizes
        return FileOffset(self._chain.position, self._chain.chain, self._chain.partial, self._seen, ended).packed()
