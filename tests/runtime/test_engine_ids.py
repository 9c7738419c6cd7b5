"""Messages with ids: a retry has no effect and gets the same answer, also after a crash at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
import trio

import holdfast as hf
from holdfast.runtime.points import ALL_POINTS, Probe
from holdfast.runtime.rehearsal import Rehearsal
from tests.runtime.bank import WAYS, Account, Order, bank, run, under_asyncio, under_trio


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_retry_has_no_effect_and_gets_the_same_answer(way: Any, tmp_path: Path) -> None:
    async def first(engine: Any) -> None:
        assert await engine.ask("orders", Order("ann", -5), id=("p", 1)) == [("ann", -5), ("overdrawn", -5)]
        assert await engine.ask("orders", Order("ann", 1), id=("p", 7)) == [("ann", -4), ("overdrawn", -4)]
        assert await engine.ask("orders", Order("ann", -5), id=("p", 1)) == [("ann", -5), ("overdrawn", -5)]

    async def second(engine: Any) -> None:
        assert await engine.ask("orders", Order("ann", -5), id=("p", 1)) == [("ann", -5), ("overdrawn", -5)]
        await engine.send("orders", Order("ann", 1), id=("p", 7))
        assert await engine.query("book", "ann") == Account(-4, [-5, 1])

    run(bank(), tmp_path / "data", first, way)
    run(bank(), tmp_path / "data", second, way)


def test_without_an_id_nothing_is_dropped(tmp_path: Path) -> None:
    with hf.Engine(bank(), data=tmp_path / "data") as engine:
        assert [engine.ask("orders", Order("ann", 1)) for _ in range(3)] == [[("ann", 1)], [("ann", 2)], [("ann", 3)]]


def test_ids_belong_to_their_source(tmp_path: Path) -> None:
    app = hf.Application("two-sources")
    app.source(hf.sources.Send(), name="a").reply()
    app.source(hf.sources.Send(), name="b").reply()
    with hf.Engine(app, data=tmp_path / "data") as engine:
        assert engine.ask("a", "to a", id=("p", 1)) == ["to a"]
        assert engine.ask("b", "to b", id=("p", 1)) == ["to b"]
        assert engine.ask("a", "again", id=("p", 1)) == ["to a"]


def test_one_producer_may_have_many_messages_on_their_way_in_any_order(tmp_path: Path) -> None:
    """trio starts tasks in any order it likes: none may be taken for a retry because a higher one came first."""

    async def all_at_once(engine: Any) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, engine, number)

    async def ask(engine: Any, number: int) -> None:
        await engine.send("orders", Order("ann", 1), id=("p", number))

    async def again(engine: Any) -> None:
        await all_at_once(engine)
        assert (await engine.query("book", "ann")).balance == 200

    run(bank(), tmp_path / "data", all_at_once, under_trio)
    run(bank(), tmp_path / "data", again, under_trio)


def test_a_retry_whose_answer_is_forgotten_is_told_so_and_has_no_effect(tmp_path: Path) -> None:
    with hf.Engine(bank(remembered=3), data=tmp_path / "data") as engine:
        for number in range(20):
            engine.ask("orders", Order("ann", 1), id=("p", number))
        with pytest.raises(hf.AnswerForgottenError, match="processed before"):
            engine.ask("orders", Order("ann", 1), id=("p", 3))
        engine.send("orders", Order("ann", 1), id=("p", 3))
        assert engine.query("book", "ann").balance == 20


def test_fewer_are_remembered_only_where_nothing_is_done_again(tmp_path: Path) -> None:
    with hf.Engine(bank(remembered=100), data=tmp_path / "data") as engine:
        for number in range(50):
            engine.ask("orders", Order("ann", 1), id=("p", number))
    with hf.Engine(bank(remembered=5), data=tmp_path / "data") as engine:
        assert engine.ask("orders", Order("ann", 1), id=("p", 50)) == [("ann", 51)]
        with pytest.raises(hf.AnswerForgottenError):
            engine.ask("orders", Order("ann", 1), id=("p", 0))


@pytest.mark.parametrize("identity", [("p",), ("p", "1"), (1, 1), ("p", 1.0), "p1", ("p", True), 5])
def test_an_id_of_another_shape_is_refused(identity: Any, tmp_path: Path) -> None:
    with hf.Engine(bank(), data=tmp_path / "data") as engine:
        with pytest.raises(hf.UsageError, match="an id is"):
            engine.send("orders", Order("ann", 1), id=identity)
        assert engine.query("book", "ann") is None


class CrashError(Exception):
    """A process that ends here and now, as nearly as a test in one process can have it."""


class Crash(Probe):
    """Ends the engine at the n-th passage of any point; what was under way is left as it is."""

    def __init__(self, after: int) -> None:
        self.left = after

    def passed(self, point: str) -> None:
        assert point in ALL_POINTS
        self.left -= 1
        if self.left == 0:
            raise CrashError(point)


@pytest.mark.parametrize("after", range(3, 60, 2))
def test_an_engine_that_fails_at_any_point_keeps_what_it_answered(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: dict[int, Any] = {}

    async def ask_all(engine: Any) -> None:
        for number in range(12):
            if number not in answered:
                answered[number] = await engine.ask("orders", Order("ann", 1), id=("p", number))

    with monkeypatch.context() as patch, contextlib.suppress(CrashError, hf.HoldfastError):
        patch.setattr("holdfast.runtime.session.rehearsal", lambda: Rehearsal(Crash(after), 64))
        run(bank(hf.sinks.JsonLines(tmp_path / "out.jsonl")), tmp_path / "data", ask_all, under_asyncio)
    before = dict(answered)
    run(bank(hf.sinks.JsonLines(tmp_path / "out.jsonl")), tmp_path / "data", ask_all, under_asyncio)

    assert answered == {number: [("ann", number + 1)] for number in range(12)}
    assert before.items() <= answered.items()
    assert (tmp_path / "out.jsonl").read_text().splitlines() == [f'["ann",{n + 1}]' for n in range(12)]


def test_a_cancelled_caller_may_ask_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with hf.Engine(bank(), data=tmp_path / "data") as engine:
            for number in range(20):
                task = asyncio.ensure_future(engine.ask("orders", Order("ann", 1), id=("p", number)))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await engine.ask("orders", Order("ann", 1), id=("p", number)) == [("ann", number + 1)]

    asyncio.run(main())


def test_who_sent_again_since_is_not_the_first_whose_greatest_number_is_forgotten(tmp_path: Path) -> None:
    app = hf.Application("counted")
    app.source(hf.sources.Send(remembered=2), name="in").reply()
    with hf.Engine(app, data=tmp_path / "data") as engine:
        for producer, sequence in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("d", 1), ("e", 1)]:
            engine.ask("in", f"{producer}{sequence}", id=(producer, sequence))

        # Of a2, b1 and c1 two are remembered as the greatest of their producers: a2 came later than b1.
        assert engine.ask("in", "another", id=("a", 2)) == ["a2"]
