"""Rows of an SQLite table as a source, by a rising column."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

from holdfast.connectors.line_files import checked_path
from holdfast.connectors.polling import PollingSource, Row, UnavailableError
from holdfast.connectors.row_frames import RowFrames
from holdfast.connectors.table_rows import quoted
from holdfast.core.errors import ProcessingError, UsageError

# How long a lock of another process is waited for inside a statement.
_BUSY_SECONDS = 5.0


class SQLiteSource(PollingSource):
    """Live: the rows that a table has and gets, each a dict from column to value, in the order of a rising column.

    `rising` names a column in which every new row has a greater value than all before, such as an
    `INTEGER PRIMARY KEY AUTOINCREMENT`. `columns` are those wanted, all by default. `poll` is how many seconds to
    wait when there is no new row, `patience` how many a database that does not answer is asked again. `time` gives
    a row's time in Unix milliseconds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str,
        rising: str = "id",
        *,
        columns: Sequence[str] | None = None,
        poll: float = 0.05,
        patience: float = 60.0,
        time: Callable[[dict[str, Any]], int] | None = None,
    ) -> None:
        super().__init__(table, rising, columns, poll=poll, patience=patience, time=time)
        self.path = checked_path(path)

    def check(self) -> None:
        with closing(connected(self.path, "ro", _BUSY_SECONDS)) as connection:
            check_columns(connection, self.path, self.table, [self.rising, *(self.columns or [])])

    def rows(self) -> SQLiteRows:
        return SQLiteRows(self)


class SQLiteRows:
    """The rows as one reader asks for them. The connection is made when it is first needed, in the reader's thread."""

    def __init__(self, source: SQLiteSource) -> None:
        self._path = source.path
        self._frames: RowFrames = source.frames
        columns = "*" if source.columns is None else ", ".join(map(quoted, source.columns))
        table, rising = quoted(source.table), quoted(source.rising)
        self._statement = (
            f"SELECT {rising}, {columns} FROM {table} WHERE {rising} {{}} ORDER BY {rising} LIMIT ?"
        )
        self._connection: sqlite3.Connection | None = None

    def after(self, value: Any, limit: int) -> list[Row]:
        try:
            if self._connection is None:
                self._connection = connected(self._path, "ro", _BUSY_SECONDS)
                self._connection.text_factory = _text
            if value is None:
                cursor = self._connection.execute(self._statement.format("IS NOT NULL"), (limit,))
            else:
                cursor = self._connection.execute(self._statement.format("> ?"), (value, limit))
            with closing(cursor):
                columns = [column for column, *_ in cursor.description[1:]]
                return [self._row(columns, found) for found in cursor.fetchall()]
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise UnavailableError(str(error)) from error
            raise ProcessingError(f"{self._path}: {error}") from error
        except sqlite3.Error as error:
            raise ProcessingError(f"{self._path}: {error}") from error

    def _row(self, columns: list[str], found: tuple[Any, ...]) -> Row:
        value, *fields = found
        try:
            "".join([field for field in found if type(field) is str]).encode()
        except UnicodeEncodeError:
            raw = repr(dict(zip(columns, fields, strict=True))).encode("utf-8", "backslashreplace")
            return Row(self._frames.bad_frame(raw, "the row holds text that is not UTF-8"), value)
        return Row(self._frames.frame(dict(zip(columns, fields, strict=True))), value)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(raw: bytes) -> str:
    """Text as it was stored, be it UTF-8 or not."""
    return raw.decode("utf-8", "surrogateescape")


def connected(path: str, mode: str, busy_seconds: float) -> sqlite3.Connection:
    """A connection to a database that exists; UsageError where there is none."""
    if not os.path.exists(path):
        raise UsageError(f"database {path!r} is missing")
    address = f"file:{quote(os.path.abspath(path))}?mode={mode}"
    try:
        connection = sqlite3.connect(
            address, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise UsageError(f"database {path!r} can't be opened: {error}") from error
    return connection


def check_columns(connection: sqlite3.Connection, path: str, table: str, columns: Sequence[str]) -> None:
    """Raise UsageError unless the table is there and has the columns."""
    try:
        found = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({quoted(table)})")]
    except sqlite3.Error as error:
        raise UsageError(f"database {path!r} can't be read: {error}") from error
    if not found:
        raise UsageError(f"database {path!r} has no table {table!r}: create it first")
    for column in columns:
        if column not in found:
            raise UsageError(f"table {table!r} of database {path!r} has no column {column!r}, only {', '.join(found)}")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the database."""
    code = error.sqlite_errorcode & 0xFF if hasattr(error, "sqlite_errorcode") else 0
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
