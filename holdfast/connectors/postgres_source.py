"""Rows of a PostgreSQL table as a source, by a rising column.

Numbers of a sequence are given out before the rows with them are committed, so that a lower one may appear after a
higher one was read. Invariant: rows are read up to a value only when every transaction that could still bring one
below it has ended. These are the ones that held the table's lock for writing when the value was first seen: an INSERT
takes that lock before its number and keeps it until it has committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.connectors import postgres
from holdfast.connectors.polling import PollingSource, Row, UnavailableError
from holdfast.connectors.postgres import Connection, Loader, psycopg
from holdfast.connectors.row_frames import RowFrames
from holdfast.connectors.table_rows import quoted
from holdfast.core.errors import UsageError, ValueTypeError

_TEXTS = ("text", "varchar", "bpchar", "name")


class PostgreSQLSource(PollingSource):
    """Live: the rows that a table has and gets, each a dict from column to value, in the order of a rising column.

    `rising` names a column whose values the table itself gives out in rising order at each INSERT: an identity or
    serial column. `columns` are those wanted, all by default. `poll` is how many seconds to wait when there is no new
    row, `patience` how many a server that is gone is tried again. `time` gives a row's time in Unix milliseconds.
    """

    def __init__(
        self,
        conninfo: str,
        table: str,
        rising: str = "id",
        *,
        columns: Sequence[str] | None = None,
        poll: float = 0.05,
        patience: float = 60.0,
        time: Callable[[dict[str, Any]], int] | None = None,
    ) -> None:
        super().__init__(table, rising, columns, poll=poll, patience=patience, time=time)
        self.conninfo = postgres.checked(conninfo)

    def check(self) -> None:
        connection = postgres.connected_at_start(self.conninfo)
        try:
            postgres.check_columns(connection, self.table, [self.rising, *(self.columns or [])])
            if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
                raise UsageError("this server is a standby, which does not know who is writing: read from the primary")
        except psycopg.Error as error:
            raise UsageError(f"table {self.table!r} can't be read: {postgres.one_line(error)}") from error
        finally:
            connection.close()

    def rows(self) -> PostgreSQLRows:
        return PostgreSQLRows(self)


class PostgreSQLRows:
    """The rows as one reader asks for them. The connection is made when it is needed, and anew when it is lost."""

    def __init__(self, source: PostgreSQLSource) -> None:
        self._conninfo = source.conninfo
        self._frames: RowFrames = source.frames
        self._name = source.table
        self._table = postgres.quoted_table(source.table)
        self._rising = quoted(source.rising)
        self._columns = "*" if source.columns is None else ", ".join(map(quoted, source.columns))
        self._connection: Connection | None = None
        self._bound: Any = None  # up to this value nothing can come any more, once the writers have ended
        self._writers: set[str] = set()

    def after(self, value: Any, limit: int) -> list[Row]:
        try:
            if self._connection is None:
                self._connection = _connected(self._conninfo)
            return self._after(self._connection, value, limit)
        except psycopg.Error as error:
            self.close()
            if postgres.is_lost(error):
                raise UnavailableError(postgres.one_line(error)) from error
            raise postgres.failure(f"table {self._name!r}", error) from error

    def _after(self, connection: Connection, value: Any, limit: int) -> list[Row]:
        if self._bound is None:
            self._set_bound(connection, value)
        if self._bound is None or self._are_at_work(connection):
            return []
        condition, values = ("", ()) if value is None else (f"{self._rising} > %s AND ", (value,))
        cursor = connection.execute(
            f"SELECT {self._rising}, {self._columns} FROM {self._table} "
            f"WHERE {condition}{self._rising} <= %s ORDER BY {self._rising} LIMIT %s".encode(),
            (*values, self._bound, limit),
        )
        columns = [column.name for column in cursor.description or ()][1:]
        found = [self._row(columns, row) for row in cursor.fetchall()]
        if len(found) < limit:
            self._bound = None  # all of it was read
        return found

    def _set_bound(self, connection: Connection, value: Any) -> None:
        """The greatest value there is, then who was writing: whoever comes later gets a greater one."""
        condition, values = ("", ()) if value is None else (f" WHERE {self._rising} > %s", (value,))
        select = f"SELECT max({self._rising}) FROM {self._table}{condition}"
        ((self._bound,),) = connection.execute(select.encode(), values).fetchall()
        if self._bound is not None:
            self._writers = self._writing(connection)

    def _are_at_work(self, connection: Connection) -> bool:
        """Whether a transaction is under way that could bring a value below the bound."""
        if self._writers:
            self._writers &= self._writing(connection)
        return bool(self._writers)

    def _writing(self, connection: Connection) -> set[str]:
        found = connection.execute(
            "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND relation = to_regclass(%s)",
            (self._table,),
        )
        return {str(transaction) for (transaction,) in found}

    def _row(self, columns: list[str], found: Sequence[Any]) -> Row:
        value, *fields = found
        row = dict(zip(columns, fields, strict=True))
        try:
            "".join([field for field in found if type(field) is str]).encode()
            return Row(self._frames.frame(row), value)
        except UnicodeEncodeError:
            problem = "the row holds text that is not UTF-8"
        except ValueTypeError as error:
            problem = f"the row holds what is no value: {error}"
        return Row(self._frames.bad_frame(repr(row).encode("utf-8", "backslashreplace"), problem), value)

    def close(self) -> None:
        # The writers that were seen belong to a server that may be restarted: they are looked at anew.
        self._bound, self._writers = None, set()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Text(Loader):
    """Text as it is stored, be it UTF-8 or not: a database may be of an encoding that checks nothing."""

    def load(self, data: Any) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


def _connected(conninfo: str) -> Connection:
    connection = postgres.connected(conninfo)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.execute("SET client_encoding TO 'SQL_ASCII'")  # as it is; the server would refuse to convert it
    for name in _TEXTS:
        connection.adapters.register_loader(name, _Text)
    return connection
