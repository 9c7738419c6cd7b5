"""An intake function behind the HTTP source: what is logged in which order, who is told what, what a kill leaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast as hf
from holdfast.connectors.http_source import Http
from holdfast.connectors.passage import Passage
from holdfast.core.connector import Sent
from tests.cli.command import running, write
from tests.connectors.ports import free_port
from tests.connectors.test_http import JSON, LINES, Desk, Requester, order_until_answered, post


class Calls:
    """An intake function whose calls wait until the test lets each go."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.changed = threading.Condition()
        self.may_end: set[Any] = set()

    def __call__(self, message: Any) -> Any:
        with self.changed:
            self.begun.append(message)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: message in self.may_end, 30)
        if message == "bad":
            raise ValueError("it is bad")
        return [message]

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, 30)

    def end(self, *messages: Any) -> None:
        with self.changed:
            self.may_end.update(messages)
            self.changed.notify_all()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def desk(calls: Calls) -> Iterator[Desk]:
    source = Http("127.0.0.1:0", "/in")
    source.put_through(calls, 2)
    desk = Desk(source)
    yield desk
    desk.close()


def test_what_the_function_gives_is_logged_in_the_order_in_which_requests_came(desk: Desk, calls: Calls) -> None:
    first = Requester(desk, b'"a"', JSON)
    calls.wait_for(1)
    second = Requester(desk, b'"b"', JSON)
    calls.wait_for(2)
    calls.end("b")
    calls.end("a")

    assert first.result() == second.result() == (200, {"records": 1})
    assert desk.records == [["a"], ["b"]]


def test_no_more_calls_are_under_way_than_may_be() -> None:
    under_way: list[int] = []
    most = 0

    async def slow(message: int) -> int:
        nonlocal most
        under_way.append(message)
        for _ in range(10):
            await asyncio.sleep(0)
        most = max(most, len(under_way))
        under_way.remove(message)
        return message

    assert Passage(slow, 2, "test").through(range(20), list) == list(range(20))
    assert most == 2


def test_a_request_for_which_the_function_raises_is_refused_whole_and_harms_no_other(desk: Desk, calls: Calls) -> None:
    calls.end("a", "bad", "b")

    status, said = desk.post(b'"a"\n"bad"\n', LINES)

    assert (status, said["error"]) == (
        422,
        "the intake function failed: ValueError: it is bad; nothing of this request was taken",
    )
    assert desk.post(b'"b"', JSON) == (200, {"records": 1})
    assert desk.records == [["b"]]


def test_who_waits_for_the_function_when_reading_ends_is_to_send_again(desk: Desk, calls: Calls) -> None:
    requests = [Requester(desk, json.dumps(name).encode(), JSON) for name in "ab"]
    calls.wait_for(2)
    desk.close()
    calls.end("a", "b")

    results = [request.result() for request in requests]
    assert [result[0] for result in results if result is not None] == [503, 503]
    assert desk.records == []
    desk.open(0)
    assert desk.post(b'"a"', JSON) == (200, {"records": 1})


def test_ids_stay_with_what_the_function_gives() -> None:
    async def doubled(message: int) -> int:
        await asyncio.sleep(0)
        return 2 * message

    source = Http("127.0.0.1:0", "/in")
    source.put_through(doubled, 3)
    desk = Desk(source)
    desk.post(b"1\n2\n", LINES | {"Holdfast-Producer": "p", "Holdfast-Sequence": "7"})
    desk.close()

    assert desk.records == [Sent(2, "p", 7), Sent(4, "p", 8)]


def test_requests_go_on_after_one_that_came_while_calls_were_closed() -> None:
    passage = Passage(str, 1, "test")
    passage.close()

    assert passage.through([1, 2], list) == ["1", "2"]
    with pytest.raises(ZeroDivisionError):
        passage.through([3], lambda _: 1 // 0)
    assert passage.through([4], list) == ["4"]


# --- a run

APP = """
import holdfast as hf


def checked(order: dict) -> dict:
    with open("asked.txt", "a") as asked:
        asked.write(f"{order['number']}\\n")
    return order | {"price": 3}


def book(order: dict, seen: list) -> list:
    seen.append(order["number"])
    return [order["customer"], order["number"], order["price"], len(seen)]


app = hf.Application("orders")
orders = app.source(hf.sources.Http("127.0.0.1:PORT", "/orders")).intake(checked)
orders.key_by(lambda order: order["customer"]).stateful(book, state=list).sink(hf.sinks.JsonLines("booked.jsonl"))
"""


@pytest.mark.parametrize("options", [[], ["--workers", "2", "--backups", "1"]], ids=["one", "cluster"])
def test_results_are_kept_through_a_kill_and_never_asked_for_again(options: list[str], tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path, APP.replace("PORT", str(port)))
    with running(tmp_path, "run", "app.py", *options) as process:
        assert order_until_answered(port, 0, 4) >= 1
        process.kill()
        process.wait(30)
    asked = (tmp_path / "asked.txt").read_text().split()
    with running(tmp_path, "run", "app.py", *options) as process:
        order_until_answered(port, 4, 1)
        process.terminate()
        assert process.wait(30) == 143

    assert (tmp_path / "asked.txt").read_text().split() == [*asked, "4"]
    booked = [json.loads(line) for line in (tmp_path / "booked.jsonl").read_text().splitlines()]
    assert [[number, price] for _, number, price, _ in booked] == [[n, 3] for n in range(5)]


def test_an_embedded_engine_puts_what_comes_by_http_through_the_function(tmp_path: Path) -> None:
    app = hf.Application("embedded")
    source = Http("127.0.0.1:0", "/in")
    app.source(source).intake(checked).key_by(str).stateful(keep, state=list).sink(hf.sinks.Memory())

    with hf.Engine(app, data=tmp_path / "d") as engine:
        assert post(source.port, b'"a"', JSON) == (200, {"records": 1})
        assert engine.query("keep", "a!") == ["a!"]


def checked(message: str) -> str:
    return message + "!"


def keep(message: str, kept: list[str]) -> None:
    kept.append(message)
