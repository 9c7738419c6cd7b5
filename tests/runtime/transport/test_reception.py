"""Workers and commands at the coordinator, over real sockets: registration, newest messages, earlier lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import trio
import trio.lowlevel

from holdfast.core.errors import UsageError
from holdfast.recovery.messages import Ask, Order, Phase, Restart, Status
from holdfast.recovery.wire import pack_status
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.book import Entry, Registration, pack_registration
from holdfast.runtime.transport.channels import REGISTRATION, STATUS
from holdfast.runtime.transport.coordinator_line import NUMBERS_SECONDS, CoordinatorLine
from holdfast.runtime.transport.dialer import Called, call
from holdfast.runtime.transport.framing import FrameWriter
from holdfast.runtime.transport.handshake import UNKNOWN_CLUSTER, Identity, Role
from holdfast.runtime.transport.question import ask
from holdfast.runtime.transport.reception import Reception
from tests.runtime.transport.network import QUICK, Lines, Wire, listening, run, until

SECRETS = (b"s" * 32,)
CLUSTER = "c" * 32
DESCRIPTION = b"word count"


class Coordinator:
    """A coordinator as far as its connections go."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.lines = Lines()
        self.statuses: list[Status] = []
        self.lost: list[tuple[str, int]] = []
        self.reception = Reception(
            Identity(Role.COORDINATOR, CLUSTER, CLUSTER, 1),
            SECRETS,
            QUICK,
            admit=lambda peer, registration: None if registration.description == DESCRIPTION else "other code",
            on_status=self.statuses.append,
            on_lost=lambda node, incarnation: self.lost.append((node, incarnation)),
            answer=lambda question: question.upper(),
            report=self.lines.report,
        )


class Worker:
    """A worker as far as its coordinator goes."""

    def __init__(
        self, name: str, coordinator: Address, *, incarnation: int = 1, description: bytes = DESCRIPTION
    ) -> None:
        self.node = name * 32
        self.incarnation = incarnation
        self.address = Address("127.0.0.1", 1000 + ord(name))
        self.clusters: list[str] = []
        self.orders: list[Order] = []
        self.books: list[tuple[Entry, ...]] = []
        self.refusals: list[str] = []
        self.lines = Lines()
        self.line = CoordinatorLine(
            Identity(Role.WORKER, UNKNOWN_CLUSTER, self.node, incarnation),
            coordinator,
            SECRETS,
            QUICK,
            registration=Registration(self.address, description),
            on_joined=self.clusters.append,
            on_order=self.orders.append,
            on_book=self.books.append,
            on_refused=self.refusals.append,
            report=self.lines.report,
            random=Random(1),
        )

    def status(self, number: int) -> Status:
        return Status(self.node, self.incarnation, number, Phase.JOIN, 0, 0)


@asynccontextmanager
async def coordinator() -> AsyncIterator[tuple[Coordinator, trio.Nursery]]:
    open_listening = await listening(SECRETS)
    made = Coordinator(open_listening.address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.reception.run, open_listening)
        yield made, nursery
        nursery.cancel_scope.cancel()


def joined(nursery: trio.Nursery, name: str, address: Address, **options: Any) -> Worker:
    worker = Worker(name, address, **options)
    nursery.start_soon(worker.line.run)
    return worker


def test_a_status_of_mere_numbers_waits_a_moment_and_only_the_last_of_them_is_told() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            a = joined(nursery, "a", c.address)
            await until(lambda: a.clusters)
            told = replace(a.status(1), phase=Phase.RUN, caught_up=True)
            a.line.send(told)
            for number in range(2, 50):
                a.line.send(replace(told, number=number, sealed=number, applied=number))
            last = replace(told, number=50, sealed=50, applied=50)
            a.line.send(last)
            await until(lambda: c.statuses[-1:] == [last])
            assert c.statuses[0] == told
            assert len(c.statuses) <= 4

    run(check)


def test_a_status_with_news_is_told_at_once_and_none_before_it_comes_after_it() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            a = joined(nursery, "a", c.address)
            await until(lambda: a.clusters)
            numbers = range(0, 400, 2)
            for number in numbers:  # numbers alone and news take turns
                a.line.send(replace(a.status(number + 1), closed=number))
                a.line.send(replace(a.status(number + 2), prepared=number))
                await trio.lowlevel.checkpoint()
            await until(lambda: c.statuses[-1:] == [replace(a.status(400), prepared=398)])
            await trio.sleep(2 * NUMBERS_SECONDS)
            heard = [status.number for status in c.statuses]
            assert heard == sorted(heard)
            assert heard[-1] == 400

    run(check)


def test_a_worker_joins_is_heard_and_told() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            a = joined(nursery, "a", c.address)
            a.line.send(a.status(1))
            await until(lambda: c.statuses == [a.status(1)])
            c.reception.tell(a.node, Order(1, 1, Ask(3)))
            await until(lambda: a.orders == [Order(1, 1, Ask(3))])
            assert a.clusters == [CLUSTER]
            assert a.books == [(Entry(a.node, 1, a.address),)]

    run(check)


