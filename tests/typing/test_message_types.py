"""A checker knows the type of the messages through all steps: `make check` runs mypy over this file.

`assert_type` does nothing when it is run. An ignored error that is none any more is an error of the check itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from holdfast import sinks, sources, testing
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.streams import KeyedStream, Stream


@dataclass
class Total:
    count: int = 0


def split(line: str) -> list[str]:
    return line.split()


def maybe_split(line: str) -> Iterable[str] | None:
    return None


def count(word: str, total: Total) -> tuple[str, int]:
    return word, total.count


def count_with_ctx(word: str, total: Total, ctx: Context) -> int | None:
    return total.count


def several(word: str, total: Total) -> Iterator[int]:
    yield total.count


def several_with_ctx(word: str, total: Total, ctx: Context) -> Generator[int | None, None, None]:
    yield None


def nothing(word: str, total: Total) -> None:
    pass


def tally(word: str, counts: dict[str, int]) -> list[int]:
    return list(counts.values())


def add(word: str, number: int, ctx: Context) -> int:
    ctx.state = number + 1
    return number


def ring(name: str, total: Total, ctx: Context) -> int:
    return total.count


def ring_often(name: str, total: Total, ctx: Context) -> Iterator[int]:
    yield total.count


async def priced(total: Total) -> float:
    return float(total.count)


def of_number(number: int) -> bytes:
    return bytes(number)


def test_message_types_flow() -> None:
    app = Application("types")
    lines = app.source(sources.TextFile("lines.txt"))
    assert_type(lines, Stream[str])
    assert_type(app.source(sources.JsonLines("orders.jsonl"), name="orders"), Stream[Any])
    assert_type(app.source(sources.Memory([1, 2]), name="numbers"), Stream[int])
    words = lines.flat_map(split)
    assert_type(words, Stream[str])
    assert_type(lines.flat_map(maybe_split), Stream[str])
    assert_type(words.map(len).filter(bool), Stream[int])
    assert_type(words.reply(), Stream[str])
    assert_type(words.key_by(str).reply(), KeyedStream[str])
    assert_type(app.source(sources.Send(), name="anything"), Stream[Any])
    sent = app.source(sources.Send[Total](), name="totals")
    assert_type(sent, Stream[Total])
    assert_type(sent.intake(priced), Stream[float])
    assert_type(app.source(sources.Memory(["a"]), name="asked").intake(len), Stream[int])
    short, long = words.branch(lambda word: len(word) < 4)
    assert_type(short, Stream[str])
    assert_type(short.merge(long), Stream[str])
    assert_type(words.map(len).map(of_number).merge(words), Stream[bytes | str])
    keyed = words.key_by(str)
    assert_type(keyed, KeyedStream[str])
    assert_type(keyed.filter(bool).map(len), KeyedStream[int])
    assert_type(keyed.merge(keyed), KeyedStream[str])
    words.sink(sinks.TextFile("out.txt"))


def test_output_types_of_stateful_functions_are_known() -> None:
    keyed = Application("types").source(sources.TextFile("lines.txt")).key_by(str)
    assert_type(keyed.stateful(count, state=Total), Stream[tuple[str, int]])
    assert_type(keyed.stateful(count_with_ctx, state=Total), Stream[int])
    assert_type(keyed.stateful(several, state=Total), Stream[int])
    assert_type(keyed.stateful(several_with_ctx, state=Total), Stream[int])
    assert_type(keyed.stateful(tally, state=dict), Stream[list[int]])
    assert_type(keyed.stateful(add, state=int), Stream[int])
    assert_type(keyed.stateful(nothing, state=Total, on_timer=ring), Stream[int])
    assert_type(keyed.stateful(count_with_ctx, state=Total, on_timer=ring_often, name="rung"), Stream[int])


def test_testing_takes_and_gives_plain_lists() -> None:
    app = Application("types")
    app.source(sources.TextFile("lines.txt")).sink(sinks.TextFile("out.txt"))
    assert_type(testing.run(app, {"source": ["a", testing.At(1, "b")]}), dict[str, list[Any]])


def mistakes(lines: Stream[str], keyed: KeyedStream[str]) -> None:
    """Never run: each of these is an error that a checker finds."""
    lines.map(len).flat_map(split)  # type: ignore[arg-type]
    lines.map(of_number)  # type: ignore[arg-type]
    lines.stateful(count, state=Total)  # type: ignore[attr-defined]
    keyed.map(len).stateful(count, state=Total)  # type: ignore[arg-type]
    lines.merge(keyed)  # type: ignore[arg-type]
