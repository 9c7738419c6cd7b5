"""The engine in somebody's process: what `send`, `ask` and `query` give, however it was entered."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

import holdfast as hf
from tests.runtime.bank import WAYS, Account, Order, bank, customer, in_a_thread, run, under_asyncio, under_trio

ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@ways
def test_an_ask_gives_what_its_message_sent_through_replies_in_order(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        assert await engine.ask("orders", Order("ann", 5)) == [("ann", 5)]
        assert await engine.ask("orders", Order("ann", -7)) == [("ann", -2), ("overdrawn", -2)]

    run(bank(), tmp_path / "data", body, way)


@ways
def test_a_query_sees_what_was_sent_before_it(way: Any, tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        for amount in range(20):
            await engine.send("orders", Order("ann", amount if amount != 13 else 0))
        assert await engine.query("book", "ann") == Account(177, [*range(13), 0, *range(14, 20)])
        assert await engine.query("book", "nobody") is None

    run(bank(), tmp_path / "data", body, way)


@ways
def test_what_was_sent_is_there_when_the_engine_is_entered_again(way: Any, tmp_path: Path) -> None:
    async def first(engine: Any) -> None:
        await engine.send("orders", Order("ann", 5))

    async def second(engine: Any) -> None:
        assert await engine.query("book", "ann") == Account(5, [5])

    run(bank(), tmp_path / "data", first, way)
    run(bank(), tmp_path / "data", second, way)


@ways
def test_outputs_stand_in_the_sink_as_the_reference_gives_them(way: Any, tmp_path: Path) -> None:
    orders = [Order("ann", 1), Order("bob", -2), Order("ann", 3)]
    sink = hf.sinks.Memory()

    async def body(engine: Any) -> None:
        for order in orders:
            await engine.send("orders", order)

    run(bank(sink), tmp_path / "data", body, way)

    assert hf.testing.run(bank(hf.sinks.Memory()), {"orders": orders}) == {"sink": sink.outputs}


@ways
def test_an_answer_is_the_callers_own(way: Any, tmp_path: Path) -> None:
    """State that is sent as a reply does not change in the caller's hands, nor the caller's copy in the engine's."""

    def remember(order: Order, amounts: list[int]) -> list[int]:
        amounts.append(order.amount)
        return amounts

    app = hf.Application("own")
    app.source(hf.sources.Send(), name="orders").key_by(customer).stateful(remember, state=list).reply()

    async def body(engine: Any) -> None:
        (first,) = await engine.ask("orders", Order("ann", 1))
        first.append("mine")
        (second,) = await engine.ask("orders", Order("ann", 2))
        assert second == [1, 2]
        assert first == [1, "mine"]
        queried = await engine.query("remember", "ann")
        queried.clear()
        assert await engine.query("remember", "ann") == [1, 2]

    run(app, tmp_path / "data", body, way)


def test_replies_of_several_stages_come_in_serial_order(tmp_path: Path) -> None:
    """The branch that leads through an entity is defined first, so its replies come first although made later."""

    def count(number: int, seen: list[int]) -> tuple[str, int]:
        seen.append(number)
        return "counted", len(seen)

    app = hf.Application("stages")
    numbers = app.source(hf.sources.Send(), name="numbers").flat_map(lambda n: [n, n + 1])
    numbers.key_by(lambda n: 0).stateful(count, state=list).reply()
    numbers.map(lambda n: ("direct", n)).reply()

    async def body(engine: Any) -> None:
        assert await engine.ask("numbers", 4) == [("counted", 1), ("direct", 4), ("counted", 2), ("direct", 5)]

    run(app, tmp_path / "data", body)


def test_small_replies_of_one_message_are_all_given(tmp_path: Path) -> None:
    """Images of one byte are one object, however many messages they are of."""
    app = hf.Application("small")
    app.source(hf.sources.Send(), name="counts").flat_map(lambda n: [None] * n).reply()
    with hf.Engine(app, data=tmp_path / "data") as engine:
        assert [engine.ask("counts", n) for n in range(4)] == [[], [None], [None, None], [None] * 3]


def test_a_hundred_callers_get_their_own_answers_in_either_loop(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}

    async def one(engine: Any, number: int) -> None:
        for _ in range(5):
            answers[number] = await engine.ask("orders", Order(f"c{number}", number if number != 13 else 0))

    async def with_asyncio(engine: Any) -> None:
        await asyncio.gather(*(one(engine, number) for number in range(100)))

    async def with_trio(engine: Any) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, engine, number)

    for name, way, body, times in (("a", under_asyncio, with_asyncio, 5), ("t", under_trio, with_trio, 5)):
        answers.clear()
        run(bank(), tmp_path / name, body, way)
        assert answers == {n: [(f"c{n}", times * (n if n != 13 else 0))] for n in range(100)}


def test_many_threads_may_call_at_once(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}
    with hf.Engine(bank(), data=tmp_path / "data") as engine:

        def call(number: int) -> None:
            for _ in range(10):
                answers[number] = engine.ask("orders", Order(f"c{number}", 1))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == {number: [(f"c{number}", 10)] for number in range(16)}


