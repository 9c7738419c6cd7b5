"""Listening: strangers get little, and what they do is one line and touches nobody else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from holdfast.core.errors import FrameError, UsageError
from holdfast.runtime.notice import LINKS, Notice
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.dialer import Called, call
from holdfast.runtime.transport.handshake import HELLO_BYTES, Identity, Role, Session
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Listening
from tests.runtime.transport.network import QUICK, Lines, listening, run, until

SECRETS = (b"s" * 32,)
WRONG = (b"w" * 32,)
CLUSTER = "c" * 32
HOST = Identity(Role.PEER, CLUSTER, "a" * 32, 1)
GUEST = Identity(Role.PEER, CLUSTER, "b" * 32, 1)


class Served:
    """A listener at work, what it reported, and whom it let in."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.lines = Lines()
        self.guests: list[Session] = []

    async def call(self, secrets: tuple[bytes, ...] = SECRETS) -> trio.SocketStream:
        stream, _ = await call(Called(self.address, Role.PEER), GUEST, secrets, QUICK)
        return stream

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.address.host, self.address.port)


@asynccontextmanager
async def served(limits: Limits = QUICK, secrets: tuple[bytes, ...] = SECRETS) -> AsyncIterator[Served]:
    open_listening: Listening = await listening(secrets)
    made = Served(open_listening.address)

    async def guest(stream: trio.SocketStream, session: Session) -> None:
        made.guests.append(session)
        while await stream.receive_some(1000):
            pass

    async def serve() -> None:
        await open_listening.serve(
            lambda: HOST, secrets, frozenset({Role.PEER}), limits, guest=guest, report=made.lines.report
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield made
        nursery.cancel_scope.cancel()


async def is_closed(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True


def test_who_knows_the_secret_is_let_in() -> None:
    async def check() -> None:
        async with served() as host:
            async with await host.call():
                await until(lambda: host.guests)
            assert host.guests[0].peer == GUEST
        assert host.lines == []

    run(check)


def test_a_wrong_secret_is_one_line_and_the_next_one_gets_in() -> None:
    async def check() -> None:
        async with served() as host:
            with pytest.raises(FrameError, match="another secret"):
                await host.call(WRONG)
            async with await host.call():
                await until(lambda: host.guests)
        assert len(host.guests) == 1
        assert host.lines == ["connection from 127.0.0.1 closed: it did not prove that it knows the secret"]

    run(check)


def test_who_hangs_up_before_it_is_known_is_a_line_about_links() -> None:
    async def check() -> None:
        async with served() as host:
            async with await host.connect():
                pass
            await until(lambda: host.lines)
        (line,) = host.lines
        assert isinstance(line, Notice)
        assert line.event in LINKS

    run(check)


def test_a_stranger_who_says_nothing_is_closed_after_a_while() -> None:
    async def check() -> None:
        async with served(replace(QUICK, handshake_seconds=0.05)) as host, await host.connect() as stream:
            assert await is_closed(stream)
        assert host.lines == ["connection from 127.0.0.1 closed: no handshake within 0.05 s"]

    run(check)


def test_a_stranger_who_speaks_slowly_gets_no_more_time() -> None:
    async def check() -> None:
        async with served(replace(QUICK, handshake_seconds=0.1)) as host, await host.connect() as stream:
            for byte in b"HFST\1\1\1":
                await stream.send_all(bytes((byte,)))
                await trio.sleep(0.01)
            assert await is_closed(stream)
        assert host.lines == ["connection from 127.0.0.1 closed: no handshake within 0.1 s"]

    run(check)


def test_a_stranger_who_says_much_is_read_no_further_than_a_hello() -> None:
    async def check() -> None:
        async with served() as host, await host.connect() as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"GET / HTTP/1.1\r\n" * (1 << 22))
        assert host.lines == ["connection from 127.0.0.1 closed: it does not speak this protocol"]

    run(check)


def test_a_stranger_is_not_told_why() -> None:
    async def check() -> None:
        async with served() as host, await host.connect() as stream:
            await stream.send_all(os.urandom(HELLO_BYTES))
            assert await is_closed(stream)

    run(check)


def test_few_strangers_are_held_at_once_and_guests_do_not_count() -> None:
    async def check() -> None:
        async with served(replace(QUICK, strangers_per_host_max=3)) as host:
            streams: list[trio.SocketStream] = []
            for _ in range(4):
                streams.append(await host.call())
                await until(lambda: len(host.guests) == len(streams))
            strangers = [await host.connect() for _ in range(3)]
            async with await host.connect() as one_more:
                assert await is_closed(one_more)
            assert host.lines == ["connection from 127.0.0.1 closed: too many without a handshake"]
            await trio.aclose_forcefully(strangers[0])
            await until(lambda: len(host.lines) == 2)
            streams.append(await host.call())
            for stream in streams + strangers:
                await trio.aclose_forcefully(stream)

    run(check)


def test_an_open_address_without_a_secret_is_not_listened_on() -> None:
    with pytest.raises(UsageError, match="openssl rand"):
        run(Listening.open, Address("0.0.0.0", 0), ())


def test_an_address_that_is_taken_is_named() -> None:
    async def check() -> None:
        first = await listening()
        with pytest.raises(UsageError, match=f"can't listen on {first.address}"):
            await Listening.open(first.address, ())
        first.close()

    run(check)


def test_nobody_at_an_address_is_an_error_that_names_it() -> None:
    async def check() -> None:
        gone = await listening()
        gone.close()
        with pytest.raises(FrameError, match=f"{gone.address} can't be reached"):
            await call(Called(gone.address, Role.PEER), GUEST, SECRETS, QUICK)

    run(check)


def test_who_accepts_and_never_answers_is_not_waited_for() -> None:
    async def check() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        address = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
        with pytest.raises(FrameError, match="no handshake"):
            await call(Called(address, Role.PEER), GUEST, SECRETS, replace(QUICK, handshake_seconds=0.05))
        await listeners[0].aclose()

    run(check)
