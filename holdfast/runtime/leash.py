"""The leash: what ties a process of a cluster to the supervisor that started it, in both directions.

The process has one end of a pair of sockets as its standard input, the supervisor the other. When the supervisor's end
closes, however that came about, the process ends; one that is stopped can't notice, and is ended by the system. And the
last thing that a process says is the code it is about to end with, and why: a code alone proves nothing, because a
user's function can end the process with any (os._exit).
Invariant: no process outlives its supervisor, stopped or not, and what never said farewell did not end in good order.
Not here: what follows from an end (supervisor).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent has ended

REASON_BYTES_MAX: Final = 4096  # what is longer says enough by then


class Farewell(NamedTuple):
    """What a process has said last."""

    code: int
    reason: str  # the error that it ends with, "" for none


class Leash:
    """The supervisor's end."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        """A process that ends with this one; a Ctrl-C is for this one alone."""
        with self._far:
            return subprocess.Popen(command, stdin=self._far.fileno(), start_new_session=True, env=environment)

    def let_go(self) -> Farewell | None:
        """Close it, once the process has ended; returns what it said that it would end with, if it did."""
        with self._near, suppress(OSError):  # what it has started itself may still hold its end
            said = self._near.recv(1 + REASON_BYTES_MAX)
            return Farewell(said[0], said[1:].decode(errors="replace")) if said else None
        return None


def follow_leash() -> None:
    """In a process of a supervisor: end at once when the supervisor has ended, however that came about."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_follow, name="holdfast-leash", daemon=True).start()


def say_farewell(code: int, reason: str) -> None:
    """In a process of a supervisor: it is about to end of itself."""
    with suppress(OSError):  # the supervisor has ended before
        os.write(sys.stdin.fileno(), bytes([code]) + reason.encode(errors="replace")[:REASON_BYTES_MAX])


def _follow() -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    os._exit(1)
