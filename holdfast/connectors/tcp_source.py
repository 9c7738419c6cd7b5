"""Records that others send over TCP: each listener is a live partition, and connections to it interleave whole records.

What was logged is never lost; what was not, the sender's socket held. A record is given once it is whole. What was
taken from the sockets and is not durable is kept here, and given again where the partition is opened again in this
process; its connections live on so long. Another process that takes the partition over finds the port free.
Invariant: `kept` holds the records numbered from `first` on, none of which is durable as far as was told.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.connectors.gate import Gate
from holdfast.connectors.interface import Block
from holdfast.connectors.line_files import checked_encoding
from holdfast.connectors.listener import listening
from holdfast.connectors.tcp import LENGTH_MAX, SAYS, Address, Framing, TooLongError, checked_framing
from holdfast.connectors.text_file import TextDecoder
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError
from holdfast.core.types import TypeRegistry

RECORD_BYTES_MAX: Final = 1 << 20
_RECEIVE_BYTES: Final = 1 << 16
# A killed process lets go of its port when it has wholly ended; data directories are waited for as long.
_ACCEPT_AGAIN_SECONDS: Final = 0.02
# Between two openings of a partition in one process, as when a cluster forms a new generation.
_PARKED_SECONDS: Final = 5.0


class Tcp:
    """Live: records sent to listening ports, each address a partition.

    With `framing="lines"` a record is a str, the line without its newline; with `"u32"` it is bytes, sent behind
    their length in four bytes, the greatest first. A connection that sends a record of more than `record_bytes_max`
    bytes is closed.
    """

    live = True
    acknowledges = True
    endless = True

    def __init__(
        self,
        *addresses: str,
        framing: str = "lines",
        encoding: str = "utf-8",
        record_bytes_max: int = RECORD_BYTES_MAX,
    ) -> None:
        place = "sources.Tcp"
        if not addresses:
            raise ApplicationError(f'{place} needs an address to listen at, such as "127.0.0.1:9000"')
        self._framing = checked_framing(framing, place)
        self._text = TextDecoder(checked_encoding(encoding)) if framing == "lines" else None
        if type(record_bytes_max) is not int or not 0 < record_bytes_max <= LENGTH_MAX:
            raise ApplicationError(f"{place}: record_bytes_max= is a number of bytes, not {record_bytes_max!r}")
        parsed = [Address.parse(address, place) for address in addresses]
        if len(set(parsed)) < len(parsed):
            raise ApplicationError(f"{place}: an address is given twice: {', '.join(addresses)}")
        self._ports = {str(address): Port(address, self._framing, record_bytes_max) for address in parsed}

    def bind(self, registry: TypeRegistry) -> None:
        """Text and bytes need no types."""

    def partitions(self) -> list[str]:
        return list(self._ports)

    def open(self, partition: str, offset: object | None) -> TcpReader:
        assert offset is None or type(offset) is int, offset
        return TcpReader(self._ports[partition], offset or 0)

    def acknowledge(self, partition: str, offset: object) -> None:
        """What lies before the offset need not be kept."""
        assert type(offset) is int, offset
        self._ports[partition].forget(offset)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return self._framing.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[Any | Undecodable]:
        return [*self._framing.records(raw)] if self._text is None else [*self._text.records(raw)]

    def times(self, records: list[Any], /) -> None:
        """None: the logged clock counts."""


@dataclass(slots=True, eq=False)
class Connection:
    """One sender."""

    socket: socket.socket
    name: str
    begun: bytearray = field(default_factory=bytearray)  # of a record that is not whole


class Port:
    """One listener's connections and records, over all openings of its partition in this process."""

    def __init__(self, address: Address, framing: Framing, limit: int) -> None:
        self.address = address
        self.framing = framing
        self.limit = limit
        self._lock = threading.Lock()
        self._first = 0  # number of kept[0]
        self._kept: list[bytes] = []
        self._parked: list[Connection] = []
        self._timer: threading.Timer | None = None

    @property
    def place(self) -> str:
        """For messages."""
        return f"TCP source {self.address}"

    def unpark(self, offset: int) -> list[Connection]:
        """The partition is opened again, behind what was logged; its connections, if they are still there."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            parked, self._parked = self._parked, []
            self._kept = self._kept[max(0, offset - self._first) :] if offset >= self._first else []
            self._first = offset
            return parked

    def park(self, connections: list[Connection]) -> None:
        """The partition is closed here; unless it is opened again soon, all that is not logged is the senders'."""
        with self._lock:
            self._parked = connections
            self._timer = threading.Timer(_PARKED_SECONDS, self._let_go)
            self._timer.daemon = True
            self._timer.start()

    def _let_go(self) -> None:
        with self._lock:
            for connection in self._parked:
                connection.socket.close()
            self._parked = []
            self._kept = []

    def keep(self, records: list[bytes]) -> None:
        """They have come."""
        with self._lock:
            self._kept += records

    def forget(self, upto: int) -> None:
        """They are durable up to this number."""
        with self._lock:
            count = min(max(0, upto - self._first), len(self._kept))
            del self._kept[:count]
            self._first += count

    def block(self, number: int, records_max: int | None, bytes_max: int) -> tuple[bytes, int] | None:
        """Records from this number on, as many as are there and wanted."""
        with self._lock:
            start = number - self._first
            assert start >= 0, (number, self._first)
            stop = len(self._kept) if records_max is None else min(len(self._kept), start + records_max)
            size = 0
            for end in range(start, stop):
                size += len(self._kept[end])
                if size > bytes_max and end > start:
                    stop = end
                    break
            records = self._kept[start:stop]
        return (b"".join(records), len(records)) if records else None