def test_everybody_learns_where_the_others_listen() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            a, b = joined(nursery, "a", c.address), joined(nursery, "b", c.address)
            both = (Entry(a.node, 1, a.address), Entry(b.node, 1, b.address))
            await until(lambda: a.books and b.books and a.books[-1] == b.books[-1] == both)
            later = joined(nursery, "b", c.address, incarnation=2)
            await until(lambda: a.books[-1] == (both[0], Entry(later.node, 2, later.address)))
            assert c.lost == [(b.node, 1)]

    run(check)


def test_a_worker_that_listens_everywhere_is_called_where_it_came_from() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            worker = Worker("a", c.address)
            worker.address = Address("0.0.0.0", 7)
            stream, session = await call(
                Called(c.address, Role.COORDINATOR), Identity(Role.WORKER, CLUSTER, worker.node, 1), SECRETS, QUICK
            )
            async with stream:
                packed = pack_registration(Registration(worker.address, DESCRIPTION))
                for piece in FrameWriter(session.sending).frames(REGISTRATION, packed):
                    await stream.send_all(piece)
                await until(lambda: c.reception.book)
                assert c.reception.book == (Entry(worker.node, 1, Address("127.0.0.1", 7)),)
            await until(lambda: c.lost == [(worker.node, 1)])
            nursery.cancel_scope.cancel()

    run(check)


def test_only_the_newest_status_and_order_wait_while_the_connection_is_down() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            between = Wire(c.address)
            await nursery.start(between.run)
            a = joined(nursery, "a", between.address)
            a.line.send(a.status(1))
            await until(lambda: c.statuses)
            between.held = True
            await between.cut()
            await until(lambda: c.lost == [(a.node, 1)])
            for number in (2, 3, 4):
                a.line.send(a.status(number))
            c.reception.tell(a.node, Order(1, 1, Restart()))
            between.held = False
            await until(lambda: c.statuses[-1] == a.status(4))
            assert a.status(3) not in c.statuses
            assert a.orders == [], "a worker that is gone is told again by whoever decides"
            assert len(a.clusters) >= 2

    run(check)


def test_a_worker_with_other_code_is_told_so() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            a = joined(nursery, "a", c.address, description=b"market spread")
            await until(lambda: a.refusals == ["other code"])
            a.line.send(a.status(1))
            await until(lambda: len(c.lines) > 1)
            assert (c.statuses, c.reception.book) == ([], ())

    run(check)


def test_an_earlier_life_is_not_heard_any_more() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            joined(nursery, "a", c.address, incarnation=2)
            await until(lambda: c.reception.book)
            zombie = joined(nursery, "a", c.address, incarnation=1)
            zombie.line.send(zombie.status(1))
            await until(lambda: c.lines)
            assert "earlier life" in c.lines[0]
            assert (c.statuses, c.reception.book[0].incarnation) == ([], 2)

    run(check)


@pytest.mark.parametrize(
    ("channel", "message", "line"),
    [
        (STATUS, pack_status(Status("a" * 32, 1, 1, Phase.JOIN, 0, 0)), "has not registered"),
        (REGISTRATION, b"nonsense", "no frame"),
    ],
)
def test_a_worker_that_talks_nonsense_is_put_out(channel: int, message: bytes, line: str) -> None:
    async def check() -> None:
        async with coordinator() as (c, _):
            own = Identity(Role.WORKER, CLUSTER, "a" * 32, 1)
            stream, session = await call(Called(c.address, Role.COORDINATOR), own, SECRETS, QUICK)
            async with stream:
                for piece in FrameWriter(session.sending).frames(channel, message):
                    await stream.send_all(piece)
                await until(lambda: c.lines)
            assert len(c.lines) == 1
            assert line in c.lines[0]
            assert (c.statuses, c.reception.book) == ([], ())

    run(check)


def test_a_status_in_another_name_puts_its_sender_out() -> None:
    async def check() -> None:
        async with coordinator() as (c, nursery):
            a = joined(nursery, "a", c.address)
            await until(lambda: c.reception.book)
            a.line.send(Status("b" * 32, 1, 1, Phase.JOIN, 0, 0))
            await until(lambda: c.lines)
            assert "in the name of another worker" in c.lines[0]
            assert c.statuses == []

    run(check)


def test_a_command_asks_and_is_answered() -> None:
    async def check() -> None:
        async with coordinator() as (c, _):
            assert await ask(c.address, SECRETS, b"who is there?", QUICK) == b"WHO IS THERE?"
            assert c.lines == []

    run(check)


def test_a_command_without_the_secret_or_a_coordinator_gets_an_error_for_people() -> None:
    async def check() -> None:
        async with coordinator() as (c, _):
            with pytest.raises(UsageError, match=r"can't be asked: .* another secret"):
                await ask(c.address, (), b"?", QUICK)
        with pytest.raises(UsageError, match="can't be reached"):
            await ask(c.address, SECRETS, b"?", QUICK)

    run(check)
