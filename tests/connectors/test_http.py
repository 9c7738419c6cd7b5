"""The HTTP source: what is taken, what is answered when, and that what was answered with 200 is never lost."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chaos.cluster_kills import children
from holdfast.connectors.http_source import Http, HttpReader
from holdfast.core.connector import Sent
from holdfast.core.errors import ApplicationError, UsageError
from holdfast.core.types import TypeRegistry
from tests.cli.command import holdfast, last_line, running, write
from tests.connectors.ports import free_port

JSON = {"Content-Type": "application/json"}
LINES = {"Content-Type": "application/x-ndjson"}
Answer = tuple[int, dict[str, Any]]


class Desk:
    """A source that is read as the engine reads it; it tells what is durable when the test says so."""

    def __init__(self, source: Http, *, prompt: bool = True) -> None:
        self.source = source
        self.records: list[Any] = []
        self.prompt = prompt  # every record is durable as soon as it was read
        self.read = threading.Semaphore(0)
        source.bind(TypeRegistry())
        self.open(None)

    def open(self, offset: int | None) -> None:
        self.reader = self.source.open("0", offset)
        self.thread = threading.Thread(target=self._read, args=(self.reader, offset or 0), daemon=True)
        self.thread.start()

    def _read(self, reader: HttpReader, number: int) -> None:
        given = 0
        while (block := reader.read(64, 1 << 18)) is not None:
            given += block.count
            assert reader.offset_after(given) == number + given
            self.records += self.source.decode(block.raw)
            if self.prompt:
                self.source.acknowledge("0", number + given)
            self.read.release()

    def close(self) -> None:
        self.reader.close()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def post(self, body: bytes, headers: dict[str, str], path: str = "/in", method: str = "POST") -> Answer:
        return post(self.source.port, body, headers, path, method)


def post(port: int, body: bytes, headers: dict[str, str], path: str = "/in", method: str = "POST") -> Answer:
    """Send one request, and return what was answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk(Http("127.0.0.1:0", "/in", body_bytes_max=1000))
    yield made
    made.close()


def test_a_value_or_lines_of_them_become_records_in_order(desk: Desk) -> None:
    assert desk.post(b'{"a": [1, 2.5, null]}', JSON) == (200, {"records": 1})
    assert desk.post(b'1\n"two"\n[3]\n', LINES) == (200, {"records": 3})
    assert desk.post(b"4", {"Content-Type": "application/jsonl; charset=utf-8"}) == (200, {"records": 1})
    assert desk.records == [{"a": [1, 2.5, None]}, 1, "two", [3], 4]


def test_ids_count_on_through_the_lines_of_a_body(desk: Desk) -> None:
    identity = {"Holdfast-Producer": "till-7", "Holdfast-Sequence": "41"}

    assert desk.post(b"1\n2\n", LINES | identity) == (200, {"records": 2})
    assert desk.records == [Sent(1, "till-7", 41), Sent(2, "till-7", 42)]


@pytest.mark.parametrize(
    ("body", "headers", "path", "status", "said"),
    [
        (b"{", JSON, "/in", 400, "the body is no JSON"),
        (b"1\n{\n", LINES, "/in", 400, "line 2 is no JSON"),
        (b"1\n\n2", LINES, "/in", 400, "line 2 is no JSON"),
        (b"", LINES, "/in", 400, "the body has no lines"),
        (b"\xff", JSON, "/in", 400, "the body is no JSON"),
        (b"[" * 900, JSON, "/in", 400, "the body is no JSON"),
        (b"[" * 400 + b"]" * 400, JSON, "/in", 400, "nested"),
        (b"1", {"Content-Type": "text/plain"}, "/in", 415, "the Content-Type is application/json"),
        (b"1", {}, "/in", 415, "the Content-Type is"),
        (b"1", JSON, "/out", 404, "records are sent to /in"),
        (b"1" * 1001, JSON, "/in", 413, "a body has at most 1000 bytes"),
        (b"1" * 5_000_000, JSON, "/in", 413, "a body has at most 1000 bytes"),
        (b"1", JSON | {"Holdfast-Producer": "a"}, "/in", 400, "belong together"),
        (b"1", JSON | {"Holdfast-Producer": "a", "Holdfast-Sequence": "-1"}, "/in", 400, "is a number"),
        (b"1", JSON | {"Holdfast-Producer": "a", "Holdfast-Sequence": "9" * 30}, "/in", 400, "is a number"),
        (b"1", JSON | {"Holdfast-Producer": "a" * 201, "Holdfast-Sequence": "1"}, "/in", 400, "1 to 200 characters"),
        (b"1", JSON | {"Transfer-Encoding": "chunked"}, "/in", 411, "not in chunks"),
    ],
)
def test_what_can_not_be_taken_is_said_and_nothing_is_taken_of_it(
    body: bytes, headers: dict[str, str], path: str, status: int, said: str, desk: Desk
) -> None:
    answered, text = desk.post(body, headers, path)

    assert answered == status
    assert said in text["error"]
    assert desk.records == []
    assert desk.post(b"1", JSON) == (200, {"records": 1})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_records_come_by_post_only(method: str, desk: Desk) -> None:
    assert desk.post(b"", {}, method=method) == (405, {"error": "records are sent by POST"})


