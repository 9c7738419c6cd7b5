"""A receiver of webhooks on loopback: keeps every request, answers as it is told to, and can be restarted."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Answer = tuple[int, bytes] | None  # None: the connection is dropped without an answer


class Receiver:
    """Keeps (stream, number, body) of each POST; `answer` may refuse it before or after that."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, int, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.before: Callable[[int], Answer | bool] = lambda number: True  # True: take it
        self.after: Callable[[int], Answer] = lambda number: (204, b"")
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread = threading.Thread()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    def numbers(self) -> list[int]:
        return [number for _, number, _ in self.posts]

    def has(self, stream: str) -> int:
        """The last number of a stream, batches included."""
        ends = [n + (len(body) if isinstance(body, list) else 1) - 1 for s, n, body in self.posts if s == stream]
        return max(ends, default=0)

    def start(self) -> None:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = int(self.headers["Holdfast-Number"])
                answer = receiver.before(number)
                if answer is True:
                    receiver.headers.append(dict(self.headers))
                    receiver.posts.append((self.headers["Holdfast-Stream"], number, json.loads(body)))
                    answer = receiver.after(number)
                self.give(answer)

            def do_GET(self) -> None:
                self.give((200, b"%d\n" % receiver.has(self.headers["Holdfast-Stream"])))

            def give(self, answer: Any) -> None:
                if answer is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, text = answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that was killed."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.start()
    try:
        yield made
    finally:
        made.stop()
