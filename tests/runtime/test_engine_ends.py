"""How an engine ends, and what its callers are told: failing functions, mistakes, a full disk, closing, cancelling."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import holdfast as hf
from holdfast.core.errors import DirectoryInUseError
from holdfast.runtime.fronts import ThreadFront
from tests.repository import ROOT
from tests.runtime.bank import WAYS, Account, Order, bank, book, customer, run, under_asyncio, under_trio

ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
UNLUCKY = Order("ann", 13)


@ways
def test_a_function_that_fails_stops_the_engine_and_says_so_to_everybody(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        assert await engine.ask("orders", Order("ann", 1)) == [("ann", 1)]
        with pytest.raises(hf.EngineStoppedError, match=r"step 'book' failed.*unlucky") as stopped:
            await engine.ask("orders", UNLUCKY)
        assert isinstance(stopped.value.__cause__, hf.StoppedError)
        with pytest.raises(hf.EngineStoppedError, match="unlucky"):
            await engine.send("orders", Order("ann", 1))
        with pytest.raises(hf.EngineStoppedError, match="unlucky"):
            await engine.query("book", "ann")

    with pytest.raises(hf.StoppedError) as reason:
        run(bank(), tmp_path / "data", body, way)
    assert (reason.value.step, reason.value.key, reason.value.offset) == ("book", "'ann'", 1)


def test_an_engine_that_was_stopped_by_a_function_stops_again_until_it_is_mended(tmp_path: Path) -> None:
    async def fails(engine: Any) -> None:
        with pytest.raises(hf.EngineStoppedError):
            await engine.ask("orders", UNLUCKY, id=("p", 1))

    async def mended(engine: Any) -> None:
        assert await engine.ask("orders", UNLUCKY, id=("p", 1)) == []
        assert await engine.ask("orders", Order("ann", 1), id=("p", 2)) == [("ann", 1)]

    for _ in range(2):
        with pytest.raises(hf.StoppedError):
            run(bank(), tmp_path / "data", fails)
    run(bank(on_error="skip"), tmp_path / "data", mended)


@ways
def test_under_skip_a_failed_message_is_answered_with_nothing(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        assert await engine.ask("orders", UNLUCKY) == []
        assert await engine.ask("orders", Order("ann", 1)) == [("ann", 1)]
        assert await engine.query("book", "ann") == Account(1, [1])

    run(bank(on_error="skip"), tmp_path / "data", body, way)


def test_answers_stay_right_when_other_messages_fail_among_them(tmp_path: Path) -> None:
    """A failure behind state makes the engine return to its checkpoint, with callers waiting."""
    answers: dict[int, Any] = {}

    async def one(engine: Any, number: int) -> None:
        answers[number] = await engine.ask("orders", Order(f"c{number}", number), id=("p", number))

    async def body(engine: Any) -> None:
        await asyncio.gather(*(one(engine, number) for number in range(60)))
        await asyncio.gather(*(one(engine, number) for number in range(60)))

    run(bank(on_error="skip"), tmp_path / "data", body, under_asyncio)

    assert answers == {n: [(f"c{n}", n)] if n != 13 else [] for n in range(60)}


@ways
def test_mistakes_of_a_caller_harm_nobody_else(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        with pytest.raises(hf.UsageError, match=r"no source 'order' .* there are: 'orders'"):
            await engine.send("order", Order("ann", 1))
        with pytest.raises(hf.ValueTypeError, match="message to 'orders' can't be sent"):
            await engine.ask("orders", Order("ann", object()))  # type: ignore[arg-type]
        with pytest.raises(hf.UsageError, match="no stateful step 'bok'; there are: 'book'"):
            await engine.query("bok", "ann")
        with pytest.raises(hf.KeyTypeError):
            await engine.query("book", ["ann"])
        assert await engine.ask("orders", Order("ann", 1)) == [("ann", 1)]

    run(bank(), tmp_path / "data", body, way)


@ways
def test_an_ask_that_no_reply_step_could_answer_is_refused_and_changes_nothing(way: Any, tmp_path: Path) -> None:
    app = hf.Application("mute")
    app.source(hf.sources.Send(), name="orders").key_by(customer).stateful(book, state=Account)

    async def body(engine: Any) -> None:
        with pytest.raises(hf.UsageError, match=r"application 'mute' has no \.reply\(\) step; .* use send\(\)"):
            await engine.ask("orders", Order("ann", 1))
        with pytest.raises(hf.UsageError, match="no source 'order'"):
            await engine.ask("order", Order("ann", 1))
        await engine.send("orders", Order("ann", 2))
        assert await engine.query("book", "ann") == Account(2, [2])

    run(app, tmp_path / "data", body, way)


def in_part(name: str) -> hf.Application:
    """An application whose source `deaf` leads past its reply steps; `far` reaches one behind a branch and a merge."""
    app = hf.Application(name, on_error="skip")
    deaf, far, near = (app.source(hf.sources.Send(), name=source) for source in ("deaf", "far", "near"))
    deaf.sink(hf.sinks.Memory(), name="words")
    small, _ = far.key_by(str).stateful(tally, state=list).branch(str.islower)
    small.merge(near).map(str.upper).reply()
    return app


def tally(word: str, seen: list[str]) -> str:
    seen.append(word)
    return word


@ways
def test_an_ask_is_refused_where_its_source_leads_to_no_reply_step(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        with pytest.raises(hf.UsageError, match=r"no \.reply\(\) step of application 'part' gets messages .* 'deaf'"):
            await engine.ask("deaf", "a")
        assert await engine.ask("near", "a") == ["A"]
        assert await engine.ask("far", "b") == ["B"]
        assert await engine.ask("far", "B") == [], "it could have been answered, and was not"

    run(in_part("part"), tmp_path / "data", body, way)


@pytest.mark.parametrize("options", [{"workers": 2}, {"coordinator": "127.0.0.1:1"}], ids=["own", "joined"])
def test_in_front_of_a_cluster_too_an_ask_that_nothing_could_answer_is_refused(options: Any) -> None:
    session = hf.Engine(in_part("part"), **options)._session
    session.begun = True  # whoever has begun has met no cluster yet

    with pytest.raises(hf.UsageError, match="'deaf'"):
        session.letter("deaf", "a", None, ThreadFront(), asks=True)
    session.letter("deaf", "a", None, ThreadFront(), asks=False)
    session.letter("far", "a", None, ThreadFront(), asks=True)


@ways
def test_sending_after_the_block_is_refused(way: Any, tmp_path: Path) -> None:
    kept: list[Any] = []

    async def body(engine: Any) -> None:
        kept.append(engine)

    run(bank(), tmp_path / "data", body, way)

    async def late() -> None:
        with pytest.raises(hf.EngineStoppedError, match="closed"):
            await kept[0].send("orders", Order("ann", 1))

    if way is under_trio:
        with pytest.raises(hf.UsageError, match=r"another event loop|not running"):
            trio.run(kept[0].send, "orders", Order("ann", 1))
    elif way is under_asyncio:
        with pytest.raises(hf.UsageError, match="another event loop"):
            asyncio.run(kept[0].send("orders", Order("ann", 1)))
    else:
        with pytest.raises(StopIteration):
            late().send(None)


def test_an_engine_that_was_not_entered_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(hf.UsageError, match="enter it"):
        hf.Engine(bank(), data=tmp_path / "data").send("orders", Order("ann", 1))


def test_an_engine_is_entered_once(tmp_path: Path) -> None:
    engine = hf.Engine(bank(), data=tmp_path / "data")
    with engine:
        pass
    with pytest.raises(hf.UsageError, match="entered once"), engine:
        pass


def test_only_an_application_is_taken() -> None:
    with pytest.raises(hf.UsageError, match="takes an hf"):
        hf.Engine("bank")  # type: ignore[arg-type]


def test_a_directory_in_use_is_refused_where_the_engine_is_entered(tmp_path: Path) -> None:
    with hf.Engine(bank(), data=tmp_path / "data") as first:
        with pytest.raises(DirectoryInUseError), hf.Engine(bank(), data=tmp_path / "data"):
            pass
        assert first.ask("orders", Order("ann", 1)) == [("ann", 1)]


def test_a_step_that_calls_its_own_engine_is_refused_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    engines: list[Any] = []
    app = hf.Application("selfish")
    app.source(hf.sources.Send(), name="words").map(lambda word: engines[0].ask("words", word)).reply()

    async def body(engine: Any) -> None:
        engines.append(engine._engine)
        with pytest.raises(hf.EngineStoppedError, match="can't call its own engine"):
            await engine.ask("words", "hello")

    with pytest.raises(hf.StoppedError):
        run(app, tmp_path / "data", body)


def test_an_interpreter_without_assertions_is_refused(tmp_path: Path) -> None:
    program = "import holdfast as hf\nfrom tests.runtime.bank import bank\nwith hf.Engine(bank(), data='data'): pass"
    command = [sys.executable, "-O", "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )

    assert done.returncode == 1
    assert "python -O leaves out the assertions" in done.stderr


def test_asks_in_flight_are_answered_when_the_engine_closes(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        async with hf.Engine(bank(), data=tmp_path / "data") as engine:
            asks = [asyncio.ensure_future(engine.ask("orders", Order(f"c{n}", 1))) for n in range(300)]
            await asyncio.sleep(0)
        return list(await asyncio.gather(*asks))

    assert asyncio.run(main()) == [[(f"c{n}", 1)] for n in range(300)]


def test_asks_in_flight_are_answered_when_a_trio_block_ends(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}

    async def ask(engine: Any, number: int, started: trio.Event) -> None:
        started.set()
        answers[number] = await engine.ask("orders", Order(f"c{number}", 1))

    async def main() -> None:
        async with trio.open_nursery() as nursery, hf.Engine(bank(), data=tmp_path / "data") as engine:
            for number in range(100):
                started = trio.Event()
                nursery.start_soon(ask, engine, number, started)
                await started.wait()

    trio.run(main)
    assert answers == {n: [(f"c{n}", 1)] for n in range(100)}


def test_a_cancelled_block_ends_in_order_and_keeps_what_was_sent(tmp_path: Path) -> None:
    async def with_trio() -> None:
        with trio.CancelScope() as scope:
            async with hf.Engine(bank(), data=tmp_path / "trio") as engine:
                await engine.send("orders", Order("ann", 1))
                scope.cancel()
                await engine.send("orders", Order("ann", 1))
        assert scope.cancelled_caught

    async def with_asyncio() -> None:
        entered = asyncio.Event()

        async def serve() -> None:
            async with hf.Engine(bank(), data=tmp_path / "asyncio") as engine:
                await engine.send("orders", Order("ann", 1))
                entered.set()
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(serve())
        await entered.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def look(engine: Any) -> None:
        assert (await engine.query("book", "ann")).balance == 1

    trio.run(with_trio)
    asyncio.run(with_asyncio())
    for name in ("trio", "asyncio"):
        run(bank(), tmp_path / name, look)


def test_a_start_can_be_cancelled(tmp_path: Path) -> None:
    async def with_trio() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with hf.Engine(bank(), data=tmp_path / "data"):
                raise AssertionError("the block was entered")
        assert scope.cancelled_caught

    async def with_asyncio() -> None:
        async def enter() -> None:
            async with hf.Engine(bank(), data=tmp_path / "data"):
                raise AssertionError("the block was entered")

        task = asyncio.ensure_future(enter())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    trio.run(with_trio)
    asyncio.run(with_asyncio())
    with hf.Engine(bank(), data=tmp_path / "data") as engine:
        engine.send("orders", Order("ann", 1))


def test_the_error_of_the_block_is_not_hidden(tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        with pytest.raises(hf.EngineStoppedError):
            await engine.ask("orders", UNLUCKY)
        raise KeyError("mine")

    for way in WAYS:
        with pytest.raises(KeyError, match="mine"):
            run(bank(), tmp_path / way.__name__, body, way)


# Asks until the disk is full; prints how many were answered and what the next callers are told.
FILL = """
import asyncio, resource, sys
import holdfast as hf
from tests.runtime.bank import Order, bank

