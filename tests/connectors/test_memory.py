"""Records from lists and outputs into lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import sinks, sources
from holdfast.connectors.interface import Reader
from holdfast.core.errors import ApplicationError, InputChangedError, UsageError, ValueTypeError
from holdfast.core.types import TypeRegistry


@dataclass
class Order:
    symbol: str
    parts: list[int]


def read_all(reader: Reader, records_max: int | None = None, bytes_max: int = 1000) -> list[bytes]:
    blocks = []
    while (block := reader.read(records_max, bytes_max)) is not None:
        blocks.append(block.raw)
        assert block.ended is False or reader.read(records_max, bytes_max) is None
    return blocks


@given(st.lists(st.one_of(st.integers(), st.text(), st.lists(st.binary()))), st.data())
def test_records_come_back_equal_from_any_offset(records: list[Any], data: st.DataObject) -> None:
    source = sources.Memory(records)
    reader = source.open("0", None)
    given_records: list[Any] = []
    for _ in range(data.draw(st.integers(0, 3))):
        if block := reader.read(data.draw(st.one_of(st.none(), st.integers(1, 4))), data.draw(st.integers(1, 40))):
            given_records += source.decode(block.raw)
    count = data.draw(st.integers(0, len(given_records)))
    reader.offset_after(count // 2)
    offset = msgpack.unpackb(msgpack.packb(reader.offset_after(count)))
    rest = source.decode(b"".join(read_all(source.open("0", offset))))
    assert given_records == records[: len(given_records)]
    assert given_records[:count] + rest == records


def test_each_decoding_gives_fresh_values() -> None:
    order = Order("a", [1])
    source = sources.Memory([order, order])
    source.bind(TypeRegistry([Order]))
    (raw,) = read_all(source.open("0", None))
    one, other = source.decode(raw)
    assert isinstance(one, Order)
    one.parts.append(2)
    assert (order, other) == (Order("a", [1]), Order("a", [1]))
    assert type(other) is Order


def test_a_dict_gives_several_partitions_in_order() -> None:
    source = sources.Memory({"b": [1], "a": [2, 3]})
    assert source.partitions() == ["b", "a"]
    assert source.decode(b"".join(read_all(source.open("a", None)))) == [2, 3]
    assert sources.Memory(iter([1])).partitions() == ["0"]
    assert not source.live


def test_other_records_than_those_read_are_refused() -> None:
    reader = sources.Memory([1, 2, 3]).open("0", None)
    reader.read(2, 1000)
    offset = reader.offset_after(2)
    assert read_all(sources.Memory([1, 2, 9]).open("0", offset)) == read_all(sources.Memory([9]).open("0", None))
    with pytest.raises(InputChangedError, match="first 2 records"):
        sources.Memory([1, True, 3]).open("0", offset)
    with pytest.raises(InputChangedError, match="2 records were read, only 1"):
        sources.Memory([1]).open("0", offset)
    with pytest.raises(UsageError, match="partition"):
        sources.Memory({"a": [1, 2]}).open("0", offset)


def test_a_record_that_is_no_value_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValueTypeError):
        sources.Memory([print]).open("0", None).read(None, 1000)


@pytest.mark.parametrize("records", [{}, {1: []}])
def test_what_has_no_named_partitions_is_refused_when_built(records: Any) -> None:
    with pytest.raises(ApplicationError):
        sources.Memory(records)


def test_the_source_does_not_see_later_changes_of_its_list() -> None:
    records = [1, 2]
    source = sources.Memory(records)
    records.append(3)
    assert source.decode(b"".join(read_all(source.open("0", None)))) == [1, 2]


# --- the sink


def test_outputs_are_kept_in_order_and_repeats_skipped() -> None:
    sink = sinks.Memory()
    writer = sink.open(None, 0, True)
    writer.write(1, ["a", "b"], 2)
    writer.write(3, ["c"], 1)
    writer.finish()
    writer.close()
    again = sink.open(None, 1, True)
    again.write(2, ["b", "c", "d"], 3)
    again.write(5, [], 0)
    again.write(5, ["e"], 1)
    assert sink.outputs == ["a", "b", "c", "d", "e"]
    whole_again = sink.open(None, 0, True)
    whole_again.write(1, ["a"], 1)
    assert len(sink.outputs) == 5


def test_a_new_process_keeps_what_comes_after_the_checkpoint() -> None:
    sink = sinks.Memory()
    writer = sink.open(None, 10, True)
    writer.write(11, ["k"], 1)
    assert sink.outputs == ["k"]
    sink.open(None, 10, True).write(11, ["k", "l"], 2)
    assert sink.outputs == ["k", "l"]


def test_an_output_is_out_of_reach_of_later_changes() -> None:
    sink = sinks.Memory()
    value = [1, {"a": [2]}]
    kept = sink.encode(value)
    value.append(3)
    assert kept == [1, {"a": [2]}]


def test_only_immutable_columns_are_taken_at_once() -> None:
    sink = sinks.Memory()
    assert sink.encode_column([1, "a", None, 2.5]) == [1, "a", None, 2.5]
    assert sink.encode_column([1, ["a"]]) is None
    assert sink.encode_column([([],)]) is None
