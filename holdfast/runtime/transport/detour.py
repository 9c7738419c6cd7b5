"""Connections by way of a fault proxy, where a rehearsal asks for it (docs/chaos.md); otherwise straight ahead.

The proxy is told in one line from whom to whom a connection goes, and where to; from then on it passes bytes on, as a
network would. Nobody else learns of it: who answers is proven as always.
"""

from __future__ import annotations

import os
from typing import Final

import trio

from holdfast.runtime.transport.addresses import Address, parse

DETOUR: Final = "HOLDFAST_DETOUR"  # HOST:PORT of the proxy
COORDINATOR: Final = "coordinator"


async def open_stream(caller: str, called: str | None, address: Address) -> trio.SocketStream:
    """A stream to an address; `called` is the node that listens there, None for the coordinator."""
    way = os.environ.get(DETOUR)
    if way is None:
        return await trio.open_tcp_stream(address.host, address.port)
    proxy = parse(way)
    stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    try:
        await stream.send_all(f"{caller} {called or COORDINATOR} {address}\n".encode())
    except trio.BrokenResourceError:
        raise OSError("the fault proxy has ended") from None
    return stream
