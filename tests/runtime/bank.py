"""A service's application: an account per customer, with replies, for the tests of the engine in a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

import holdfast as hf

Body = Callable[[Any], Awaitable[None]]


@dataclass
class Order:
    customer: str
    amount: int


@dataclass
class Account:
    balance: int = 0
    amounts: list[int] = field(default_factory=list)


def customer(order: Order) -> str:
    return order.customer


def book(order: Order, account: Account) -> tuple[str, int]:
    if order.amount == 13:
        raise ValueError("unlucky")
    account.balance += order.amount
    account.amounts.append(order.amount)
    return order.customer, account.balance


def both_ways(booked: tuple[str, int]) -> Iterator[tuple[str, int]]:
    yield booked
    if booked[1] < 0:
        yield ("overdrawn", booked[1])


def bank(sink: Any = None, *, remembered: int = 1000, on_error: Any = "stop") -> hf.Application:
    app = hf.Application("bank", on_error=on_error)
    booked = (
        app.source(hf.sources.Send[Order](remembered=remembered), name="orders")
        .key_by(customer)
        .stateful(book, state=Account)
    )
    replies = booked.flat_map(both_ways).reply()
    if sink is not None:
        replies.sink(sink)
    return app


def under_asyncio(engine: hf.Engine, body: Body) -> None:
    async def main() -> None:
        async with engine as entered:
            await body(entered)

    asyncio.run(main())


def under_trio(engine: hf.Engine, body: Body) -> None:
    async def main() -> None:
        async with engine as entered:
            await body(entered)

    trio.run(main)


class Awaited:
    """A blocking engine with the face of the awaited one, so that one test serves all ways to enter."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def send(self, *args: Any, **kwargs: Any) -> None:
        self._engine.send(*args, **kwargs)

    async def ask(self, *args: Any, **kwargs: Any) -> list[Any]:
        answer: list[Any] = self._engine.ask(*args, **kwargs)
        return answer

    async def query(self, *args: Any) -> Any:
        return self._engine.query(*args)


def in_a_thread(engine: hf.Engine, body: Body) -> None:
    with engine as entered:
        coroutine = body(Awaited(entered))
        try:
            coroutine.send(None)  # type: ignore[attr-defined]
        except StopIteration:
            return
        raise AssertionError("a blocking call has waited for an event loop")


WAYS = [under_asyncio, under_trio, in_a_thread]


def run(app: hf.Application, data: Path, body: Body, way: Any = in_a_thread) -> None:
    """Enter an engine in this way and let `body` use it."""
    way(hf.Engine(app, data=data), body)
