"""Rows of a PostgreSQL table as a sink: the rows and their number in one transaction.

Exactly once: a transaction is there as a whole or not at all, and the number in it says what is there. Whenever the
connection is lost, whether the last commit came through is found by asking for the number. A transaction begins by
moving the number on from where it stood, so that of two that want the same place one finds it taken and asks again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from holdfast.connectors import postgres
from holdfast.connectors.postgres import Connection, Jsonb, errors, psycopg
from holdfast.connectors.table_rows import NUMBERS, TableRows, strangers
from holdfast.core.errors import OutputExistsError, SinkError, UsageError

T = TypeVar("T")

_PLAIN = (bool, int, float, bytes, Decimal, date, datetime, time_of_day, timedelta, UUID)


class PostgreSQLSink:
    """Writes each output, a dict or a sequence of the columns' values, as a row of a table, exactly once.

    With `key` a row takes the place of the one with the same values in these columns, which the table must have
    declared unique. The table must exist; the number of the last output stands in the table `holdfast_sinks` beside
    it, under `name`, by default the table's name. A dict goes into a JSON column, a list into an array. `patience`
    is how many seconds a server that is gone is tried again.
    """

    def __init__(
        self,
        conninfo: str,
        table: str,
        columns: Sequence[str],
        *,
        key: Sequence[str] = (),
        name: str | None = None,
        patience: float = 60.0,
    ) -> None:
        self._conninfo = postgres.checked(conninfo)
        self._rows = TableRows(table, columns, key, name, field)
        self._table = postgres.quoted_table(table)
        self._insert = self._rows.insert(self._table, "%s")
        self._patience = patience
        self._owner = ""
        self._place = f"table {table!r}"
        self._connection: Connection | None = None
        self._was_connected = False

    def encode(self, value: object, /) -> tuple[Any, ...]:
        """The row of an output."""
        return self._rows.row(value)

    def claim(self, owner: str) -> None:
        """Whose outputs come."""
        self._owner = owner

    # --- resuming

    def resume(self, partition: str, token: object, /) -> int:
        """The number that stands beside the rows."""
        self.close()
        if not self._was_connected:
            self._connection = postgres.connected_at_start(self._conninfo)
            self._was_connected = True
        return self._persist(self._begin)

    def _begin(self, connection: Connection) -> int:
        postgres.check_columns(connection, self._rows.table, self._rows.columns)
        try:
            nothing = self._rows.insert(self._table, "NULL")
            connection.execute(f"EXPLAIN {nothing}".encode())
        except psycopg.ProgrammingError as error:
            raise UsageError(f"{self._place}: {postgres.one_line(error)}") from error
        self._make_numbers(connection)
        insert = f"INSERT INTO {NUMBERS} VALUES (%s, %s, 0) ON CONFLICT DO NOTHING"
        connection.execute(insert.encode(), (self._rows.name, self._owner))
        return self._number(connection)

    def _make_numbers(self, connection: Connection) -> None:
        # Asked first: who may not create tables may still use one that is there.
        if connection.execute("SELECT to_regclass(%s)", (NUMBERS,)).fetchone() != (None,):
            return
        columns = "sink text PRIMARY KEY, owner text NOT NULL, number bigint NOT NULL"
        try:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {NUMBERS} ({columns})".encode())
        except (errors.UniqueViolation, errors.DuplicateTable):
            pass  # another sink was faster
        except psycopg.ProgrammingError as error:
            raise UsageError(f"the table {NUMBERS} can't be made: {postgres.one_line(error)}") from error

    def _number(self, connection: Connection) -> int:
        # With the row's lock: a transaction of a process that was killed may still be on its way.
        select = f"SELECT owner, number FROM {NUMBERS} WHERE sink = %s FOR UPDATE"
        found = connection.execute(select.encode(), (self._rows.name,)).fetchone()
        if found is None:
            raise SinkError(f"{self._place}: the row of sink {self._rows.name!r} is gone from {NUMBERS}")
        owner, number = found
        if owner != self._owner:
            raise OutputExistsError(strangers(self._rows.name, str(owner), "this database"))
        assert isinstance(number, int)
        return number

    # --- writing

    def write(self, partition: str, first_number: int, outputs: Sequence[tuple[Any, ...]], /) -> None:
        """The rows and their number, both or neither; those that are there already are left out."""
        rows = [tuple(map(_adapted, row)) for row in outputs]
        before = first_number - 1
        asks = False  # whether what is there may be more than what was written by this call

        def attempt(connection: Connection) -> None:
            nonlocal asks
            number = self._number(connection) if asks else before
            asks = True
            if number < before:
                raise SinkError(f"{self._place} has {number} outputs; {before} were written")
            if number < before + len(rows):
                self._write_behind(connection, number, rows[number - before :])

        self._persist(attempt)

    def _write_behind(self, connection: Connection, number: int, rows: Sequence[tuple[Any, ...]]) -> None:
        update = f"UPDATE {NUMBERS} SET number = number + %s WHERE sink = %s AND owner = %s AND number = %s"
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(update.encode(), (len(rows), self._rows.name, self._owner, number))
            if cursor.rowcount != 1:
                raise _MovedError
            try:
                cursor.executemany(self._insert.encode(), rows)
            except (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError):
                raise _RefusedError(number, rows) from None

    def _persist(self, attempt: Callable[[Connection], T]) -> T:
        """Do it, on new connections as long as it takes and patience lasts."""
        since = time.monotonic()
        wait = postgres.RETRY_SECONDS_MIN
        while True:
            try:
                if self._connection is None:
                    self._connection = postgres.connected(self._conninfo)
                return attempt(self._connection)
            except _MovedError:
                reason = "the number moved while it was written"
            except _RefusedError as refused:
                raise self._refusal(refused) from None
            except psycopg.Error as error:
                self.close()
                if not postgres.is_lost(error):
                    raise postgres.failure(self._place, error, SinkError) from error
                reason = postgres.one_line(error)
            if time.monotonic() - since > self._patience:
                raise SinkError(f"{self._place} could not be written for {self._patience:g} s: {reason}")
            time.sleep(wait)
            wait = min(2 * wait, postgres.RETRY_SECONDS_MAX)

    def _refusal(self, refused: _RefusedError) -> SinkError:
        """Which output it was: one by one, and all taken back."""
        try:
            with postgres.connected(self._conninfo) as connection, connection.transaction(force_rollback=True):
                for number, row in enumerate(refused.rows, refused.number + 1):
                    try:
                        connection.execute(self._insert.encode(), row)
                    except psycopg.Error as error:
                        return SinkError(f"{self._place} does not take output {number}: {postgres.one_line(error)}")
        except psycopg.Error:
            pass  # the server went: which of them it was remains unsaid
        return SinkError(f"{self._place} does not take one of {len(refused.rows)} outputs behind {refused.number}")

    def flush(self, partition: str, /) -> None:
        """What is committed is durable."""

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _MovedError(Exception):
    """The number is not what it was thought to be."""


class _RefusedError(Exception):
    """The table does not take one of these rows."""

    def __init__(self, number: int, rows: Sequence[tuple[Any, ...]]) -> None:
        self.number = number  # of outputs before them
        self.rows = rows


def field(value: object) -> object:
    """A value that a column can hold; raises for any other."""
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("PostgreSQL has no text with a NUL character")
        value.encode()  # a lone surrogate has no UTF-8
        return value
    if isinstance(value, list):
        return [field(item) for item in value]
    if isinstance(value, dict):
        if "\\u0000" in json.dumps(value):
            raise ValueError("PostgreSQL has no JSON with a NUL character")
        return value
    raise TypeError(
        "PostgreSQL takes None, bool, int, float, str, bytes, Decimal, UUID, dates and times, lists of these, "
        f"and dicts as JSON, not {type(value).__name__}"
    )


def _adapted(value: object) -> object:
    """The value as the driver takes it."""
    return Jsonb(value) if isinstance(value, dict) else value
