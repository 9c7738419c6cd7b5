"""Connecting: to an address, again and again until told to stop, each time with a handshake.

Not here: what is done with a connection (peers, control).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import trio

from holdfast.core.errors import FrameError
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.detour import open_stream
from holdfast.runtime.transport.handshake import NONCE_BYTES, Dialer, Identity, Listener, Role, Session
from holdfast.runtime.transport.limits import Limits

LIVED_SECONDS: Final = 1.0  # a connection that lived this long is tried again at once when it breaks


class HungUpError(FrameError):
    """Whoever called has gone before it was known who it was: a process that died, or lost patience."""


class Called:
    """Whom to call: where, and who must answer."""

    def __init__(
        self, address: Address, role: Role, node: str | None = None, incarnation: int | None = None
    ) -> None:
        self.address = address
        self.role = role
        self.node = node
        self.incarnation = incarnation


async def shake(stream: trio.SocketStream, side: Dialer | Listener) -> Session:
    """Go through one side of a handshake; FrameError where it fails."""
    try:
        if isinstance(side, Dialer):
            await stream.send_all(side.hello)
        while side.wanted:
            data = b""
            while len(data) < side.wanted:
                # Never more than is wanted: what follows belongs to the frames.
                received = await stream.receive_some(side.wanted - len(data))
                if not received:
                    if isinstance(side, Listener):
                        raise HungUpError("it closed the connection during the handshake")
                    raise FrameError(
                        "it closed the connection during the handshake: has it another secret or none, or is "
                        "it of another cluster?"
                    )
                data += received
            await stream.send_all(side.receive(data))
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise HungUpError("the connection broke during the handshake") from error
    assert side.session is not None
    return side.session


async def call(
    called: Called, own: Identity, secrets: tuple[bytes, ...], limits: Limits
) -> tuple[trio.SocketStream, Session]:
    """Connect once; FrameError where it can't be done."""
    address = called.address
    try:
        with trio.fail_after(limits.connect_seconds):
            stream = await open_stream(own.node, called.node, address)
    except trio.TooSlowError as error:
        raise FrameError(f"no answer from {address} within {limits.connect_seconds:g} s") from error
    except OSError as error:
        raise FrameError(f"{address} can't be reached: {_text(error)}") from error
    side = Dialer(
        own,
        secrets,
        os.urandom(NONCE_BYTES),
        listener=called.role,
        node=called.node,
        incarnation=called.incarnation,
    )
    try:
        with trio.fail_after(limits.handshake_seconds):
            return stream, await shake(stream, side)
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, trio.TooSlowError):
            raise FrameError(f"no handshake from {address} within {limits.handshake_seconds:g} s") from error
        raise


def _text(error: OSError) -> str:
    """What went wrong; trio tries several addresses of a host and says only that all failed."""
    causes = getattr(error.__cause__, "exceptions", [error])
    known = {os.strerror(cause.errno) if (cause.errno or 0) > 0 else cause.strerror or str(cause) for cause in causes}
    return "; ".join(sorted(known))


async def keep_calling(
    called: Called,
    own: Callable[[], Identity],
    secrets: tuple[bytes, ...],
    limits: Limits,
    random: Random,
    *,
    live: Callable[[trio.SocketStream, Session], Awaitable[str]],
    on_lost: Callable[[str], None],
) -> None:
    """Call until cancelled; `live` has each connection until it ends and gives why, as has `on_lost` every failure."""
    pause = limits.retry_seconds_min
    while True:
        started = trio.current_time()
        try:
            stream, session = await call(called, own(), secrets, limits)
            reason = await live(stream, session)
        except FrameError as error:
            reason = str(error)
        on_lost(reason)
        if trio.current_time() - started > LIVED_SECONDS:
            pause = limits.retry_seconds_min
        # Many lose one peer at the same time, and should not come back at the same time.
        await trio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, limits.retry_seconds_max)
