"""Outlets: where a segment's outputs wait until their slice is over, encoded at once or as a column.

Encoding at emission is always right. Encoding a slice's values together costs a third of that, but a value that the
user's code still holds could change in between, so it is done only while every output is deeply immutable: an outlet
learns that from its first outputs, and a later one of another kind makes the caller do the work again, at once.
Numbers, order across slices and writing belong to the worker and the sink.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from holdfast.core.positions import Column, merge
from holdfast.core.steps import Step

LEARN: Final = 64  # outputs that must all have been fit for columns before columns are used


class Outlet:
    """One sink's outputs of the slice in hand, by feeder, and of the epoch so far."""

    def __init__(self, step: Step, sink: Any, feeders: list[int], *, at_once: bool) -> None:
        self.step = step
        self.columns = {feeder: Column() for feeder in feeders}
        self.encode: Callable[[Any], object] = sink.encode
        self.encode_column: Callable[[list[Any]], Any] | None = getattr(sink, "encode_column", None)
        self.at_once = at_once or self.encode_column is None  # for good
        self.by_column = False
        self.learned = 0
        self.payload: list[object] = []
        self.count = 0

    def adder(self, feeder: int) -> Callable[[Any], None]:
        """What a segment calls with an output. Valid until `by_column` changes."""
        append = self.columns[feeder].messages.append
        if self.by_column:
            return append
        encode = self.encode
        if self.at_once:
            return lambda value: append(encode(value))

        def learn(value: Any) -> None:
            append(encode(value))
            if not self.at_once:
                assert self.encode_column is not None
                self.at_once = self.encode_column([value]) is None
                self.learned += 1

        return learn

    @property
    def has_learned(self) -> bool:
        """Whether columns can be used from now on."""
        return not self.at_once and not self.by_column and self.learned >= LEARN

    def collect(self) -> bool:
        """Move the slice's outputs, in order, to the epoch's. False: a value is not fit for a column."""
        merged = merge(list(self.columns.values()))
        outputs = merged.messages
        if outputs:
            if self.by_column:
                assert self.encode_column is not None
                encoded = self.encode_column(outputs)
                if encoded is None:
                    return False
                if type(encoded) is bytes:
                    self.payload.append(encoded)
                else:
                    self.payload.extend(encoded)
            else:
                self.payload.extend(outputs)
            self.count += len(outputs)
            self.clear()
        return True

    def clear(self) -> None:
        """Drop the slice's outputs."""
        for column in self.columns.values():
            column.clear()

    def take(self) -> tuple[int, tuple[object, ...]]:
        """The epoch's outputs: how many, and what encodes them."""
        count, payload = self.count, tuple(self.payload)
        self.count, self.payload = 0, []
        return count, payload