async def main():
    answered = 0
    async with hf.Engine(bank(), data=sys.argv[1]) as engine:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
        try:
            while True:
                await engine.ask("orders", Order("ann" * 10_000, 1), id=("p", answered + 1))
                answered += 1
        except hf.EngineStoppedError as error:
            print(answered, type(error.__cause__).__name__)
        try:
            await engine.send("orders", Order("ann", 1))
        except hf.EngineStoppedError as error:
            print(type(error.__cause__).__name__)

try:
    asyncio.run(main())
except hf.HoldfastError as error:
    print(type(error).__name__)
"""


def test_a_full_disk_is_told_and_nothing_that_was_answered_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path / "data"), str(3 << 20)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
    answered, *told = done.stdout.split()
    name = "ann" * 10_000

    with hf.Engine(bank(), data=tmp_path / "data") as engine:
        assert told == ["DiskFullError"] * 3
        assert int(answered) > 10
        assert engine.query("book", name).balance in (int(answered), int(answered) + 1)
        for number in range(1, int(answered) + 1):
            assert engine.ask("orders", Order(name, 1), id=("p", number)) == [(name, number)]
        assert engine.ask("orders", Order(name, 1), id=("p", int(answered) + 1)) == [(name, int(answered) + 1)]


def test_queries_never_see_less_than_was_acknowledged_while_the_engine_returns(tmp_path: Path) -> None:
    """The first failure behind state makes the engine go back to its checkpoint and do everything again."""

    async def ask_and_look(engine: Any, name: str) -> None:
        for number in range(1, 40):
            await engine.send("orders", Order(name, 1 if number != 9 or name != "c0" else 13))
            seen = (await engine.query("book", name)).balance
            assert seen == (number if name != "c0" or number < 9 else number - 1)

    async def body(engine: Any) -> None:
        await asyncio.gather(*(ask_and_look(engine, f"c{n}") for n in range(8)))

    run(bank(on_error="skip"), tmp_path / "data", body, under_asyncio)
