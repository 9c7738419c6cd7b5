"""Outlets: encoded at once until it is sure that a column gives the same, and again from then on if it does not."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.outlets import LEARN, Outlet
from holdfast.core.positions import Column
from holdfast.core.steps import Kind, Step


class Sink:
    """Counts how it is used; columns are for int only."""

    def __init__(self) -> None:
        self.singles = self.columns = 0

    def encode(self, value: Any) -> str:
        self.singles += 1
        return repr(value)

    def encode_column(self, values: list[Any]) -> list[str] | None:
        self.columns += 1
        return list(map(repr, values)) if set(map(type, values)) <= {int} else None


def outlet(sink: Any, feeders: tuple[int, ...] = (0,), *, at_once: bool = False) -> Outlet:
    return Outlet(Step(0, Kind.SINK, "sink"), sink, list(feeders), at_once=at_once)


def test_a_column_is_used_when_every_output_so_far_was_fit_for_it() -> None:
    sink = Sink()
    own = outlet(sink)
    add = own.adder(0)
    for number in range(LEARN):
        add(number)

    assert own.has_learned
    own.collect()
    own.by_column = True
    sink.singles = sink.columns = 0
    add = own.adder(0)
    for number in range(5):
        add(number)

    assert own.collect()
    assert (sink.singles, sink.columns) == (0, 1)
    [(partition, count, payload)] = own.take()
    assert (partition, count) == (0, LEARN + 5)
    assert payload[-5:] == ("0", "1", "2", "3", "4")


def test_one_unfit_output_ends_the_learning_for_good() -> None:
    sink = Sink()
    own = outlet(sink)
    add = own.adder(0)
    add("mutable, perhaps")
    for number in range(10 * LEARN):
        add(number)

    assert not own.has_learned
    assert sink.columns == 1, "a column is not asked for again and again"


def test_an_unfit_value_in_a_column_is_told() -> None:
    own = outlet(Sink())
    own.by_column = True
    own.adder(0)([1])

    assert not own.collect()


def test_a_sink_without_columns_encodes_at_once() -> None:
    class Plain:
        def encode(self, value: Any) -> str:
            return repr(value)

    own = outlet(Plain())
    reused = [1]
    add = own.adder(0)
    add(reused)
    reused.append(2)

    assert own.collect()
    assert own.take() == [(0, 1, ("[1]",))]
    assert own.take() == []


def test_outputs_of_several_segments_merge_by_position() -> None:
    own = outlet(Sink(), (0, 1), at_once=True)
    for feeder, numbers in ((0, (1, 4)), (1, (2, 3))):
        for number in numbers:
            own.adder(feeder)(number)
            column: Column = own.columns[feeder]
            column.positions.append((0, 0, number))

    own.collect()

    assert own.take() == [(0, 4, ("1", "2", "3", "4"))]


class Parted(Sink):
    """By parity; there is no partition for a negative number, and no way to write 7."""

    partitions = 2

    def partition_of(self, value: Any) -> int:
        if value < 0:
            raise ValueError("negative")
        return int(value % 2)

    def encode(self, value: Any) -> str:
        if value == 7:
            raise ValueError("seven")
        return super().encode(value)


@pytest.mark.parametrize("way", ["at once", "learning", "by column"])
def test_outputs_of_a_sink_in_partitions_are_told_apart(way: str) -> None:
    own = outlet(Parted(), at_once=way == "at once")
    own.by_column = way == "by column"
    for number in (1, 2, 3, 5, 4):
        own.adder(0)(number)

    assert own.collect()
    assert own.take() == [(0, 2, ("2", "4")), (1, 3, ("1", "3", "5"))]
    assert own.take() == []


def test_an_output_without_a_partition_or_that_cant_be_written_leaves_nothing() -> None:
    own = outlet(Parted(), at_once=True)
    for number in (1, -2, 7, 4):
        try:
            own.adder(0)(number)
        except ValueError:
            continue

    assert own.collect()
    assert own.take() == [(0, 1, ("4",)), (1, 1, ("1",))]


def test_outputs_of_several_segments_merge_in_each_partition() -> None:
    own = outlet(Parted(), (0, 1), at_once=True)
    for feeder, numbers in ((0, (1, 4, 6)), (1, (2, 3, 5))):
        for number in numbers:
            own.adder(feeder)(number)
            own.columns[feeder].positions.append((0, 0, number))

    own.collect()

    assert own.take() == [(0, 3, ("2", "4", "6")), (1, 3, ("1", "3", "5"))]


class EachSink(Sink):
    """Also gives its outputs apart."""

    def encode_each(self, values: list[Any]) -> list[str] | None:
        return self.encode_column(values)


def test_outputs_that_must_stay_apart_are_encoded_together_only_by_a_sink_that_gives_them_apart() -> None:
    for sink, learns in ((Sink(), False), (EachSink(), True)):
        own = Outlet(Step(0, Kind.SINK, "sink"), sink, [0], at_once=False, one_by_one=True)
        add = own.adder(0)
        for number in range(LEARN):
            add(number)

        assert own.has_learned is learns
        assert own.encoded(own.columns[0].messages) == [str(number) for number in range(LEARN)]
        if learns:
            own.by_column = True
            assert own.encoded([1, 2]) == ["1", "2"]
            assert own.encoded([1, [2]]) is None