def test_threads_may_use_an_engine_that_a_loop_has_entered(tmp_path: Path) -> None:
    async def main() -> None:
        async with hf.Engine(bank(), data=tmp_path / "data") as engine:
            blocking = engine.blocking
            assert await asyncio.to_thread(blocking.ask, "orders", Order("ann", 5)) == [("ann", 5)]
            assert await engine.ask("orders", Order("ann", 5)) == [("ann", 10)]

    asyncio.run(main())


def test_an_engine_can_be_used_without_the_name_that_with_gives(tmp_path: Path) -> None:
    async def main() -> None:
        engine = hf.Engine(bank(), data=tmp_path / "data")
        async with engine:
            await engine.send("orders", Order("ann", 1))
            assert await engine.ask("orders", Order("ann", 1)) == [("ann", 2)]
            assert (await engine.query("book", "ann")).balance == 2

    asyncio.run(main())
    engine = hf.Engine(bank(), data=tmp_path / "data")
    with engine:
        engine.send("orders", Order("ann", 1))
        assert engine.ask("orders", Order("ann", 1)) == [("ann", 4)]
        assert engine.query("book", "ann").balance == 4


def test_an_engine_is_opened_and_closed_by_hand_where_no_block_fits(tmp_path: Path) -> None:
    engine = hf.Engine(bank(), data=tmp_path / "data")
    session = engine.open()
    assert session.ask("orders", Order("ann", 1)) == [("ann", 1)]
    engine.close()
    with pytest.raises(hf.EngineStoppedError, match="closed"):
        session.ask("orders", Order("ann", 1))


def test_two_engines_run_in_one_process(tmp_path: Path) -> None:
    with (
        hf.Engine(bank(), data=tmp_path / "one") as one,
        hf.Engine(bank(), data=tmp_path / "two") as two,
    ):
        assert one.ask("orders", Order("ann", 1)) == [("ann", 1)]
        assert two.ask("orders", Order("ann", 2)) == [("ann", 2)]
        assert one.query("book", "ann") == Account(1, [1])


def test_one_process_can_hold_an_asyncio_engine_and_a_trio_engine(tmp_path: Path) -> None:
    async def body(engine: Any) -> None:
        for number in range(1, 20):
            assert await engine.ask("orders", Order("ann", 1)) == [("ann", number)]

    other = threading.Thread(target=run, args=(bank(), tmp_path / "one", body, under_trio))
    other.start()
    run(bank(), tmp_path / "two", body, under_asyncio)
    other.join()


def test_signal_handlers_stay_as_they_are(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    before = [signal.getsignal(number) for number in numbers]
    with hf.Engine(bank(), data=tmp_path / "data"):
        assert [signal.getsignal(number) for number in numbers] == before
    assert [signal.getsignal(number) for number in numbers] == before


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    async def body(engine: Any) -> None:
        await engine.send("orders", Order("ann", 1))

    for way in WAYS:
        run(bank(), tmp_path / way.__name__, body, way)

    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("holdfast")]
    assert left == []


def test_a_state_larger_than_memory_can_be_queried(tmp_path: Path) -> None:
    app = hf.Application("large", entities_in_memory=8)
    (
        app.source(hf.sources.Send(), name="orders")
        .key_by(customer)
        .stateful(lambda order, account: account.amounts.append(order.amount), state=Account, name="keep")
    )

    async def fill(engine: Any) -> None:
        for number in range(200):
            await engine.send("orders", Order(f"c{number}", number), id=("p", number))

    async def look(engine: Any) -> None:
        for number in range(200):
            assert await engine.query("keep", f"c{number}") == Account(0, [number])
        assert await engine.query("keep", "c200") is None

    run(app, tmp_path / "data", fill)
    run(app, tmp_path / "data", look)


def test_a_message_of_a_class_that_no_function_names_is_read_again(tmp_path: Path) -> None:
    """The state is only checkpointed at the end; until then the log alone tells what the message was."""
    app = hf.Application("unnamed")
    app.source(hf.sources.Send(), name="orders").reply()

    with hf.Engine(app, data=tmp_path / "data") as engine:
        (reply,) = engine.ask("orders", Order("ann", 1))
    assert reply == Order("ann", 1)


def test_an_application_that_only_keeps_state_needs_no_sink(tmp_path: Path) -> None:
    app = hf.Application("state-only")
    app.source(hf.sources.Send(), name="orders").key_by(customer).stateful(book_nothing, state=Account)

    with hf.Engine(app, data=tmp_path / "data") as engine:
        engine.send("orders", Order("ann", 4))
        assert engine.query("book_nothing", "ann") == Account(4, [])


def book_nothing(order: Order, account: Account) -> None:
    account.balance += order.amount


def test_other_sources_run_beside_what_is_sent(tmp_path: Path) -> None:
    app = hf.Application("mixed")
    sent = app.source(hf.sources.Send(), name="orders")
    other = app.source(hf.sources.Memory([Order("ann", 100)]), name="other")
    other.merge(sent).key_by(customer).stateful(book_nothing, state=Account)

    async def body(engine: Any) -> None:
        await engine.send("orders", Order("ann", 1))
        assert (await engine.query("book_nothing", "ann")).balance in (1, 101)

    run(app, tmp_path / "data", body, in_a_thread)
    with hf.Engine(app, data=tmp_path / "data") as engine:
        assert engine.query("book_nothing", "ann").balance == 101
