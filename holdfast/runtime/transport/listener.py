"""Listening: strangers get a handshake's bytes and time, and few of them at once; who proves himself is let in.

Invariant: nothing that a stranger sends is kept beyond the 64 bytes of a handshake's step, and whatever goes wrong with
one connection is one line and touches no other.
Not here: what is done with a connection that was let in (peers, control).
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from holdfast.core.errors import FrameError, UsageError
from holdfast.runtime.notice import Notice
from holdfast.runtime.transport.addresses import Address, refuse_open
from holdfast.runtime.transport.dialer import HungUpError, shake
from holdfast.runtime.transport.handshake import NONCE_BYTES, Identity, Listener, Role, Session
from holdfast.runtime.transport.limits import Limits

Guest = Callable[[trio.SocketStream, Session], Awaitable[None]]

# Out of descriptors or memory: accepting goes on once others have ended.
_CAPACITY: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_CAPACITY_SECONDS: Final = 0.1


class Listening:
    """One address that is listened on."""

    def __init__(self, listeners: list[trio.SocketListener], address: Address) -> None:
        self._listeners = listeners
        self.address = address  # with the real port
        self._strangers: Counter[str] = Counter()  # connections without a finished handshake, by host

    @classmethod
    async def open(cls, address: Address, secrets: tuple[bytes, ...]) -> Listening:
        """Bind; UsageError where the address can't be had, or would be open to others without a secret."""
        refuse_open(address, secrets)
        try:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as error:
            raise UsageError(f"can't listen on {address}: {error.strerror or error}") from error
        if address.port == 0:
            # A name with several addresses has got another free port for each.
            for listener in listeners[1:]:
                listener.socket.close()
            del listeners[1:]
        port = listeners[0].socket.getsockname()[1]
        return cls(listeners, Address(address.host, port))

    def close(self) -> None:
        """Give the address back, if it is not served any more."""
        for listener in self._listeners:
            listener.socket.close()

    async def serve(
        self,
        own: Callable[[], Identity],
        secrets: tuple[bytes, ...],
        dialers: frozenset[Role],
        limits: Limits,
        *,
        guest: Guest,
        report: Callable[[str], None],
    ) -> None:
        """Let in until cancelled; `guest` has each connection until it returns. Closes everything at the end."""

        async def admit(stream: trio.SocketStream, host: str) -> None:
            side = Listener(own(), secrets, os.urandom(NONCE_BYTES), dialers=dialers)
            try:
                try:
                    with trio.fail_after(limits.handshake_seconds):
                        session = await shake(stream, side)
                finally:
                    self._strangers[host] -= 1
                    self._strangers += Counter()  # forgets hosts that have none left
                await guest(stream, session)
            except HungUpError as error:
                report(Notice(f"connection from {host} closed: {error}", "hung-up"))
            except FrameError as error:
                report(f"connection from {host} closed: {error}")
            except trio.TooSlowError:
                report(f"connection from {host} closed: no handshake within {limits.handshake_seconds:g} s")
            finally:
                await trio.aclose_forcefully(stream)

        async def accept(listener: trio.SocketListener, nursery: trio.Nursery) -> None:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno in _CAPACITY:
                        report(f"no connection can be accepted: {error.strerror}")
                        await trio.sleep(_CAPACITY_SECONDS)
                    continue
                host = host_of(stream)
                if self._strangers[host] >= limits.strangers_per_host_max or (
                    self._strangers.total() >= limits.strangers_max
                ):
                    await trio.aclose_forcefully(stream)
                    report(f"connection from {host} closed: too many without a handshake")
                    continue
                self._strangers[host] += 1
                nursery.start_soon(admit, stream, host)

        try:
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(accept, listener, nursery)
        finally:
            self.close()


def host_of(stream: trio.SocketStream) -> str:
    """Where a connection came from; empty if it is gone already."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""
