"""Generators as live sources: latency of one item, skipping, closing from another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from holdfast import sources
from holdfast.connectors.interface import Reader
from holdfast.core.errors import ApplicationError, InputChangedError, ProcessingError, ValueTypeError


def opened(source: sources.Generator[Any], offset: object | None = None) -> Reader:
    assert source.live
    (partition,) = source.partitions()
    return source.open(partition, offset)


def items(source: sources.Generator[Any], offset: object | None = None) -> list[Any]:
    reader = opened(source, offset)
    found = []
    while (block := reader.read(None, 1000)) is not None:
        assert (block.count, block.ended) == (1, False)
        found += source.decode(block.raw)
    reader.close()
    return found


def three() -> Iterator[str]:
    yield from "abc"


async def three_async() -> AsyncIterator[str]:
    for item in "abc":
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("fn", [three, three_async, lambda: ["a", "b", "c"]])
def test_items_come_one_by_one_and_those_logged_are_skipped(fn: Any) -> None:
    assert items(sources.Generator(fn)) == ["a", "b", "c"]
    assert items(sources.Generator(fn), 2) == ["c"]
    assert items(sources.Generator(fn), 3) == []
    with pytest.raises(InputChangedError, match="gave 4 items, now only 3"):
        items(sources.Generator(fn), 4)


def test_an_offset_is_the_number_of_items_before_it() -> None:
    source = sources.Generator(three)
    reader = opened(source, 1)
    assert reader.offset_after(0) == 1
    reader.read(None, 1)
    assert reader.offset_after(1) == 2
    reader.close()


def test_an_item_is_as_it_was_when_it_was_given() -> None:
    def fn() -> Iterator[list[int]]:
        buffer: list[int] = []
        for number in range(3):
            buffer.append(number)
            yield buffer

    assert items(sources.Generator(fn)) == [[0], [0, 1], [0, 1, 2]]


def test_an_item_is_given_before_the_next_is_asked_for() -> None:
    asked = []

    def fn() -> Iterator[int]:
        for number in range(2):
            asked.append(number)
            yield number

    reader = opened(sources.Generator(fn))
    assert asked == []
    reader.read(64, 1000)
    assert asked == [0]
    reader.close()


def test_the_function_runs_in_the_thread_that_reads() -> None:
    def fn() -> Iterator[str]:
        yield threading.current_thread().name

    source = sources.Generator(fn)
    reader = opened(source)
    blocks: list[Any] = []
    thread = threading.Thread(target=lambda: blocks.append(reader.read(None, 1000)), name="reading")
    thread.start()
    thread.join()
    assert source.decode(blocks[0].raw) == ["reading"]


def raising() -> Iterator[int]:
    yield 1
    raise OSError("broken")


async def raising_async() -> AsyncIterator[int]:
    yield 1
    raise OSError("broken")


def not_iterable() -> Any:
    return 1


@pytest.mark.parametrize("fn", [raising, raising_async, not_iterable])
def test_what_the_function_raises_stops_processing(fn: Any) -> None:
    with pytest.raises(ProcessingError, match=r"raised (OSError: broken|TypeError)") as stopped:
        items(sources.Generator(fn))
    assert stopped.value.exit_code == 3


def test_an_item_that_is_no_value_is_refused() -> None:
    with pytest.raises(ValueTypeError):
        items(sources.Generator(lambda: [threading.Lock()]))


def test_a_generator_instead_of_its_function_is_refused_when_built() -> None:
    with pytest.raises(ApplicationError, match="function"):
        sources.Generator(three())  # type: ignore[arg-type]


# --- closing


def test_closing_ends_a_generator_that_waits_for_nothing() -> None:
    ended = []

    def fn() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append(True)

    reader = opened(sources.Generator(fn))
    reader.read(None, 1000)
    reader.close()
    assert ended == [True]
    assert reader.read(None, 1000) is None
    reader.close()


def test_closing_a_generator_that_waits_drops_its_next_item() -> None:
    waits, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def fn() -> Iterator[int]:
        try:
            waits.set()
            go_on.wait()
            yield 1
        finally:
            ended.set()

    reader = opened(sources.Generator(fn))
    blocks: list[Any] = []
    thread = threading.Thread(target=lambda: blocks.append(reader.read(None, 1000)))
    thread.start()
    waits.wait()
    reader.close()
    assert not ended.is_set()
    go_on.set()
    thread.join()
    assert blocks == [None]
    assert ended.is_set()


@pytest.mark.parametrize("skip", [0, 5])
def test_closing_interrupts_an_async_generator_that_waits(skip: int) -> None:
    waits, ended = threading.Event(), threading.Event()

    async def fn() -> AsyncIterator[int]:
        try:
            waits.set()
            await asyncio.Event().wait()
            yield 1
        finally:
            ended.set()

    reader = opened(sources.Generator(fn), skip)
    blocks: list[Any] = []
    thread = threading.Thread(target=lambda: blocks.append(reader.read(None, 1000)))
    thread.start()
    waits.wait()
    reader.close()
    thread.join()
    assert blocks == [None]
    assert ended.is_set()


def test_a_reader_closed_before_it_read_calls_nothing() -> None:
    reader = opened(sources.Generator(not_iterable))
    reader.close()
    assert reader.read(None, 1000) is None
