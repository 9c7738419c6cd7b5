"""Rows of an SQLite table as a sink: the rows and their number in one transaction.

Exactly once: a transaction is there as a whole or not at all, and the number in it says what is there. It moves on
from the number this process knows, or nothing is written: a process that was given up for dead and goes on writing
finds that it has moved.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from holdfast.connectors.line_files import checked_path
from holdfast.connectors.sqlite_source import check_columns, connected
from holdfast.connectors.table_rows import NUMBERS, TableRows, quoted, strangers
from holdfast.core.errors import DiskFullError, OutputExistsError, SinkError, UsageError

_INT_END = 1 << 63
# How long another process may hold the database before the run ends; whoever holds it for longer has forgotten it.
_BUSY_SECONDS = 30.0


class SQLiteSink:
    """Writes each output, a dict or a sequence of the columns' values, as a row of a table, exactly once.

    With `key` a row takes the place of the one with the same values in these columns, which the table must have
    declared unique. The table must exist; the number of the last output stands in the table `holdfast_sinks`
    beside it, under `name`, by default the table's name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str,
        columns: Sequence[str],
        *,
        key: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        self._path = checked_path(path)
        self._rows = TableRows(table, columns, key, name, field)
        self._insert = self._rows.insert(quoted(table), "?")
        self._owner = ""
        self._connection: sqlite3.Connection | None = None

    def encode(self, value: object, /) -> tuple[Any, ...]:
        """The row of an output."""
        return self._rows.row(value)

    def claim(self, owner: str) -> None:
        """Whose outputs come."""
        self._owner = owner

    def resume(self, partition: str, token: object, /) -> int:
        """The number that stands beside the rows."""
        self.close()
        self._connection = connected(self._path, "rw", _BUSY_SECONDS)
        try:
            check_columns(self._connection, self._path, self._rows.table, self._rows.columns)
            # At every commit all is on the disk, the folder's entry of the journal included.
            self._connection.execute("PRAGMA synchronous = EXTRA")
            return self._number()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _number(self) -> int:
        assert self._connection is not None
        name = self._rows.name
        columns = "sink TEXT PRIMARY KEY, owner TEXT NOT NULL, number INTEGER NOT NULL"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {NUMBERS} ({columns})")
        self._connection.execute(f"INSERT OR IGNORE INTO {NUMBERS} VALUES (?, ?, 0)", (name, self._owner))
        owner, number = self._connection.execute(
            f"SELECT owner, number FROM {NUMBERS} WHERE sink = ?", (name,)
        ).fetchone()
        if owner != self._owner:
            raise OutputExistsError(strangers(name, owner, f"database {self._path!r}"))
        self._check_key()
        return int(number)

    def _check_key(self) -> None:
        """Have the statement understood before the first output comes."""
        assert self._connection is not None
        try:
            self._connection.execute(f"EXPLAIN {self._insert}", (None,) * len(self._rows.columns)).close()
        except sqlite3.OperationalError as error:
            raise UsageError(f"table {self._rows.table!r} of database {self._path!r}: {error}") from error

    def write(self, partition: str, first_number: int, outputs: Sequence[tuple[Any, ...]], /) -> None:
        """The rows and their number, both or neither; those that are there already are left out."""
        assert self._connection is not None
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                present = self._present(first_number - 1)
                self._insert_all(first_number + present, outputs[present:])
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _present(self, before: int) -> int:
        """How many outputs there are behind those: a process that was given up for dead may have written them."""
        assert self._connection is not None
        select = f"SELECT number FROM {NUMBERS} WHERE sink = ? AND owner = ?"
        found = self._connection.execute(select, (self._rows.name, self._owner)).fetchone()
        if found is None:
            raise SinkError(f"{self._place}: somebody else writes outputs of sink {self._rows.name!r}")
        number = int(found[0])
        if number < before:
            raise SinkError(f"{self._place} has {number} outputs; {before} were written")
        return number - before

    def _insert_all(self, first_number: int, outputs: Sequence[tuple[Any, ...]]) -> None:
        assert self._connection is not None
        update = f"UPDATE {NUMBERS} SET number = number + ? WHERE sink = ?"
        self._connection.execute(update, (len(outputs), self._rows.name))
        for number, row in enumerate(outputs, first_number):
            try:
                self._connection.execute(self._insert, row)
            except (sqlite3.IntegrityError, sqlite3.DataError) as error:
                raise SinkError(f"{self._place} does not take output {number}: {error}") from error

    @property
    def _place(self) -> str:
        return f"table {self._rows.table!r} of database {self._path!r}"

    def _failure(self, error: sqlite3.Error) -> SinkError | DiskFullError:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return DiskFullError(f"no space left to write {self._place}")
        return SinkError(f"{self._place} can't be written: {error}")

    def flush(self, partition: str, /) -> None:
        """What is committed is durable."""

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def field(value: object) -> object:
    """A value as SQLite holds it; raises for what it would change or refuse."""
    if value is None or isinstance(value, bytes | bool):
        return value
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8
        return value
    if isinstance(value, int):
        if not -_INT_END <= value < _INT_END:
            raise OverflowError(f"{value} does not fit into the 64 bits that SQLite has for an int")
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("SQLite has no NaN: it would be stored as NULL")
        return value
    raise TypeError(f"SQLite holds None, bool, int, float, str and bytes, not {type(value).__name__}")
