"""Rows as they are logged: a dict from column to value each, or, of a row that can't be read, what is known of it.

A row that can't be read stands as the pair (its bytes, what is wrong with it) and comes out as an undecodable
record. A dict is never such a pair, so the two can't be mistaken for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.connectors import framing
from holdfast.connectors.framing import ValueFrames
from holdfast.connectors.record_times import RecordTimes
from holdfast.core.connector import Undecodable


class RowFrames:
    """Writes and reads blocks of rows; the values of columns are of the plain types, which need no registry."""

    def __init__(self, time: Callable[[dict[str, Any]], int] | None) -> None:
        self._frames = ValueFrames()
        self._times = None if time is None else RecordTimes(time)

    def frame(self, row: dict[str, Any]) -> bytes:
        """One row."""
        return framing.pack([self._frames.image(row)])

    def bad_frame(self, raw: bytes, error: str) -> bytes:
        """One row that can't be read."""
        return framing.pack([self._frames.image((raw, error))])

    def decode(self, raw: bytes) -> list[Any]:
        """The rows of a block."""
        records: list[Any] = [
            Undecodable(value[0], ValueError(value[1])) if type(value) is tuple else value
            for value in self._frames.records(raw)
        ]
        if self._times is not None:
            self._times.mark(records, lambda index: framing.unpack(raw)[index])
        return records

    def times(self, records: list[Any]) -> list[int | None] | None:
        """The times of the rows just decoded; None without a `time=` function."""
        return None if self._times is None else self._times.times(records)
