"""Reading a table by a column that rises: whoever adds rows gives each a greater value than those before.

A partition is the table. Offset: the image of the last row's value in that column. What the database is, and how rows
behind a value are found there, is the matter of `Rows`. A database that does not answer is asked again for a while.
Invariant: rows are given in the order of the column, each once; `_asked_after` is the value of the last one taken.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from holdfast.connectors import framing
from holdfast.connectors.framing import ValueFrames
from holdfast.connectors.gate import Gate
from holdfast.connectors.interface import Block
from holdfast.connectors.row_frames import RowFrames
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError, ProcessingError
from holdfast.core.types import TypeRegistry

# Rows are asked for in pages of about this size.
_PAGE_BYTES = 1 << 20
_PAGE_ROWS_MIN, _PAGE_ROWS_MAX = 16, 4096
_RETRY_SECONDS_MIN, _RETRY_SECONDS_MAX = 0.05, 1.0


class UnavailableError(Exception):
    """The database did not answer; it may later."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: as it is logged, and its value in the rising column."""

    frame: bytes
    value: Any


class Rows(Protocol):
    """The rows of a table, for one thread."""

    def after(self, value: Any, limit: int) -> Sequence[Row]:
        """At most so many rows behind a value (None: from the first on), in the order of the rising column.

        UnavailableError where asking again may help.
        """

    def close(self) -> None:
        """Let go of the connection."""


class PollingSource:
    """Live: the rows of a table, each a dict from column to value."""

    live = True

    def __init__(
        self,
        table: str,
        rising: str,
        columns: Sequence[str] | None,
        *,
        poll: float,
        patience: float,
        time: Callable[[dict[str, Any]], int] | None,
    ) -> None:
        self.table = table
        self.rising = rising
        self.columns = None if columns is None else list(columns)
        for name in (table, rising, *(self.columns or ())):
            if type(name) is not str or not name or "\0" in name:
                raise ApplicationError(f"the name of a table or a column is a str, not {name!r}")
        if isinstance(columns, str) or self.columns == []:
            raise ApplicationError(f"columns= is a list of names, not {columns!r}")
        if not poll > 0 or not patience >= 0:
            raise ApplicationError(f"poll= and patience= are seconds, not {poll!r} and {patience!r}")
        self.poll = poll
        self.patience = patience
        self.frames = RowFrames(time)

    def bind(self, registry: TypeRegistry) -> None:
        """Columns hold plain values, so no types are needed."""

    def partitions(self) -> list[str]:
        self.check()
        return [self.table]

    def check(self) -> None:
        """Raise UsageError where the table can't be read as it was described."""
        raise NotImplementedError

    def rows(self) -> Rows:
        """A connection for one reader."""
        raise NotImplementedError

    def open(self, partition: str, offset: object | None) -> PollingReader:
        return PollingReader(self.rows(), offset, f"table {self.table!r}", poll=self.poll, patience=self.patience)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[dict[str, Any] | Undecodable]:
        return self.frames.decode(raw)

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return self.frames.times(records)


class PollingReader:
    """Asks for rows until there are some."""

    def __init__(self, rows: Rows, offset: object | None, name: str, *, poll: float, patience: float) -> None:
        assert offset is None or type(offset) is bytes, offset
        self._rows = rows
        self._name = name
        self._poll = poll
        self._patience = patience
        self._values = ValueFrames()
        self._offset = offset
        self._asked_after: Any = None if offset is None else self._values.value(offset)
        self._page_rows = _PAGE_ROWS_MIN
        self._taken: deque[Row] = deque()
        self._given: deque[Any] = deque()  # the values of rows given that no offset covers yet
        self._covered = 0
        self._gate = Gate(rows.close)

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        with self._gate.inside() as enters:
            if not enters or not self._wait_for_rows():
                return None
        frames: list[bytes] = []
        size = 0
        while self._taken and (records_max is None or len(frames) < records_max):
            size += len(self._taken[0].frame)
            if frames and size > bytes_max:
                break
            row = self._taken.popleft()
            frames.append(row.frame)
            self._given.append(row.value)
        return Block(b"".join(frames), len(frames), ended=False)

    def _wait_for_rows(self) -> bool:
        """Take rows unless some are there; False when it was closed meanwhile."""
        since = time.monotonic()
        retry = _RETRY_SECONDS_MIN
        while not self._taken and not self._gate.closed.is_set():
            try:
                self._take_page()
            except UnavailableError as error:
                if time.monotonic() - since > self._patience:
                    text = f"{self._name} could not be read for {self._patience:g} s: {error}"
                    raise ProcessingError(text) from error
                self._gate.closed.wait(retry)
                retry = min(2 * retry, _RETRY_SECONDS_MAX)
                continue
            if not self._taken:
                self._gate.closed.wait(self._poll)
            since, retry = time.monotonic(), _RETRY_SECONDS_MIN
        return bool(self._taken)

    def _take_page(self) -> None:
        # One more than is taken: of two rows with the same value both are seen, however pages are cut.
        rows = list(self._rows.after(self._asked_after, self._page_rows + 1))
        for row, following in pairwise(rows):
            if row.value == following.value:
                raise ProcessingError(
                    f"{self._name} has two rows with the value {row.value!r} in its rising column: "
                    "a row that comes later could not be told from them"
                )
        size = sum(len(row.frame) for row in rows)
        if len(rows) > self._page_rows:
            rows.pop()
            self._page_rows = min(self._page_rows * 2, _PAGE_ROWS_MAX)
        if size > _PAGE_BYTES:
            self._page_rows = max(self._page_rows // 4, _PAGE_ROWS_MIN)
        self._taken.extend(rows)
        if rows:
            self._asked_after = rows[-1].value

    def offset_after(self, count: int) -> object:
        value = None
        for _ in range(count - self._covered):
            value = self._given.popleft()
        if count > self._covered:
            self._offset = self._values.image(value)
        self._covered = count
        return self._offset

    def close(self) -> None:
        self._gate.close()