def test_what_is_no_http_is_refused_in_json(desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", desk.source.port), timeout=10) as stranger:
        stranger.sendall(b"hello\r\n\r\n")
        assert b'{"error": ' in stranger.recv(4096)


def test_one_connection_carries_many_requests(desk: Desk) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", desk.source.port, timeout=30)
    for number in range(50):
        connection.request("POST", "/in", str(number), JSON)
        assert connection.getresponse().read() == b'{"records": 1}\n'
    connection.close()
    assert desk.records == list(range(50))


def test_a_token_is_asked_for() -> None:
    desk = Desk(Http("127.0.0.1:0", "/in", token="secret"))
    try:
        assert desk.post(b"1", JSON)[0] == 401
        assert desk.post(b"1", JSON | {"Authorization": "Bearer secrets"})[0] == 401
        assert desk.post(b"1", JSON | {"Authorization": "Bearer secret"})[0] == 200
    finally:
        desk.close()


class Requester(threading.Thread):
    """A request beside the test."""

    def __init__(self, desk: Desk, body: bytes, headers: dict[str, str] = JSON) -> None:
        super().__init__(daemon=True)
        self.answer: Answer | None = None
        self._request: Callable[[], Answer] = lambda: desk.post(body, headers)
        self.start()

    def run(self) -> None:
        self.answer = self._request()

    def result(self) -> Answer | None:
        self.join(10)
        assert not self.is_alive()
        return self.answer


def test_the_answer_comes_when_the_last_record_is_durable(desk: Desk) -> None:
    desk.prompt = False
    requester = Requester(desk, b"1\n2\n3\n", LINES)
    desk.read.acquire(timeout=10)
    assert desk.records == [1, 2, 3]

    desk.source.acknowledge("0", 2)
    assert requester.answer is None
    desk.source.acknowledge("0", 3)

    assert requester.result() == (200, {"records": 3})


def test_what_was_read_and_not_logged_is_to_be_sent_again_and_what_was_logged_is_answered_later(desk: Desk) -> None:
    desk.prompt = False
    logged, lost = Requester(desk, b"1"), None
    desk.read.acquire(timeout=10)
    lost = Requester(desk, b"2")
    desk.read.acquire(timeout=10)
    desk.close()

    desk.open(1)  # of the two one was logged

    answer = lost.result()
    assert answer is not None
    assert answer[0] == 503
    desk.source.acknowledge("0", 1)
    assert logged.result() == (200, {"records": 1})


def test_nothing_is_taken_while_nobody_reads(desk: Desk) -> None:
    port = desk.source.port
    desk.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    desk.open(0)
    assert desk.post(b"1", JSON) == (200, {"records": 1})


def test_a_port_that_stays_in_use_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.connectors.listener.PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"can't listen on {address}: Address already in use; end what uses"):
            Http(address).open("0", None)
        write(tmp_path, APP.replace("127.0.0.1:PORT", address))
        done = holdfast(tmp_path, "run", "app.py")
    assert done.returncode == 2
    assert f"can't listen on {address}" in last_line(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"address": "nonsense"}, "HOST:PORT is, as in 127.0.0.1:8080"),
        ({"address": "127.0.0.1:99999"}, "HOST:PORT is"),
        ({"address": "0.0.0.0:80"}, "give token="),
        ({"address": "127.0.0.1:80", "path": "in"}, "begins with /"),
        ({"address": "127.0.0.1:80", "token": " "}, "token= is a text"),
        ({"address": "127.0.0.1:80", "body_bytes_max": 0}, "must be a positive int"),
        ({"address": "127.0.0.1:80", "remembered": 0}, "must be a positive int"),
    ],
)
def test_a_source_that_can_not_be_is_refused_when_it_is_made(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ApplicationError, match=said):
        Http(**arguments)


