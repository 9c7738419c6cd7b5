"""Connections to PostgreSQL: made through psycopg, made again while a server is restarted, and errors told apart.

The driver is an extra of the package; without it the first use of a PostgreSQL connector says so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from holdfast.core.errors import ApplicationError, DiskFullError, ProcessingError, UsageError

try:
    import psycopg as psycopg
    from psycopg import conninfo as _conninfo
    from psycopg import errors as errors
    from psycopg.adapt import Loader as Loader
    from psycopg.types.json import Jsonb as Jsonb
except ImportError as error:
    raise ApplicationError(
        f"PostgreSQL needs the driver psycopg ({error}): pip install 'holdfast[postgres]'"
    ) from None

# Of a server that is not there when a run begins: long enough for one that is being started beside it.
START_SECONDS = 5.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.05, 1.0
# A peer that is gone without a word is noticed after about half a minute, where the user's own settings don't differ.
_SETTINGS = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
    "application_name": "holdfast",
}

Connection = psycopg.Connection[tuple[object, ...]]


def checked(conninfo: str) -> str:
    """The connection string with our settings where it has none of its own."""
    try:
        own = _conninfo.conninfo_to_dict(conninfo)
    except (TypeError, psycopg.Error) as error:
        raise ApplicationError(f"this is no connection string of PostgreSQL: {str(error).strip()}") from None
    missing = {name: value for name, value in _SETTINGS.items() if name not in own}
    return _conninfo.make_conninfo(conninfo, **missing)


def connected(conninfo: str) -> Connection:
    """A connection that commits each statement unless told otherwise; times come as UTC, text as UTF-8."""
    connection = psycopg.connect(conninfo, autocommit=True, client_encoding="utf8")
    try:
        connection.execute("SET TimeZone TO 'UTC'")
        # What was committed must be there after a crash of the server as well.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def connected_at_start(conninfo: str) -> Connection:
    """The same, for a server that may just be starting; UsageError if it can't be reached."""
    deadline = time.monotonic() + START_SECONDS
    wait = RETRY_SECONDS_MIN
    while True:
        try:
            return connected(conninfo)
        except psycopg.OperationalError as error:
            if not may_come(error) or time.monotonic() > deadline:
                raise UsageError(f"no connection to PostgreSQL: {one_line(error)}") from error
        time.sleep(wait)
        wait = min(2 * wait, RETRY_SECONDS_MAX)


def may_come(error: psycopg.Error) -> bool:
    """Whether waiting for a server may help, rather than another password or name."""
    text = str(error)
    return not any(
        sign in text for sign in ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password")
    )


def is_lost(error: psycopg.Error) -> bool:
    """Whether the same may succeed later, on this connection or on another."""
    if isinstance(error, errors.DiskFull | errors.QueryCanceled):
        return False
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def failure(place: str, error: psycopg.Error, kind: type[ProcessingError] = ProcessingError) -> ProcessingError:
    """The error of ours for one that stays."""
    if isinstance(error, errors.DiskFull):
        return DiskFullError(f"no space left to write {place}: {one_line(error)}")
    return kind(f"{place}: {one_line(error)}")


def one_line(error: Exception) -> str:
    """The text of an error without its further lines, which repeat the statement."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def quoted_table(table: str) -> str:
    """A table's name, with its schema if it has one, as SQL takes it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


def check_columns(connection: Connection, table: str, columns: Sequence[str]) -> None:
    """Raise UsageError unless the table is there and has the columns."""
    found = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        (quoted_table(table),),
    ).fetchall()
    names = [str(name) for (name,) in found]
    if not names:
        raise UsageError(f"the database has no table {table!r}: create it first")
    for column in columns:
        if column not in names:
            raise UsageError(f"table {table!r} has no column {column!r}, only {', '.join(names)}")
