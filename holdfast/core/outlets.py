"""Outlets: where a segment's outputs wait until their slice is over, encoded at once or as a column.

Encoding at emission is always right. Encoding a slice's values together costs a third of that, but a value that the
user's code still holds could change in between, so it is done only while every output is deeply immutable: an outlet
learns that from its first outputs, and a later one of another kind makes the caller do the work again, at once.
Outputs of a sink in partitions wait with the number of their partition where messages have their key.
Numbers, order across slices and writing belong to the worker and the sink.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from holdfast.core.connector import partitions_of_sink
from holdfast.core.positions import Column, merge
from holdfast.core.steps import Step

LEARN: Final = 64  # outputs that must all have been fit for columns before columns are used


class Outlet:
    """One sink's outputs of the slice in hand, by feeder, and of the epoch so far."""

    def __init__(
        self, step: Step, sink: Any, feeders: list[int], *, at_once: bool, one_by_one: bool = False
    ) -> None:
        """With `one_by_one` outputs stay apart, because another member's come between them."""
        self.step = step
        self.columns = {feeder: Column() for feeder in feeders}
        self.encode: Callable[[Any], object] = sink.encode
        many = "encode_each" if one_by_one else "encode_column"
        self.encode_column: Callable[[list[Any]], Any] | None = getattr(sink, many, None)
        self.partition_of: Callable[[Any], int] | None = None
        partitions = partitions_of_sink(sink)
        if partitions is not None:
            self.partition_of = sink.partition_of
        self.at_once = at_once or self.encode_column is None  # for good
        self.by_column = False
        self.learned = 0
        self.payloads: list[list[object]] = [[] for _ in range(partitions or 1)]
        self.counts = [0] * (partitions or 1)

    def adder(self, feeder: int) -> Callable[[Any], None]:
        """What a segment calls with an output. Valid until `by_column` changes."""
        append = self.columns[feeder].messages.append
        encode = self.encode
        def at_once(value: Any) -> None:
            append(encode(value))

        def learn(value: Any) -> None:
            append(encode(value))
            if not self.at_once:
                assert self.encode_column is not None
                self.at_once = self.encode_column([value]) is None
                self.learned += 1

        add = append if self.by_column else at_once if self.at_once else learn
        return add if self.partition_of is None else self._parting(add, self.columns[feeder], self.partition_of)

    def _parting(
        self, add: Callable[[Any], None], column: Column, partition_of: Callable[[Any], int]
    ) -> Callable[[Any], None]:
        append = column.keys.append

        def part(value: Any) -> None:
            partition = partition_of(value)
            add(value)
            append(partition)  # last: a value that can't be written leaves nothing

        return part

    @property
    def has_learned(self) -> bool:
        """Whether columns can be used from now on."""
        return not self.at_once and not self.by_column and self.learned >= LEARN

    def collect(self) -> bool:
        """Move the slice's outputs, in order, to the epoch's. False: a value is not fit for a column."""
        merged = merge(list(self.columns.values()))
        if not merged.messages:
            return True
        outputs = {0: merged.messages} if self.partition_of is None else by_partition(merged)
        for partition, own in outputs.items():
            payload = self.payloads[partition]
            if self.by_column:
                assert self.encode_column is not None
                encoded = self.encode_column(own)
                if encoded is None:
                    return False
                if type(encoded) is bytes:
                    payload.append(encoded)
                else:
                    payload.extend(encoded)
            else:
                payload.extend(own)
            self.counts[partition] += len(own)
        self.clear()
        return True

    def encoded(self, values: list[Any]) -> list[Any] | None:
        """What the outlet was given, output by output, as it is sent to another member; None as in `collect`."""
        if not self.by_column:
            return values
        assert self.encode_column is not None
        found: list[Any] | None = self.encode_column(values)
        return found

    def clear(self) -> None:
        """Drop the slice's outputs."""
        for column in self.columns.values():
            column.clear()

    def take(self) -> list[tuple[int, int, tuple[object, ...]]]:
        """The epoch's outputs: (partition, how many, what encodes them), where there are any."""
        taken = []
        for partition, count in enumerate(self.counts):
            if count:
                taken.append((partition, count, tuple(self.payloads[partition])))
                self.counts[partition], self.payloads[partition] = 0, []
        return taken


def by_partition(column: Column) -> dict[int, list[Any]]:
    """The outputs of a sink in partitions, by partition."""
    parted: dict[int, list[Any]] = {}
    for partition, output in zip(column.keys, column.messages, strict=True):
        parted.setdefault(partition, []).append(output)
    return parted
