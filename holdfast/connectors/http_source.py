"""Records that others send by HTTP, as a live source of one partition that answers when they are durable.

Records are logged as those of `Send` are: three images, producer, sequence and message. Offset: the number of records
before it. Invariant: 200 is answered only for what is durable; who gets no answer, or another one, sends again, and
with ids what is there already counts once. The port is open while somebody reads.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from http import HTTPStatus
from typing import Any, Final

from holdfast.connectors.gate import Gate
from holdfast.connectors.http_server import LATER_SECONDS, Identity, RefusedError, Rules, Server
from holdfast.connectors.interface import Block
from holdfast.connectors.listener import listening
from holdfast.connectors.passage import Passage
from holdfast.connectors.posts import Post, Posts
from holdfast.connectors.send import REMEMBERED, Send
from holdfast.core.connector import Undecodable
from holdfast.core.errors import ApplicationError, ValueTypeError
from holdfast.core.failures import error_text
from holdfast.core.serial_order import ONLY_PARTITION
from holdfast.core.types import TypeRegistry

BODY_BYTES_MAX: Final = 1 << 20
ANSWER_SECONDS: Final = 30.0  # how long a request waits until it is durable
PORT_MAX: Final = 65_535


class Http:
    """Live: the JSON values that are sent by POST to `http://ADDRESS PATH`, one a body or one a line.

    `Content-Type: application/json` sends one record, `application/x-ndjson` one a line. The answer is 200 once they
    are durable. With the headers `Holdfast-Producer` and `Holdfast-Sequence` (of the first record; the others count
    on) a record that was sent before is dropped, as with `Send(remembered=…)`. `token` is asked for as
    `Authorization: Bearer TOKEN`; an address that other machines can reach needs one.
    """

    live = True
    acknowledges = True

    def __init__(
        self,
        address: str,
        path: str = "/",
        *,
        token: str | None = None,
        body_bytes_max: int = BODY_BYTES_MAX,
        remembered: int = REMEMBERED,
    ) -> None:
        self._address = _parsed(address, token)
        if not path.startswith("/") or any(c in path for c in "?# "):
            raise ApplicationError(f"sources.Http: path={path!r} begins with / and has no ?, # or blank")
        if token is not None and not (token.isascii() and token.strip()):
            raise ApplicationError("sources.Http: token= is a text of ASCII characters that is not empty")
        if type(body_bytes_max) is not int or body_bytes_max < 1:
            raise ApplicationError(f"sources.Http: body_bytes_max={body_bytes_max!r} must be a positive int")
        self._rules = Rules(path, token, body_bytes_max)
        self._records = Send[Any](remembered=remembered)
        self.remembered = remembered
        self._posts = Posts()
        self._passage: Passage | None = None
        self._server: Server | None = None

    @property
    def port(self) -> int:
        """Where it listens: of port 0 the one that was found."""
        return self._address[1] if self._server is None else int(self._server.server_address[1])

    def put_through(self, function: Callable[[Any], Any], concurrency: int) -> None:
        """Log what an intake function makes of what is sent; who sent what it fails for is told."""
        self._passage = Passage(function, concurrency, "holdfast-intake-http")

    def bind(self, registry: TypeRegistry) -> None:
        self._posts.forget()
        self._records.bind(registry)

    def partitions(self) -> list[str]:
        return [ONLY_PARTITION]

    def open(self, partition: str, offset: object | None) -> HttpReader:
        number = 0 if offset is None else offset
        assert type(number) is int, offset
        self._server = Server(listening(*self._address, "sources.Http"), self._rules, self._take)
        self._posts.reopen(number)
        return HttpReader(self._posts, self._server, self._passage, number)

    def acknowledge(self, partition: str, offset: object) -> None:
        """What lies before the offset is durable: answer."""
        assert type(offset) is int, offset
        self._posts.acknowledge(offset)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return self._records.cut(raw, start, size)

    def decode(self, raw: bytes) -> list[Any | Undecodable]:
        return self._records.decode(raw)

    def times(self, records: list[Any], /) -> None:
        """None: the logged clock counts."""

    def _take(self, messages: Sequence[Any], identity: Identity | None) -> None:
        """In a requester's thread: returns when all is durable."""
        later = {"Retry-After": str(LATER_SECONDS)}
        post = self._put(messages, identity) if self._passage is None else self._pass(self._passage, messages, identity)
        if post is None:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "nothing is taken now; send it again later", **later)
        post.settled.wait(ANSWER_SECONDS)
        if not post.is_durable:
            what = "not durable yet, perhaps never; send it again with the same producer and sequence"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, what, **later)

    def _put(self, messages: Sequence[Any], identity: Identity | None) -> Post | None:
        try:
            records = [
                self._records.record(message, None if identity is None else (identity[0], identity[1] + index))
                for index, message in enumerate(messages)
            ]
        except ValueTypeError as error:  # JSON that is nested too deep
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
        return self._posts.put(records)

    def _pass(self, passage: Passage, messages: Sequence[Any], identity: Identity | None) -> Post | None:
        try:
            return passage.through(messages, lambda results: self._put(results, identity))
        except RefusedError:
            raise
        except CancelledError:  # reading has ended
            return None
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything; who asked hears of it
            what = f"the intake function failed: {error_text(error)}; nothing of this request was taken"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, what) from None


class HttpReader:
    """Gives the records as they come."""

    def __init__(self, posts: Posts, server: Server, passage: Passage | None, number: int) -> None:
        self._posts = posts
        self._server = server
        self._passage = passage
        self._start = number
        self._closing = threading.Event()
        self._gate = Gate(self._let_go, wake=self._posts.wake)

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        with self._gate.inside() as enters:
            if not enters:
                return None
            taken = self._posts.take(records_max or 1, bytes_max, self._gate.closed.is_set)
            return Block(b"".join(taken), len(taken), ended=False) if taken else None

    def offset_after(self, count: int) -> object:
        return self._start + count

    def close(self) -> None:
        self._gate.close()

    def _let_go(self) -> None:
        self._server.close()
        self._posts.refuse()
        if self._passage is not None:
            self._passage.close()


def _parsed(address: str, token: str | None) -> tuple[str, int]:
    host, colon, port = str(address).rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise ApplicationError(f"sources.Http: {address!r} is not an address: HOST:PORT is, as in 127.0.0.1:8080")
    if token is None and not _is_loopback(host):
        raise ApplicationError(
            f"sources.Http: {address} can be reached from other machines, where anybody could send; give token=, "
            "or stay on this machine with 127.0.0.1"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