class TcpReader:
    """Listens, and gives what has come. Offset: the number of records before it."""

    def __init__(self, port: Port, offset: int) -> None:
        self._port = port
        self._offset = offset
        self._number = offset
        self._server = listening(port.address.host, port.address.port, "sources.Tcp")
        self._server.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopper = os.pipe()
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        self._selector.register(self._server, selectors.EVENT_READ, None)
        for connection in port.unpark(offset):
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._gate = Gate(self._let_go, wake=lambda: os.write(self._stopper, b"x"))

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        with self._gate.inside() as enters:
            if not enters:
                return None
            while (found := self._port.block(self._number, records_max, bytes_max)) is None:
                self._wait()
                if self._gate.closed.is_set():
                    return None
            raw, count = found
            self._number += count
            return Block(raw, count, ended=False)

    def _wait(self) -> None:
        for key, _ in self._selector.select():
            if isinstance(key.data, Connection):
                self._receive(key.data)
            elif key.fileobj is self._server:
                self._accept()

    def _accept(self) -> None:
        try:
            accepted, (host, port, *_) = self._server.accept()
        except OSError as error:  # the sender has gone already, or there are too many
            SAYS.warning("%s: a connection could not be accepted: %s", self._port.place, error.strerror)
            self._gate.closed.wait(_ACCEPT_AGAIN_SECONDS)
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._selector.register(accepted, selectors.EVENT_READ, Connection(accepted, str(Address(host, port))))

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(connection, f"broke: {error.strerror}")
            return
        if not data:
            self._drop(connection, "ended")
            return
        connection.begun += data
        try:
            while records := self._port.framing.take(connection.begun, self._port.limit):
                self._port.keep(records)
        except TooLongError as error:
            connection.begun.clear()
            self._drop(connection, f"was closed: {error}", says=True)

    def _drop(self, connection: Connection, why: str, *, says: bool = False) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if says or connection.begun:
            begun = f" in the middle of a record, {len(connection.begun)} bytes of it" if connection.begun else ""
            SAYS.warning("%s: the connection from %s %s%s", self._port.place, connection.name, why, begun)

    def offset_after(self, count: int) -> object:
        return self._offset + count

    def close(self) -> None:
        self._gate.close()

    def _let_go(self) -> None:
        connections = [key.data for key in self._selector.get_map().values() if isinstance(key.data, Connection)]
        self._selector.close()
        os.close(self._stop)
        os.close(self._stopper)
        self._port.park(connections)
        self._server.close()  # last: who finds the port free in this process finds the connections as well
