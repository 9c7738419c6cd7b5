"""Sources and sinks of a user's own, plain and async, as the runtime sees them."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import sinks, sources
from holdfast.connectors.contract import UserSink, UserSource, as_sink, as_source
from holdfast.connectors.interface import Reader
from holdfast.core.connector import is_live
from holdfast.core.errors import ApplicationError, DiskFullError, OutputShortError, ProcessingError, SinkError


class Table:
    """A user's source: rows with offsets of their own kind."""

    live = False

    def __init__(self, rows: dict[str, list[Any]]) -> None:
        self.rows = rows
        self.acknowledged: list[tuple[str, Any]] = []

    def partitions(self) -> list[str]:
        return list(self.rows)

    def read(self, partition: str, offset: Any) -> Iterator[tuple[Any, Any]]:
        first = 0 if offset is None else offset[1] + 1
        for number, row in enumerate(self.rows[partition][first:], first):
            yield row, ("row", number)

    def acknowledge(self, partition: str, offset: Any) -> None:
        self.acknowledged.append((partition, offset))


class AsyncTable(Table):
    async def partitions(self) -> list[str]:  # type: ignore[override]
        await asyncio.sleep(0)
        return list(self.rows)

    async def read(self, partition: str, offset: Any) -> AsyncIterator[tuple[Any, Any]]:  # type: ignore[override]
        for item in super().read(partition, offset):
            await asyncio.sleep(0)
            yield item

    async def acknowledge(self, partition: str, offset: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.acknowledged.append((partition, offset))


BOTH_TABLES = pytest.mark.parametrize("table", [Table, AsyncTable])


def adapted(source: object) -> UserSource:
    found = as_source(source)
    assert isinstance(found, UserSource)
    return found


def repacked(offset: object) -> object:
    found: object = msgpack.unpackb(msgpack.packb(offset))
    return found


def read_all(source: UserSource, reader: Reader, records_max: int | None = None, bytes_max: int = 1000) -> list[Any]:
    found = []
    while (block := reader.read(records_max, bytes_max)) is not None:
        assert records_max is None or block.count <= records_max
        records = source.decode(block.raw)
        assert len(records) == block.count
        found += records
    return found


@BOTH_TABLES
def test_a_users_source_gives_its_records(table: type[Table]) -> None:
    source = adapted(table({"b": [1, "x", (2, 3)], "a": []}))
    assert source.partitions() == ["b", "a"]
    assert read_all(source, source.open("b", None)) == [1, "x", (2, 3)]
    assert read_all(source, source.open("a", None)) == []


@given(st.lists(st.integers()), st.data())
def test_reading_goes_on_after_the_users_offset(rows: list[int], data: st.DataObject) -> None:
    source = adapted(Table({"a": rows}))
    reader = source.open("a", None)
    given_records: list[Any] = []
    for _ in range(data.draw(st.integers(0, 3))):
        if block := reader.read(data.draw(st.one_of(st.none(), st.integers(1, 4))), data.draw(st.integers(1, 20))):
            given_records += source.decode(block.raw)
    covered = data.draw(st.integers(0, len(given_records)))
    reader.offset_after(covered // 2)
    offset = repacked(reader.offset_after(covered))
    assert given_records[:covered] + read_all(source, source.open("a", offset)) == rows


@BOTH_TABLES
def test_a_partition_that_ended_is_not_read_again(table: type[Table]) -> None:
    user = table({"a": [1, 2]})
    source = adapted(user)
    reader = source.open("a", None)
    block = reader.read(None, 1000)
    assert block is not None
    assert block.ended
    offset = repacked(reader.offset_after(2))
    user.rows["a"].append(3)
    assert read_all(source, source.open("a", offset)) == []
    assert read_all(source, source.open("a", repacked(source.open("a", None).offset_after(0)))) == [1, 2, 3]


@BOTH_TABLES
def test_the_source_is_told_what_is_durable(table: type[Table]) -> None:
    user = table({"a": [1, 2]})
    source = adapted(user)
    reader = source.open("a", None)
    source.acknowledge("a", reader.offset_after(0))
    reader.read(None, 1000)
    source.acknowledge("a", repacked(reader.offset_after(1)))
    assert user.acknowledged == [("a", ("row", 0))]


def test_a_source_need_not_want_acknowledgements() -> None:
    class Plain:
        def partitions(self) -> list[str]:
            return ["a"]

        def read(self, partition: str, offset: Any) -> Iterator[tuple[int, int]]:
            yield 1, 1

    source = adapted(Plain())
    reader = source.open("a", None)
    reader.read(1, 1000)
    source.acknowledge("a", reader.offset_after(1))
    assert source.live == is_live(Plain())


def test_a_live_source_gives_a_record_as_soon_as_it_is_there() -> None:
    class Ticks(Table):
        live = True

    source = adapted(Ticks({"a": [1, 2]}))
    assert source.live
    reader = source.open("a", None)
    for expected in (1, 2):
        block = reader.read(64, 1000)
        assert block is not None
        assert (source.decode(block.raw), block.ended) == ([expected], False)
    assert reader.read(64, 1000) is None


def test_closing_ends_the_users_generator() -> None:
    ended = threading.Event()

    class Endless(Table):
        def read(self, partition: str, offset: Any) -> Iterator[tuple[int, int]]:
            try:
                while True:
                    yield 1, 1
            finally:
                ended.set()

    reader = adapted(Endless({"a": []})).open("a", None)
    reader.read(3, 1000)
    reader.close()
    assert ended.is_set()
    assert reader.read(3, 1000) is None


def test_mistakes_of_a_users_source_are_named() -> None:
    class Bare(Table):
        def read(self, partition: str, offset: Any) -> Iterator[Any]:
            yield "record without an offset"

    class Failing(Table):
        def read(self, partition: str, offset: Any) -> Iterator[Any]:
            raise OSError("no route")

    with pytest.raises(ProcessingError, match=r"source Bare: read\(\) gives \(record, next offset\), not str"):
        adapted(Bare({"a": []})).open("a", None).read(1, 1000)
    with pytest.raises(ProcessingError, match=r"source Failing: read\(\) raised OSError: no route"):
        adapted(Failing({"a": []})).open("a", None).read(1, 1000)
    for names in ([1], ["a", "a"]):
        with pytest.raises(ApplicationError, match="partitions"):
            adapted(Table(Names(names))).partitions()


class Names(dict[str, list[Any]]):
    """A mapping whose keys are whatever it was told."""

    def __init__(self, names: list[Any]) -> None:
        super().__init__()
        self.names = names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


# --- sinks


class Store:
    """A user's sink that keeps outputs by number."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self.can_tell = True

    def resume(self, partition: str, token: Any) -> int | None:
        self.threads.add(threading.get_ident())
        self.calls.append(("resume", partition, token))
        return len(self.rows) if self.can_tell else None

    def write(self, partition: str, first_number: int, outputs: list[Any]) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append(("write", partition, first_number, outputs))
        self.rows.update(enumerate(outputs, first_number))

    def flush(self, partition: str) -> Any:
        self.threads.add(threading.get_ident())
        self.calls.append(("flush", partition))
        return {"rows": (len(self.rows),)}


class AsyncStore(Store):
    async def resume(self, partition: str, token: Any) -> int | None:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().resume(partition, token)

    async def write(self, partition: str, first_number: int, outputs: list[Any]) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().write(partition, first_number, outputs)

    async def flush(self, partition: str) -> Any:
        await asyncio.sleep(0)
        return super().flush(partition)


BOTH_STORES = pytest.mark.parametrize("store", [Store, AsyncStore])


@BOTH_STORES
def test_a_users_sink_gets_numbered_outputs_and_its_token_back(store: type[Store]) -> None:
    user = store()
    sink = as_sink(user)
    assert isinstance(sink, UserSink)
    writer = sink.open(None, 0, False)
    writer.write(1, ["a", "b"], 2)
    token = repacked(writer.token())
    writer.sync()
    writer.write(3, ["c"], 1)
    writer.finish()
    writer.close()
    sink.open(token, 2, False).close()
    assert user.calls == [
        ("resume", "0", None), ("write", "0", 1, ["a", "b"]), ("flush", "0"), ("write", "0", 3, ["c"]),
        ("resume", "0", {"rows": (2,)}),
    ]  # fmt: skip
    assert len(user.threads) == 1
    assert threading.get_ident() not in user.threads


@BOTH_STORES
def test_outputs_that_the_sink_has_are_not_written_again(store: type[Store]) -> None:
    user = store()
    user.rows = {1: "a", 2: "b", 3: "c"}
    writer = as_sink(user).open(None, 1, False)
    writer.write(2, ["b"], 1)
    writer.write(3, ["c", "d"], 2)
    writer.write(5, ["e"], 1)
    assert user.calls[1:] == [("write", "0", 4, ["d"]), ("write", "0", 5, ["e"])]


def test_a_sink_that_cannot_tell_gets_everything_from_the_checkpoint_on() -> None:
    user = Store()
    user.can_tell = False
    writer = as_sink(user).open(None, 1, False)
    writer.write(2, ["b"], 1)
    assert user.calls[1:] == [("write", "0", 2, ["b"])]


def test_a_sink_that_lost_outputs_is_refused() -> None:
    with pytest.raises(OutputShortError, match="has 0 outputs; at the checkpoint 3"):
        as_sink(Store()).open(None, 3, False)


@pytest.mark.parametrize("answer", ["1", True, -1, 1.0])
def test_an_answer_that_is_no_number_is_refused(answer: Any) -> None:
    class Odd(Store):
        def resume(self, partition: str, token: Any) -> Any:
            return answer

    with pytest.raises(SinkError, match="number of the last output"):
        as_sink(Odd()).open(None, 0, False)


def test_what_a_users_sink_raises_is_the_sinks_error() -> None:
    class Failing(Store):
        def write(self, partition: str, first_number: int, outputs: list[Any]) -> None:
            raise outputs[0]

    writer = as_sink(Failing()).open(None, 0, False)
    with pytest.raises(SinkError, match=r"sink Failing: write\(\) raised KeyError"):
        writer.write(1, [KeyError("x")], 1)
    with pytest.raises(DiskFullError):
        writer.write(1, [OSError(errno.ENOSPC, "full")], 1)


def test_outputs_for_a_users_sink_are_out_of_reach_of_later_changes() -> None:
    sink = as_sink(Store())
    assert isinstance(sink, UserSink)
    value = [1]
    kept = sink.encode(value)
    value.append(2)
    assert kept == [1]
    assert sink.encode_column([1, "a"]) == [1, "a"]
    assert sink.encode_column([[1]]) is None


class Shouting(Store):
    """Has all that a sink may have."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = ""
        self.closed = 0

    def encode(self, value: str) -> list[str]:
        return [value.upper()]

    def claim(self, owner: str) -> None:
        self.owner = owner

    def close(self) -> None:
        self.closed += 1
        raise OSError("it is gone already")


def test_a_sink_may_encode_claim_and_close() -> None:
    user = Shouting()
    sink = as_sink(user)
    assert isinstance(sink, UserSink)
    assert sink.encode("a") == ["A"]
    assert sink.encode_column(["a"]) is None
    with pytest.raises(AttributeError):
        sink.encode(1)
    sink.claim("the owner")
    sink.open(None, 0, False).close()
    assert (user.owner, user.closed) == ("the owner", 1)


# --- which is what


def test_connectors_of_our_own_are_taken_as_they_are() -> None:
    own_sources: list[object] = [sources.TextFile("x"), sources.JsonLines("x"), sources.Memory([1])]
    for source in [*own_sources, sources.Generator(list)]:
        assert as_source(source) is source
    for sink in (sinks.TextFile("x"), sinks.JsonLines("x"), sinks.Memory(), sinks.Stdout()):
        assert as_sink(sink) is sink


@pytest.mark.parametrize("candidate", [3, "x", object(), Store(), sinks.Memory(), Table, sources.Memory])
def test_what_is_no_source_is_refused(candidate: object) -> None:
    with pytest.raises(ApplicationError, match=r"is not a source|is a class"):
        as_source(candidate)


@pytest.mark.parametrize("candidate", [3, "x", object(), Table({}), sources.Memory([]), Store, sinks.Stdout])
def test_what_is_no_sink_is_refused(candidate: object) -> None:
    with pytest.raises(ApplicationError, match=r"is not a sink|is a class"):
        as_sink(candidate)


def test_the_thread_of_an_async_connector_ends_with_it() -> None:
    before = {thread.ident for thread in threading.enumerate()}
    sink = as_sink(AsyncStore())
    sink.open(None, 0, False)
    (thread,) = [thread for thread in threading.enumerate() if thread.ident not in before]
    assert thread.daemon
    del sink
    thread.join(5)
    assert not thread.is_alive()


def test_a_record_that_a_block_has_no_room_for_comes_first_in_the_next() -> None:
    rows = [f"{number} " + "x" * 300 for number in range(20)]
    source: Any = as_source(Table({"p": rows}))
    reader = source.open("p", None)
    found: list[Any] = []
    while (block := reader.read(None, 1000)) is not None:
        found += source.decode(block.raw)
        if block.ended:
            break

    assert found == rows
