"""`time=` functions: good times, bad times, and records that have none."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import sources
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError


def test_each_record_has_the_time_that_the_function_gives() -> None:
    source = sources.TextFile("x", time=int)
    records = source.decode(b"5\n7\n-1\n")
    assert source.times(records) == [5, 7, -1]
    assert source.times(records) == [5, 7, -1]
    assert source.times(records[1:]) == [7, -1]
    assert records == ["5", "7", "-1"]


def test_without_a_function_the_logged_clock_counts() -> None:
    assert sources.TextFile("x").times(["5"]) is None
    assert sources.JsonLines("x").times([5]) is None
    assert sources.Memory([1]).times([1]) is None


def test_the_function_is_called_once_for_a_decoded_record() -> None:
    calls: list[Any] = []

    def time(record: Any) -> int:
        calls.append(record)
        return 1

    source = sources.JsonLines("x", time=time)
    assert source.times(source.decode(b"1\n2\n")) == [1, 1]
    assert calls == [1, 2]


def test_an_undecodable_record_has_no_time() -> None:
    source = sources.JsonLines("x", time=lambda record: int(record["at"]))
    records = source.decode(b'{"at":3}\nnonsense\n{"at":4}\n')
    assert source.times(records) == [3, None, 4]


@pytest.mark.parametrize("line", [b"true", b"1.5", b'"5"', b"null", b"9223372036854775808", b"[1]"])
def test_what_is_no_time_makes_the_record_undecodable(line: bytes) -> None:
    source = sources.JsonLines("x", time=lambda record: record)
    first, bad, last = source.decode(b"1\n" + line + b"\n2\n")
    assert (first, last) == (1, 2)
    assert isinstance(bad, Undecodable)
    assert bad.raw == line
    assert "time= gave" in str(bad.error)
    assert source.times([first, bad, last]) == [1, None, 2]


def test_a_failing_function_makes_the_record_undecodable_on_every_decoding() -> None:
    for source in (sources.TextFile("x", time=int), sources.TextFile("x", encoding="shift_jis", time=int)):
        for _ in range(2):
            records = source.decode(b"1\nx\n")
            assert isinstance(records[1], Undecodable)
            assert records[1].raw == b"x"
            assert isinstance(records[1].error, ValueError)


def test_a_record_that_was_given_undecoded_is_replaced_where_its_time_fails() -> None:
    records: list[Any] = ["1", "x"]
    assert sources.TextFile("x", time=int).times(records) == [1, None]
    assert isinstance(records[1], Undecodable)


def _tenfold(record: Any) -> Any:
    return record if record == "x" else 10 * record


def test_records_in_memory_can_have_times() -> None:
    source = sources.Memory([1, "x"], time=_tenfold)
    reader = source.open("0", None)
    block = reader.read(None, 1000)
    assert block is not None
    records = source.decode(block.raw)
    assert source.times(records) == [10, None]
    assert isinstance(records[1], Undecodable)


def test_only_a_function_can_give_times() -> None:
    with pytest.raises(ApplicationError, match="time="):
        sources.TextFile("x", time=5)  # type: ignore[arg-type]
