"""Outputs sent over TCP, in order: exactly once where the receiver says what it has, otherwise at least once.

Invariant: `unheld` holds, in order, every output written here of which it is not known that the receiver has it; a new
connection begins with them. With `resume` the receiver itself says the number of its last output, when a connection
begins and whenever it has more; without, its machine having taken the bytes has to do.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import xxhash

from holdfast.connectors.interface import InterruptedWriteError
from holdfast.connectors.tcp import SAYS, Address, Framing, TooLongError, checked_framing
from holdfast.core.errors import ApplicationError, OutputShortError, SinkError
from holdfast.core.types import TypeRegistry

_RETRY_SECONDS_MIN: Final = 0.02
_RETRY_SECONDS_MAX: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 30.0  # for the receiver's first number
_HURRY_SECONDS: Final = 5.0  # how long a run that is to end waits for a receiver that is away
_POLL_SECONDS: Final = 0.002  # how often the kernel is asked what of a connection has arrived
_PIECE_BYTES: Final = 1 << 18
_UNHELD_BYTES_MAX: Final = 1 << 24
_NUMBER_BYTES_MAX: Final = 32
_RECORD_BYTES_MAX: Final = (1 << 32) - 1 - 8


class Tcp:
    """Sends each output to "host:port": a str as a line, or with `framing="u32"` bytes or str behind their length.

    With `resume=True` the receiver says the number of the last output that it has when it is connected to, and again
    whenever it has more: then each output is there once. Without, outputs that may not have arrived are sent again,
    each behind its number (`numbers=False` leaves that out). While the receiver is away the stream waits, for
    `patience` seconds if that is given.
    """

    threaded = True

    def __init__(
        self,
        address: str,
        *,
        framing: str = "lines",
        resume: bool = False,
        numbers: bool | None = None,
        patience: float | None = None,
    ) -> None:
        place = "sinks.Tcp"
        self.address = Address.parse(address, place)
        self.framing: Framing = checked_framing(framing, place)
        self.resume = bool(resume)
        self.numbers = not resume if numbers is None else bool(numbers)
        if patience is not None and not patience >= 0:
            raise ApplicationError(f"{place}: patience= is a number of seconds, or None, not {patience!r}")
        self.patience = patience
        self.is_lines = framing == "lines"
        self.stream = xxhash.xxh3_64_hexdigest(b"")

    @property
    def place(self) -> str:
        """For messages."""
        return f"TCP sink {self.address}"

    def bind(self, registry: TypeRegistry) -> None:
        """Text and bytes need no types."""

    def paths(self) -> list[str]:
        return []

    def claim(self, owner: str) -> None:
        """Whose outputs come."""
        self.stream = xxhash.xxh3_64_hexdigest(owner.encode())

    def encode(self, value: object, /) -> bytes:
        """One output with its framing, without its number."""
        if isinstance(value, str):
            record = str.encode(value)
        elif isinstance(value, bytes) and not self.is_lines:
            record = bytes(value)
        else:
            takes = "str only" if self.is_lines else "bytes and str only"
            raise TypeError(f"this sink takes {takes}, not {type(value).__name__}")
        if len(record) > _RECORD_BYTES_MAX:
            raise ValueError(f"a record of {len(record)} bytes is too long")
        return self.framing.framed(record)

    def numbered(self, number: int, frame: bytes) -> bytes:
        """An output as it is sent."""
        if not self.numbers:
            return frame
        if self.is_lines:
            return b"%d\t%s" % (number, frame)
        return self.framing.framed(number.to_bytes(8, "big") + self.framing.records(frame)[0])

    def open(self, token: object | None, number: int, owned: bool) -> TcpWriter:
        return TcpWriter(self, number)


class TcpWriter:
    """One sink, from the checkpoint on, over as many connections as it takes."""

    def __init__(self, sink: Tcp, number: int) -> None:
        self._sink = sink
        self._held = number  # the last output of which it is known that the receiver has it
        self._written = number  # the last one that was given to this writer
        self._unheld: deque[tuple[int, bytes]] = deque()
        self._unheld_bytes = 0
        self._unsent: deque[bytes] = deque()  # of these, what this connection has not begun to send
        self._piece = memoryview(b"")  # what it is sending
        self._socket: socket.socket | None = None
        self._heard = bytearray()
        self._greeted = False  # the receiver has said its first number on this connection
        self._away_since: float | None = None
        self._said = False
        self._retry = _RETRY_SECONDS_MIN
        self._deadline: float | None = None  # of a run that is to end
        self._stop, self._stopper = os.pipe()
        self._interrupted = threading.Event()

    # --- what the runtime asks for

    def write(self, first_number: int, payload: Sequence[object], count: int) -> None:
        assert len(payload) == count, (len(payload), count)
        for number, frame in enumerate(payload, first_number):
            assert isinstance(frame, bytes)
            if number > self._written:
                self._add(number, self._sink.numbered(number, frame))
        self._until(lambda: not self._unheld or self._is_sent)

    @property
    def _is_sent(self) -> bool:
        """Whether this connection has taken everything, and not too much of it may still be on its way."""
        pending = self._unsent or self._piece or not self._greeted
        return not pending and self._unheld_bytes <= _UNHELD_BYTES_MAX

    def _add(self, number: int, data: bytes) -> None:
        self._written = number
        if number > self._held:
            self._unheld.append((number, data))
            self._unheld_bytes += len(data)
            self._unsent.append(data)

    def token(self) -> None:
        """All that was written is the receiver's."""
        self._until(lambda: not self._unheld, polls=not self._sink.resume)

    def sync(self) -> None:
        """Done by `token`."""

    def finish(self) -> None:
        """What the receiver has behind the last output can't be seen."""

    def hurry(self) -> None:
        """The run is to end: a receiver that is away is not waited for much longer."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _HURRY_SECONDS
            os.write(self._stopper, b"x")

    def interrupt(self) -> None:
        """What is being written is given up."""
        self._interrupted.set()
        os.write(self._stopper, b"x")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        os.close(self._stop)
        os.close(self._stopper)

    # --- the connection

    def _until(self, done: Callable[[], bool], *, polls: bool = False) -> None:
        """Send and hear until it is done."""
        while not done():
            if self._interrupted.is_set():
                raise InterruptedWriteError
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise SinkError(f"{self._sink.place} is away; what it lacks is sent at the next start")
            try:
                if self._socket is None:
                    self._connect()
                else:
                    self._turn(_POLL_SECONDS if polls or self._unheld_bytes > _UNHELD_BYTES_MAX else None)
            except OSError as error:
                self._lost(error.strerror or str(error))

    def _connect(self) -> None:
        sink = self._sink
        address = (sink.address.host, sink.address.port)
        connected = socket.create_connection(address, timeout=_CONNECT_SECONDS)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setblocking(False)
        self._socket = connected
        self._heard.clear()
        self._greeted = not sink.resume
        hello = sink.framing.framed(f"holdfast {sink.stream}".encode()) if sink.resume else b""
        self._piece = memoryview(hello)
        self._unsent.clear()
        if self._greeted:
            self._begin()

    def _begin(self) -> None:
        """The receiver is there: send all that it may not have."""
        self._unsent.extend(data for _, data in self._unheld)
        if self._said:
            SAYS.warning("%s is there again", self._sink.place)
        self._away_since, self._said, self._retry = None, False, _RETRY_SECONDS_MIN

    def _turn(self, seconds: float | None) -> None:
        assert self._socket is not None
        if not self._piece and self._greeted:
            self._piece = memoryview(b"".join(self._next_piece()))
        sending = [self._socket] if self._piece else []
        limit = seconds if self._greeted else _ANSWER_SECONDS
        if self._deadline is not None:
            limit = min(limit or _HURRY_SECONDS, _HURRY_SECONDS)
        waited: list[Any] = [self._socket, self._stop]
        readable, writable, _ = select.select(waited, sending, [], limit)
        if self._stop in readable:
            os.read(self._stop, 1)
        if self._socket in readable:
            self._hear()
        if writable:
            self._piece = self._piece[self._socket.send(self._piece) :]
            self._note_progress()
        if not self._greeted:
            self._check_patience("it does not say what it has")
            if not readable and not writable and self._deadline is None:
                raise OSError("it does not say what it has")
        elif not self._sink.resume and not self._piece and not self._unsent and self._has_arrived():
            self._hold(self._written)

    def _next_piece(self) -> list[bytes]:
        pieces, size = [], 0
        while self._unsent and size < _PIECE_BYTES:
            pieces.append(self._unsent.popleft())
            size += len(pieces[-1])
        return pieces

    def _has_arrived(self) -> bool:
        """Whether the receiver's machine has taken every byte of this connection."""
        assert self._socket is not None
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        return bool(waiting == 0)

    def _hear(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(1 << 16)
        if not data:
            raise OSError("it closed the connection")
        if not self._sink.resume:
            return
        self._heard += data
        try:
            while found := self._sink.framing.take(self._heard, _NUMBER_BYTES_MAX):
                for record in self._sink.framing.records(b"".join(found)):
                    self._number_heard(record)
        except TooLongError:
            self._refuse(bytes(self._heard[:_NUMBER_BYTES_MAX]))

    def _number_heard(self, record: bytes) -> None:
        text = record.strip()
        if not text.isdigit():
            self._refuse(record)
        number = int(text)
        if number < self._held:
            raise OutputShortError(f"{self._sink.place} says that it has {number} outputs; it had {self._held} before")
        if number > self._written and self._greeted:
            raise SinkError(f"{self._sink.place} says that it has output {number}; {self._written} were written")
        self._hold(number)
        if not self._greeted:
            self._greeted = True
            self._begin()

    def _refuse(self, heard: bytes) -> None:
        raise SinkError(f"{self._sink.place} was to say the number of the last output it has, and said {heard[:80]!r}")

    def _note_progress(self) -> None:
        if self._deadline is not None:
            self._deadline = time.monotonic() + _HURRY_SECONDS

    def _hold(self, number: int) -> None:
        if number > self._held:
            self._note_progress()
        self._held = max(self._held, number)
        while self._unheld and self._unheld[0][0] <= self._held:
            self._unheld_bytes -= len(self._unheld.popleft()[1])

    def _lost(self, reason: str) -> None:
        """The connection broke, or could not be made: wait a little."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._away_since is None:
            self._away_since = time.monotonic()
        self._check_patience(reason)
        if not self._said and self._retry > _RETRY_SECONDS_MIN:  # not at the first attempt: it may be starting again
            SAYS.warning("%s is away: waiting for it: %s", self._sink.place, reason)
            self._said = True
        readable, _, _ = select.select([self._stop], [], [], self._retry)
        if readable:
            os.read(self._stop, 1)
        self._retry = min(2 * self._retry, _RETRY_SECONDS_MAX)

    def _check_patience(self, reason: str) -> None:
        now = time.monotonic()
        since = now if self._away_since is None else self._away_since
        patience = self._sink.patience
        if patience is not None and now - since >= patience:
            raise SinkError(f"{self._sink.place} could not be reached for {patience:g} s: {reason}")
