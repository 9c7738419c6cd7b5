"""What tests of real connections share: a limit in time, lines reported, and a wire that can be cut, held and bent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Listening

SECONDS_MAX = 30.0
LOOPBACK = Address("127.0.0.1", 0)
QUICK = Limits(
    handshake_seconds=5.0, connect_seconds=5.0, retry_seconds_min=0.01, retry_seconds_max=0.02, beat_seconds=0.05
)


def run(test: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run an async test, which must not hang."""

    async def limited() -> Any:
        with trio.fail_after(SECONDS_MAX):
            return await test(*arguments)

    return trio.run(limited)


class Lines(list[str]):
    """Lines reported."""

    def report(self, line: str) -> None:
        self.append(line)


async def until(condition: Callable[[], Any]) -> None:
    """Return when it holds; `run` limits how long that may take."""
    while True:
        if condition():
            return
        await trio.sleep(0.001)


async def listening(secrets: tuple[bytes, ...] = ()) -> Listening:
    return await Listening.open(LOOPBACK, secrets)


class Wire:
    """Stands between a dialer and a listener; passes bytes on, through `bend` on the way to the listener."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.bend: Callable[[bytes], bytes] = lambda data: data
        self.held = False  # true: nothing is passed on, and nobody is told
        self.address = LOOPBACK
        self._pairs: list[tuple[trio.SocketStream, trio.SocketStream]] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = Address("127.0.0.1", listeners[0].socket.getsockname()[1])
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def cut(self) -> None:
        """Break all connections."""
        for pair in self._pairs:
            for stream in pair:
                await trio.aclose_forcefully(stream)
        self._pairs.clear()

    async def _serve(self, dialer: trio.SocketStream) -> None:
        listener = await trio.open_tcp_stream(self.target.host, self.target.port)
        self._pairs.append((dialer, listener))
        async with dialer, listener, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, dialer, listener, True)
            nursery.start_soon(self._pump, listener, dialer, False)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, bent: bool) -> None:
        try:
            while data := await source.receive_some(1 << 16):
                await until(lambda: not self.held)
                await sink.send_all(self.bend(data) if bent else data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(sink)
