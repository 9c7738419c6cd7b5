"""Intake functions: called before the log, overlapping, in order; their results are what is logged and replayed."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast as hf
from holdfast.core.errors import ProcessingError
from holdfast.core.types import TypeRegistry
from holdfast.runtime.engine_thread import Options, adapt
from holdfast.runtime.recorded import recorded
from tests.runtime.bank import WAYS
from tests.runtime.bank import run as enter
from tests.runtime.engine import run

ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
WAIT_SECONDS = 10.0


class Outside:
    """The world outside: it gives another answer at every call, and can be counted."""

    def __init__(self, fails: Any = None) -> None:
        self.count = itertools.count(1)
        self.calls: list[Any] = []
        self.under_way = 0
        self.most = 0
        self.fails = fails
        self.guard = threading.Lock()

    def __call__(self, record: Any) -> tuple[Any, int]:
        with self.guard:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            number = next(self.count)
            self.calls.append(record)
        try:
            if record == self.fails:
                raise LookupError(f"nobody knows {record}")
            return record, number
        finally:
            with self.guard:
                self.under_way -= 1


def application(source: Any, outside: Any, *, on_error: Any = "stop", concurrency: int = 4) -> hf.Application:
    app = hf.Application("intake")
    records = app.source(source, name="records", on_error=on_error).intake(outside, concurrency=concurrency)
    records.reply().sink(hf.sinks.Memory(), name="out")
    return app


def outputs(app: hf.Application) -> list[Any]:
    values: list[Any] = app.sinks[0].sink.outputs
    return values


async def coroutine(record: Any) -> tuple[str, Any]:
    await asyncio.sleep(0)
    return "asked", record


def numbers() -> Iterator[int]:
    yield from range(40)


SOURCES = [hf.sources.Memory(range(200)), hf.sources.Generator(numbers)]


@pytest.mark.parametrize("source", SOURCES, ids=["finite", "live"])
@pytest.mark.parametrize("function", [coroutine, lambda record: ("asked", record)], ids=["async", "plain"])
def test_results_stand_in_the_order_of_their_records(source: Any, function: Any, tmp_path: Path) -> None:
    app = application(source, function)
    run(app, tmp_path / "data")

    assert outputs(app) == [("asked", number) for number in range(len(outputs(app)))]
    assert len(outputs(app)) in (200, 40)


def test_calls_overlap_up_to_the_limit_and_a_slow_one_holds_up_no_order() -> None:
    """Each call waits until as many as are allowed are under way: if fewer ever were, it would not end."""
    together = threading.Barrier(3, timeout=WAIT_SECONDS)

    def meet(record: int) -> int:
        together.wait()
        return record

    app = application(hf.sources.Memory(range(9)), meet, concurrency=3)
    adapt(app)
    source = app.sources[0].source
    source.bind(TypeRegistry())
    reader = source.open("0", None)
    block = reader.read(9, 1 << 20)
    reader.close()

    assert source.decode(block.raw) == list(range(9))


def test_live_records_that_come_one_by_one_are_asked_about_together(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=WAIT_SECONDS)

    def meet(record: int) -> int:
        together.wait()
        return record

    app = application(hf.sources.Generator(numbers), meet, concurrency=4)
    run(app, tmp_path / "data")

    assert outputs(app) == list(range(40))


def test_a_result_is_asked_for_once_and_replayed_ever_after(tmp_path: Path) -> None:
    """What was delivered is compared with what a replay gives: another answer of the world outside would be found."""
    outside = Outside()
    app = application(hf.sources.Memory(range(10)), outside)
    run(app, tmp_path / "data", Options(tmp_path / "data", keep_log=True))
    found = recorded(tmp_path / "data", app)

    assert outputs(app) == [(number, number + 1) for number in range(10)]
    assert found.inputs == {"records": {"0": outputs(app)}}
    assert len(outside.calls) == 10


def test_a_failing_call_stops_cleanly_and_is_made_again_by_the_next_run(tmp_path: Path) -> None:
    outside = Outside(fails=5)
    app = application(hf.sources.Generator(numbers), outside, concurrency=1)
    outcome = run(app, tmp_path / "data")
    before = list(outputs(app))
    outside.fails = None

    outcome_after = run(app, tmp_path / "data")

    assert isinstance(outcome.error, ProcessingError)
    assert "intake function of source 'records' failed for 5: LookupError: nobody knows 5" in str(outcome.error)
    assert [record for record, _ in before] == list(range(5))
    assert outcome_after.error is None
    assert [record for record, _ in outputs(app)] == list(range(40))


@pytest.mark.parametrize("source", [hf.sources.Memory(range(10)), hf.sources.Generator(lambda: iter(range(10)))])
def test_a_failing_call_can_be_skipped_or_become_a_letter(source: Any, tmp_path: Path) -> None:
    letters = hf.sinks.Memory()
    app = application(source, Outside(fails=3), on_error=letters)
    outcome = run(app, tmp_path / "data")

    assert outcome.error is None
    assert [record for record, _ in outputs(app)] == [n for n in range(10) if n != 3]
    (letter,) = letters.outputs
    assert (letter["source"], letter["offset"], letter["error"]) == (
        "records",
        3,
        "IntakeError: LookupError: nobody knows 3",
    )


def test_a_record_that_cannot_be_decoded_stays_one(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"a\n\xff\nc\n")
    letters = hf.sinks.Memory()
    app = application(hf.sources.TextFile(str(tmp_path / "in.txt")), str.upper, on_error=letters)
    run(app, tmp_path / "data")

    assert outputs(app) == ["A", "C"]
    assert [(letter["offset"], letter["message"]) for letter in letters.outputs] == [(1, "b'\\xff'")]


def thousandfold(record: Any) -> int:
    return int(record) * 1000


def test_records_keep_their_own_times(tmp_path: Path) -> None:
    times: list[int] = []

    def note(message: int, seen: list[int], ctx: hf.Context) -> int:
        times.append(ctx.time)
        return message

    app = hf.Application("times")
    records = app.source(hf.sources.Memory([5, 7], time=thousandfold)).intake(lambda record: record + 1)
    records.key_by(lambda n: 0).stateful(note, state=list).sink(hf.sinks.Memory())
    run(app, tmp_path / "data")

    assert times == [7000, 7000]  # a round's time is the greatest of its records
    assert outputs(app) == [6, 8]


@ways
@pytest.mark.parametrize("function", [coroutine, lambda record: ("asked", record)], ids=["async", "plain"])
def test_what_callers_send_goes_through_the_function_first(way: Any, function: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        assert await engine.ask("records", 1) == [("asked", 1)]
        await engine.send("records", 2)

    app = application(hf.sources.Send(), function)
    enter(app, tmp_path / "data", body, way)

    assert outputs(app) == [("asked", 1), ("asked", 2)]


def test_messages_are_logged_in_the_order_of_their_calls_however_long_each_is_asked_about(tmp_path: Path) -> None:
    together = threading.Barrier(8, timeout=WAIT_SECONDS)

    def meet(record: int) -> int:
        together.wait()
        return record

    async def body(engine: Any) -> None:
        await asyncio.gather(*(engine.send("records", number) for number in range(64)))

    app = application(hf.sources.Send(), meet, concurrency=8)
    enter(app, tmp_path / "data", body, WAYS[0])

    assert outputs(app) == list(range(64))


@ways
def test_a_caller_whose_message_the_function_refuses_hears_of_it_alone(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        with pytest.raises(LookupError, match="nobody knows 7"):
            await engine.ask("records", 7, id=("p", 1))
        assert await engine.ask("records", 8, id=("p", 1)) == [(8, 2)]
        with pytest.raises(hf.ValueTypeError, match="message to 'records' can't be sent"):
            await engine.send("records", threading.Lock(), id=("p", 2))

    app = application(hf.sources.Send(), Outside(fails=7))
    enter(app, tmp_path / "data", body, way)

    assert outputs(app) == [(8, 2)]


def test_a_retry_asks_again_but_the_first_result_counts(tmp_path: Path) -> None:
    outside = Outside()
    app = application(hf.sources.Send(), outside)

    async def body(engine: Any) -> None:
        assert await engine.ask("records", "a", id=("p", 1)) == [("a", 1)]
        assert await engine.ask("records", "a", id=("p", 1)) == [("a", 1)]

    enter(app, tmp_path / "data", body)

    assert outside.calls == ["a", "a"]
    assert outputs(app) == [("a", 1)]


def test_what_is_being_asked_about_when_the_engine_closes_is_still_taken(tmp_path: Path) -> None:
    gate = threading.Event()

    def slowly(record: int) -> int:
        assert gate.wait(WAIT_SECONDS)
        return record

    app = application(hf.sources.Send(), slowly)

    async def main() -> list[Any]:
        async with hf.Engine(app, data=tmp_path / "data") as engine:
            asks = [asyncio.ensure_future(engine.ask("records", number)) for number in range(10)]
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.05, gate.set)
        return list(await asyncio.gather(*asks))

    assert asyncio.run(main()) == [[number] for number in range(10)]
    assert outputs(app) == list(range(10))


def test_an_engine_whose_last_call_fails_while_it_closes_comes_to_its_end(tmp_path: Path) -> None:
    gate = threading.Event()

    def fails(record: int) -> int:
        assert gate.wait(WAIT_SECONDS)
        raise LookupError(record)

    async def main() -> Any:
        async with hf.Engine(application(hf.sources.Send(), fails), data=tmp_path / "data") as engine:
            ask = asyncio.ensure_future(engine.ask("records", 1))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.05, gate.set)
        return await asyncio.gather(ask, return_exceptions=True)

    ((error),) = asyncio.run(main())
    assert isinstance(error, LookupError)


@pytest.mark.parametrize(
    ("function", "concurrency", "complaint"),
    [
        ("text", 4, "is not a function"),
        (lambda: 1, 4, "can't be called with"),
        (lambda record: iter([record]), 0, "must be a positive int"),
        (numbers, 4, "is a generator function"),
    ],
)
def test_what_cannot_be_an_intake_function_is_refused(function: Any, concurrency: int, complaint: str) -> None:
    with pytest.raises(hf.ApplicationError, match=complaint):
        application(hf.sources.Send(), function, concurrency=concurrency)


def test_an_intake_function_stands_directly_behind_its_source() -> None:
    app = hf.Application("misplaced")
    records = app.source(hf.sources.Send())
    records.intake(str)
    for stream in (records, records.map(str)):
        with pytest.raises(hf.ApplicationError, match="directly behind a source, once"):
            stream.intake(str)


def test_callers_whose_messages_are_being_asked_about_are_told_when_the_engine_stops(tmp_path: Path) -> None:
    gate = threading.Event()

    def slowly(record: int) -> int:
        assert record == 0 or gate.wait(WAIT_SECONDS)
        return record

    def explode(record: int) -> int:
        raise ZeroDivisionError(record)

    app = hf.Application("exploding")
    app.source(hf.sources.Send(), name="records").intake(slowly, concurrency=2).map(explode).reply()

    async def main() -> None:
        async with hf.Engine(app, data=tmp_path / "data") as engine:
            asks = [asyncio.ensure_future(engine.ask("records", number)) for number in range(8)]
            told = await asyncio.gather(*asks, return_exceptions=True)
            gate.set()
            assert {type(error) for error in told} == {hf.EngineStoppedError}
            with pytest.raises(hf.EngineStoppedError, match="ZeroDivisionError"):
                await engine.ask("records", 9)

    with pytest.raises(hf.StoppedError, match="explode"):
        asyncio.run(main())