# --- a run, and a client that retries through kills

APP = """
import holdfast as hf


def book(order: dict, seen: list) -> list:
    seen.append(order["number"])
    return [order["customer"], order["number"], len(seen)]


app = hf.Application("orders")
orders = app.source(hf.sources.Http("127.0.0.1:PORT", "/orders"))
orders.key_by(lambda order: order["customer"]).stateful(book, state=list).sink(hf.sinks.JsonLines("booked.jsonl"))
"""


def order_until_answered(port: int, number: int, batch: int) -> int:
    """Send orders number … as one body with ids until the answer is 200; how often it was sent."""
    lines = "".join(
        json.dumps({"customer": f"c{n % 3}", "number": n}) + "\n" for n in range(number, number + batch)
    ).encode()
    headers = LINES | {"Holdfast-Producer": "client", "Holdfast-Sequence": str(number)}
    deadline = time.monotonic() + 60
    for attempt in range(1, 1_000_000):
        assert time.monotonic() < deadline
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("POST", "/orders", lines, headers)
            response = connection.getresponse()
            if response.status == 200:
                return attempt
            assert response.status == 503, response.read()
        except (OSError, http.client.HTTPException):
            threading.Event().wait(0.02)
        finally:
            connection.close()
    raise AssertionError


def test_every_order_is_booked_once_through_kills(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path, APP.replace("PORT", str(port)))
    over = threading.Event()
    kills = 0

    def keep_running_and_killing() -> None:
        nonlocal kills
        while not over.is_set():
            with running(tmp_path, "run", "app.py", stderr=subprocess.DEVNULL) as process:
                while not over.is_set() and process.poll() is None and sent[0] < (kills + 1) * 40:
                    over.wait(0.005)
                kills += not over.is_set()

    sent = [0]
    killer = threading.Thread(target=keep_running_and_killing, daemon=True)
    killer.start()
    attempts = 0
    while sent[0] < 240:
        batch = 1 + sent[0] % 4
        attempts += order_until_answered(port, sent[0], batch)
        sent[0] += batch
    over.set()
    killer.join(30)
    with running(tmp_path, "run", "app.py") as process:
        order_until_answered(port, 0, 1)  # an old one again: dropped, also by the last life
        process.terminate()
        assert process.wait(timeout=30) == 143

    booked = [json.loads(line) for line in (tmp_path / "booked.jsonl").read_text().splitlines()]
    assert [number for _, number, _ in booked] == list(range(sent[0]))
    counts: dict[str, int] = {}
    for customer, _, count in booked:
        counts[customer] = counts.get(customer, 0) + 1
        assert count == counts[customer]
    assert kills >= 4


def test_a_cluster_books_every_order_once_while_the_workers_that_listen_are_killed(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path, APP.replace("PORT", str(port)))
    sent = 0
    with running(tmp_path, "run", "app.py", "--workers", "2", "--backups", "1", "--data", "d") as process:
        while sent < 90:
            order_until_answered(port, sent, 2)
            sent += 2
            if sent in (30, 60):
                workers = [pid for pid, role in children(process.pid) if role == "worker"]
                os.kill(next(pid for pid in workers if listens(pid, port)), signal.SIGKILL)
        process.terminate()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 143, told

    booked = [json.loads(line) for line in (tmp_path / "booked.jsonl").read_text().splitlines()]
    assert [number for _, number, _ in booked] == list(range(sent))


def listens(pid: int, port: int) -> bool:
    """Whether this process has a socket that listens on the port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            held.add(os.readlink(path))
    return bool(sockets & held)
