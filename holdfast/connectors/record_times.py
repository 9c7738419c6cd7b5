"""The time of a record by a user's `time=` function.

The function is applied where a block is decoded, because a record whose time fails is an error of that record
and replaying a block must find the same errors: it becomes an `Undecodable` in the list of records. How the
times of many records become the time of a chunk is the engine's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError

# What msgpack holds as an int; far beyond any calendar.
_TIME_MAX = 2**63


class RecordTimes:
    """Applies a `time=` function to lists of records."""

    def __init__(self, function: Callable[[Any], int]) -> None:
        if not callable(function):
            raise ApplicationError(f"time= takes a function from a record to Unix milliseconds, not {function!r}")
        self._function = function
        # The engine asks for the times of the very list that was just decoded: kept so as not to call twice.
        self._last: tuple[list[Any], list[int | None]] | None = None

    def mark(self, records: list[Any], raw_of: Callable[[int], bytes]) -> None:
        """Put an `Undecodable` where the function fails; `raw_of` gives a record's raw bytes by its index."""
        self._last = (records, self._apply(records, raw_of))

    def times(self, records: list[Any]) -> list[int | None]:
        """The times of the records; None for what is undecodable: it adds nothing to its chunk's time.

        A record that was not decoded here (a test gave it) and whose time fails is replaced in the list.
        """
        last, self._last = self._last, None
        if last is not None and last[0] is records:
            return last[1]
        return self._apply(records, lambda index: repr(records[index]).encode("utf-8", "backslashreplace"))

    def _apply(self, records: list[Any], raw_of: Callable[[int], bytes]) -> list[int | None]:
        function = self._function
        times: list[int | None] = []
        for index, record in enumerate(records):
            if type(record) is Undecodable:
                times.append(None)
                continue
            try:
                time = function(record)
                if type(time) is not int:
                    raise TypeError(f"time= gave {type(time).__name__}, not an int of Unix milliseconds")
                if not -_TIME_MAX <= time < _TIME_MAX:
                    raise ValueError(f"time= gave {time}, which is no time in Unix milliseconds")
                times.append(time)
            except Exception as error:  # noqa: BLE001  whatever the user's function raises
                records[index] = Undecodable(raw_of(index), error)
                times.append(None)
        return times
