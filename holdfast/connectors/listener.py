"""A port of this machine that others connect to.

Whoever had it before may not have gone yet: a worker that was killed, whose sockets the kernel is still closing, or a
connection that went out while nobody listened and was given just this port. So a port in use is waited for.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Final

from holdfast.core.errors import UsageError

BACKLOG: Final = 128
PATIENCE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02


def listening(host: str, port: int, name: str) -> socket.socket:
    """A socket that listens; UsageError, which begins with the source's name, where that can't be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _bound(host, port)
        except OSError as error:
            is_used = error.errno == errno.EADDRINUSE
            if is_used and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            advice = "; end what uses the port, or take another one" if is_used else ""
            raise UsageError(f"{name} can't listen on {host}:{port}: {_said(error)}{advice}") from error


def _bound(host: str, port: int) -> socket.socket:
    (family, _, _, _, where), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return socket.create_server(where[:2], family=family, backlog=BACKLOG)


def _said(error: OSError) -> str:
    """Without the address, which `socket.create_server` adds."""
    return (error.strerror or str(error)).partition(" (while attempting")[0]
