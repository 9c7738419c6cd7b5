"""Callers that give up at any moment, and ask again: every message counts once, and nobody else notices."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

import holdfast as hf
from tests.runtime.bank import Account, Order, bank, run, under_asyncio, under_trio

ASKS = 60
PATIENCE_SECONDS_MAX = 0.004


async def patient_for(seconds: float, ask: Any) -> Any:
    """The answer, or None where it did not come in time."""
    if seconds == 0.0:
        task = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0] if not task.cancelled() else None
    try:
        return await asyncio.wait_for(ask(), seconds)
    except TimeoutError:
        return None


async def patient_in_trio(seconds: float, ask: Any) -> Any:
    with trio.move_on_after(seconds):
        return await ask()
    return None


@pytest.mark.parametrize(("way", "patient"), [(under_asyncio, patient_for), (under_trio, patient_in_trio)])
@pytest.mark.parametrize("with_intake", [False, True])
def test_callers_may_give_up_at_any_moment_and_ask_again(
    way: Any, patient: Any, with_intake: bool, tmp_path: Path
) -> None:
    random = Random(1)

    async def body(engine: Any) -> None:
        for number in range(1, ASKS + 1):
            answer = None
            while answer is None or isinstance(answer, BaseException):
                seconds = random.choice([0.0, random.uniform(0, PATIENCE_SECONDS_MAX), 5.0])
                answer = await patient(seconds, lambda n=number: engine.ask("orders", Order("ann", 1), id=("p", n)))
            assert answer == [("ann", number)]
        assert await engine.query("book", "ann") == Account(ASKS, [1] * ASKS)

    app = bank()
    if with_intake:
        app.sources[0].intake = lambda order: order
    run(app, tmp_path / "data", body, way)


def test_a_caller_that_gave_up_holds_up_no_other(tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        asks = [asyncio.ensure_future(engine.ask("orders", Order(f"c{n}", 1))) for n in range(50)]
        await asyncio.sleep(0)
        for ask in asks[::2]:
            ask.cancel()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert answers[1::2] == [[(f"c{n}", 1)] for n in range(1, 50, 2)]
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
        for number in range(50):  # given up is not undone: what was sent is in the order
            assert (await engine.query("book", f"c{number}")).balance == 1

    run(bank(), tmp_path / "data", body, under_asyncio)


def test_an_exception_in_the_block_with_asks_in_flight_loses_nothing(tmp_path: Path) -> None:
    class MineError(Exception):
        pass

    async def failing(engine: Any) -> None:
        for number in range(50):
            asyncio.ensure_future(engine.send("orders", Order(f"c{number}", 1)))  # noqa: RUF006 - abandoned on purpose
        await asyncio.sleep(0)
        raise MineError

    with pytest.raises(MineError):
        run(bank(), tmp_path / "data", failing, under_asyncio)
    with hf.Engine(bank(), data=tmp_path / "data") as engine:
        assert all(engine.query("book", f"c{number}").balance == 1 for number in range(50))


def test_a_loop_that_is_closed_around_an_engine_leaves_it_usable_for_threads(tmp_path: Path) -> None:
    entered = threading.Event()
    blocking: list[Any] = []
    engine = hf.Engine(bank(), data=tmp_path / "data")

    async def abandon() -> None:
        view = await engine.__aenter__()
        blocking.append(view.blocking)
        asyncio.ensure_future(view.ask("orders", Order("ann", 1)))  # noqa: RUF006 - abandoned on purpose
        await asyncio.sleep(0)
        entered.set()

    asyncio.run(abandon())
    assert entered.is_set()
    assert blocking[0].ask("orders", Order("ann", 1)) == [("ann", 2)]
    engine.close()
