"""Outputs as rows of a table: which columns they fill, and the statements that put them there.

An output is a dict with exactly the columns, or a list or tuple with a value for each. With a key, a row takes the
place of the one with the same key. Beside the user's table the database holds `holdfast_sinks`: for each sink whose
outputs it has and how many. What a value of a column may be is the database's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.core.errors import ApplicationError

NUMBERS = "holdfast_sinks"


class TableRows:
    """The shape of one sink's rows."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        name: str | None,
        field: Callable[[Any], Any],
    ) -> None:
        """`field` gives a value as it is handed to the database, and raises for what it can't hold."""
        self.table = table
        self.columns = _names("columns", columns)
        self.key = _names("key", key) if key else []
        self.name = table if name is None else name
        self._field = field
        self._places = {column: place for place, column in enumerate(self.columns)}
        for given in (table, self.name):
            if type(given) is not str or not given or "\0" in given:
                raise ApplicationError(f"the name of a table or a sink is a str, not {given!r}")
        if not self.columns:
            raise ApplicationError("columns= names no column")
        if unknown := [column for column in self.key if column not in self.columns]:
            raise ApplicationError(f"key= names {unknown[0]!r}, which is not among the columns")

    def row(self, output: object) -> tuple[Any, ...]:
        """The values of one output in the order of the columns; raises for what does not fit."""
        if isinstance(output, Mapping):
            if output.keys() != self._places.keys():
                raise ValueError(f"the columns are {', '.join(self.columns)}; the output has {list(output)!r}")
            values: Sequence[Any] = [output[column] for column in self.columns]
        elif isinstance(output, list | tuple):
            values = output
            if len(values) != len(self.columns):
                raise ValueError(f"there are {len(self.columns)} columns, the output has {len(values)} values")
        else:
            raise TypeError(f"a row is a dict, a list or a tuple, not {type(output).__name__}")
        return tuple(map(self._field, values))

    def insert(self, table: str, placeholder: str) -> str:
        """The statement that puts a row into the table, whose name is quoted already."""
        columns = ", ".join(map(quoted, self.columns))
        values = ", ".join([placeholder] * len(self.columns))
        statement = f"INSERT INTO {table} ({columns}) VALUES ({values})"
        if not self.key:
            return statement
        others = [column for column in self.columns if column not in self.key]
        replaced = ", ".join(f"{quoted(column)} = excluded.{quoted(column)}" for column in others)
        action = f"UPDATE SET {replaced}" if others else "NOTHING"
        return f"{statement} ON CONFLICT ({', '.join(map(quoted, self.key))}) DO {action}"


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _names(what: str, given: Sequence[str]) -> list[str]:
    names = list(given)
    if isinstance(given, str) or not all(type(name) is str and name and "\0" not in name for name in names):
        raise ApplicationError(f"{what}= is a list of names of columns, not {given!r}")
    if len(set(names)) != len(names):
        raise ApplicationError(f"{what}= names a column twice")
    return names


def strangers(name: str, owner: str, database: str) -> str:
    """What to say where a sink's rows are somebody else's."""
    return (
        f"sink {name!r} of {database} has outputs of another data directory or sink ({owner}); to begin anew remove "
        f"its rows and DELETE FROM {NUMBERS} WHERE sink = '{name}', or give this sink another name="
    )
