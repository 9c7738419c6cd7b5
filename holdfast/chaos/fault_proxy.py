"""A network between the processes of one machine that can be cut: one way or both, for any pair of them.

Processes that were started with its address (`environment`) make every connection by way of it. While a way is cut,
nothing passes on it, not even the end of a connection; what was sent waits here, and comes late once the way is whole
again, if the connection still is. Invariant: bytes of one connection and direction keep their order, and none is lost
or made up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import trio

from holdfast.core.errors import UsageError
from holdfast.runtime.transport.addresses import Address, parse
from holdfast.runtime.transport.detour import DETOUR

READ_BYTES = 1 << 16
LINE_BYTES_MAX = 256

Way = tuple[str, str]  # from a node, to a node; the coordinator is called so


class FaultProxy:
    """Runs in a thread of its own from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self._cut: frozenset[Way] = frozenset()
        self._changed: trio.Event  # set when the cuts change, and another one is there then
        self._ready = threading.Event()
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="fault-proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What processes must find in theirs."""
        return {DETOUR: str(self.address)}

    def cut(self, ways: Iterable[Way]) -> None:
        """Let nothing pass on these ways, and on all others everything."""
        assert self._token is not None
        trio.from_thread.run_sync(self._apply, frozenset(ways), trio_token=self._token)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._changed = trio.Event()
        with self._scope:
            listeners = await trio.open_tcp_listeners(0, host=self.address.host)
            self.address = Address(self.address.host, listeners[0].socket.getsockname()[1])
            self._ready.set()
            await trio.serve_listeners(self._serve, listeners)

    def _apply(self, ways: frozenset[Way]) -> None:
        self._cut = ways
        self._changed.set()
        self._changed = trio.Event()

    async def _serve(self, near: trio.SocketStream) -> None:
        """One connection, from its line to its end."""
        try:
            caller, called, where = (await _line(near)).split()
            address = parse(where)
            far = await trio.open_tcp_stream(address.host, address.port)
        except (OSError, trio.BrokenResourceError, ValueError, UsageError):
            near.socket.close()
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_on, near, far, (caller, called), nursery)
                nursery.start_soon(self._pass_on, far, near, (called, caller), nursery)
        finally:
            near.socket.close()
            far.socket.close()

    async def _pass_on(
        self, source: trio.SocketStream, target: trio.SocketStream, way: Way, nursery: trio.Nursery
    ) -> None:
        try:
            data = b"first"
            while data:
                try:
                    data = bytes(await source.receive_some(READ_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                while way in self._cut:
                    await self._changed.wait()
                if data:
                    await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()  # either side has ended it: the other one learns that now


async def _line(stream: trio.SocketStream) -> str:
    """The first line, and not a byte beyond it."""
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some(1)
        if not data or len(line) > LINE_BYTES_MAX:
            raise ValueError("no line")
        line += data
    return line.decode()
