"""A service with an engine in it, to be killed: accounts behind a socket, started again and again by a fork.

`python -m tests.kills.service` imports everything once and then forks a service for every line of JSON on its stdin:
{"socket": path, "env": {…}}. Answers, a line each: {"pid": n}, then {"listening": path} once it takes requests, and
{"status": n} when it has ended. A request is a line of JSON: [kind, producer, sequence, customer, amount]; so is its
answer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import secrets
import sys
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

import holdfast as hf

OUTPUT = "booked.jsonl"


@dataclass
class Order:
    producer: str
    sequence: int
    customer: str
    amount: int


@dataclass
class Marked:
    order: Order
    mark: str  # drawn by the intake function: another one in every call


@dataclass
class Account:
    balance: int = 0
    count: int = 0


async def marked(order: Order) -> Marked:
    await asyncio.sleep(0)
    return Marked(order, secrets.token_hex(4))


def customer(marked: Marked) -> str:
    return marked.order.customer


def book(marked: Marked, account: Account, ctx: hf.Context) -> list[Any]:
    order = marked.order
    account.balance += order.amount
    account.count += 1
    if order.amount == 13:
        raise ValueError("it is skipped: its caller is answered with nothing, and its account is as before")
    return [order.producer, order.sequence, order.customer, order.amount, account.balance, account.count, marked.mark]


def application() -> hf.Application:
    app = hf.Application("service", on_error="skip")
    (
        app.source(hf.sources.Send[Order](remembered=50_000), name="orders")
        .intake(marked, concurrency=4)
        .key_by(customer)
        .stateful(book, state=Account)
        .reply()
        .sink(hf.sinks.JsonLines(OUTPUT))
    )
    return app


async def serve(path: str) -> None:
    async with hf.Engine(application(), data="data") as engine:

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                kind, *fields = json.loads(line)
                order = Order(*fields)
                identity = (order.producer, order.sequence)
                answer: Any = None
                if kind == "ask":
                    answer = await engine.ask("orders", order, id=identity)
                else:
                    await engine.send("orders", order, id=identity)
                writer.write(json.dumps(answer).encode() + b"\n")

        server = await asyncio.start_unix_server(connected, path)
        tell({"listening": path})
        async with server:
            await server.serve_forever()


def be_the_service(request: dict[str, Any]) -> NoReturn:
    os.environ.update(request["env"])
    log = os.open("service.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    try:
        asyncio.run(serve(request["socket"]))
    except BaseException:  # noqa: BLE001 - the test shows what is said here
        traceback.print_exc()
    os._exit(1)


def main() -> None:
    hf.Engine(application(), data="data")  # which loads what every service needs
    gc.freeze()
    child = 0
    for line in sys.stdin:
        if child:
            os.waitpid(child, 0)
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            be_the_service(request)
        tell({"pid": child})
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        tell({"status": -ended.si_status if ended.si_code == os.CLD_KILLED else ended.si_status})
    if child:
        os.waitpid(child, 0)


def tell(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
