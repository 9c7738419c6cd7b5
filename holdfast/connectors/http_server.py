"""The HTTP of the source: who may send what, in which form, and what is answered. Every body is JSON.

The standard library's server with a thread for each connection, and limits on all that a stranger can make it hold:
connections, lines, headers, bodies, and the time that each may take. What becomes of records is `take`'s business.
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

CONNECTIONS_MAX: Final = 256  # one more is told to come later
IDLE_SECONDS: Final = 60.0  # for the next request, or the next piece of one
DRAINED_BYTES_MAX: Final = 16 << 20  # of a body that is refused
LATER_SECONDS: Final = 1  # after which who was told to come later may come
PRODUCER_LENGTH_MAX: Final = 200
SEQUENCE_DIGITS_MAX: Final = 18
_JSON, _LINES = "application/json", ("application/x-ndjson", "application/jsonl")
_POLL_SECONDS: Final = 0.1  # how soon the listening thread notices that it is to end


class RefusedError(Exception):
    """A request that can't be taken: the status says whose fault it is, the text what to do."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Rules:
    """What one source takes."""

    path: str
    token: str | None
    body_bytes_max: int


Identity = tuple[str, int]
# Takes messages with the id of the first, or None; returns when they are durable, or raises RefusedError.
Take = Callable[[Sequence[Any], Identity | None], None]


class Server(ThreadingHTTPServer):
    """Serves a socket that listens, until `close`, which ends that as well."""

    daemon_threads = True
    block_on_close = False  # who waits for an answer is told by others that there will be none

    def __init__(self, listener: socket.socket, rules: Rules, take: Take) -> None:
        self.rules = rules
        self.take = take
        self._places = threading.Semaphore(CONNECTIONS_MAX)
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()  # the library's own; this one listens already
        self.socket = listener
        serve = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), name="holdfast-http", daemon=True)
        serve.start()

    def close(self) -> None:
        """Stop listening; requests that are there go on."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        try:
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass  # it has gone
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke: its requester knows, and comes again."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "holdfast"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Take the records of a body."""
        try:
            self._check_place()
            body = self._body()
            messages = self._messages(body)
            self.server.take(messages, self._identity())
        except RefusedError as error:
            self._answer(error.status, {"error": str(error)}, **error.headers)
        else:
            self._answer(HTTPStatus.OK, {"records": len(messages)})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As the library refuses what is no HTTP and all methods that there are no functions for, but in JSON."""
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "records are sent by POST"}, Allow="POST")
        else:
            self._answer(status, {"error": message or status.phrase})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing: requests are no messages of a run."""

    # --- the parts of a request

    def _check_place(self) -> None:
        rules = self.server.rules
        if self.path.partition("?")[0] != rules.path:
            self._leave(HTTPStatus.NOT_FOUND, f"records are sent to {rules.path}")
        if rules.token is not None:
            given = self.headers.get("Authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(given, f"Bearer {rules.token}".encode()):
                self._leave(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong", **{"WWW-Authenticate": "Bearer"})

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            self._leave(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length, not in chunks")
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            self._leave(HTTPStatus.LENGTH_REQUIRED, "send the body with one Content-Length")
        length = int(lengths[0]) if len(lengths[0]) <= SEQUENCE_DIGITS_MAX else 1 << 62
        limit = self.server.rules.body_bytes_max
        if length > limit:
            self._leave(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {limit} bytes; send less at once")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the requester has gone")
        return body

    def _messages(self, body: bytes) -> list[Any]:
        kind = self.headers.get_content_type()
        if kind == _JSON:
            return [_value(body, "the body")]
        if kind in _LINES:
            lines = body.split(b"\n")
            if not lines[-1]:
                lines.pop()
            if not lines:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the body has no lines")
            return [_value(line, f"line {number}") for number, line in enumerate(lines, 1)]
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the Content-Type is {_JSON} for one record, or {_LINES[0]} for one JSON value a line",
        )

    def _identity(self) -> Identity | None:
        producer, sequence = self.headers.get("Holdfast-Producer"), self.headers.get("Holdfast-Sequence")
        if producer is None and sequence is None:
            return None
        if producer is None or sequence is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Holdfast-Producer and Holdfast-Sequence belong together")
        if not 0 < len(producer) <= PRODUCER_LENGTH_MAX:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"Holdfast-Producer has 1 to {PRODUCER_LENGTH_MAX} characters")
        digits = sequence.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) <= SEQUENCE_DIGITS_MAX):
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, f"Holdfast-Sequence is a number of at most {SEQUENCE_DIGITS_MAX} digits"
            )
        return producer, int(digits)

    def _leave(self, status: HTTPStatus, text: str, **headers: str) -> None:
        """Refuse before the body is read: the connection can't go on behind it.

        Some of it is read all the same, or the answer would be lost on who is still sending.
        """
        self.close_connection = True
        length = self.headers.get("Content-Length", "")
        left = int(length) if length.isascii() and length.isdigit() and len(length) <= SEQUENCE_DIGITS_MAX else 0
        left = left if left <= DRAINED_BYTES_MAX else 0
        while left and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)
        raise RefusedError(status, text, **headers)

    def _answer(self, status: HTTPStatus, body: dict[str, Any], **headers: str) -> None:
        payload = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(payload)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)


def _value(text: bytes, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{place} is no JSON: {error}") from None
