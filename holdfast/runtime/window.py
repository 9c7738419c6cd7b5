"""The window: what commands on this machine ask of the one worker that runs here (`holdfast status`, `holdfast query`).

A socket in Linux's abstract namespace, named after the data directory: no file is left behind, and it goes with the
process. Invariants: only the same user and root are answered; who asks can hold up the next who asks, the end of the
worker for a second, and nobody else.
Not here: what is asked and answered (one_worker_answers).
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from holdfast.core.errors import FrameError

LENGTH: Final = struct.Struct(">I")  # before every message
MESSAGE_BYTES_MAX: Final = 1 << 24
ASKER_SECONDS: Final = 2.0  # how long who asks may take to do so …
ANSWER_SECONDS: Final = 15.0  # … and waits for the answer
CLOSE_SECONDS: Final = 1.0  # how long the end waits for an answer that is under way: it may wait for the end itself
CREDENTIALS: Final = struct.Struct("3i")  # of the process at the other end: its id, user and group
WAITING_MAX: Final = 16  # who ask at once; more are refused


class Window:
    """Answers until the process ends, or it is closed."""

    def __init__(self, data: Path, answer: Callable[[bytes], bytes]) -> None:
        """`answer` is called on a thread of the window's own, one question at a time. OSError where it can't be."""
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(_address(data))
            self._socket.listen(WAITING_MAX)
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._work, name="holdfast-window", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody is answered any more."""
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept()
        self._thread.join(CLOSE_SECONDS)
        self._socket.close()

    def _work(self) -> None:
        while True:
            try:
                asker, _ = self._socket.accept()
            except OSError:  # closed
                return
            with asker:
                try:
                    self._serve(asker)
                except (OSError, FrameError):  # it is gone, or speaks another language
                    pass

    def _serve(self, asker: socket.socket) -> None:
        credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        if CREDENTIALS.unpack(credentials)[1] not in (0, os.geteuid()):
            return
        asker.settimeout(ASKER_SECONDS)
        _send(asker, self._answer(_receive(asker)))


@contextmanager
def answering(data: Path, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    """A window while this lasts; none where the system refuses it, for the work does not need it."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.callback(Window(data, answer).close)
        yield


def ask(data: Path, question: bytes) -> bytes | None:
    """What the process says that runs this data directory; None where none answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as window:
        window.settimeout(ANSWER_SECONDS)
        try:
            window.connect(_address(data))
            _send(window, question)
            return _receive(window)
        except (OSError, FrameError):
            return None


def _address(data: Path) -> bytes:
    """Not after its path, which may be another in another container, nor its id, which a copy has as well."""
    found = data.stat()
    return f"\0holdfast {found.st_dev:x} {found.st_ino:x}".encode()


def _send(to: socket.socket, message: bytes) -> None:
    to.sendall(LENGTH.pack(len(message)) + message)


def _receive(source: socket.socket) -> bytes:
    (size,) = LENGTH.unpack(_receive_all(source, LENGTH.size))
    if size > MESSAGE_BYTES_MAX:
        raise FrameError(f"a message of {size} bytes")
    return _receive_all(source, size)


def _receive_all(source: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = source.recv(size - len(received))
        if not piece:
            raise FrameError("it has ended in the middle of a message")
        received += piece
    return received
