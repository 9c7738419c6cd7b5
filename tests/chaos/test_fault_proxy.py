"""The fault proxy passes everything on, holds back what goes a way that is cut, and loses nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from holdfast.chaos.fault_proxy import FaultProxy

SECONDS_MAX = 30.0
SILENT_SECONDS = 0.2  # nothing came for so long: it is held back


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy() as made:
        yield made


class Pair:
    """A connection from a to b through the proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            self.a = socket.create_connection((proxy.address.host, proxy.address.port), timeout=SECONDS_MAX)
            host, port = server.getsockname()
            self.a.sendall(f"a b {host}:{port}\n".encode())
            self.b, _ = server.accept()
            self.b.settimeout(SECONDS_MAX)

    def close(self) -> None:
        self.a.close()
        self.b.close()


@pytest.fixture
def pair(proxy: FaultProxy) -> Iterator[Pair]:
    made = Pair(proxy)
    yield made
    made.close()


def received(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := end.recv(size - len(data))):
        data += piece
    return data


def is_silent(end: socket.socket) -> bool:
    end.settimeout(SILENT_SECONDS)
    try:
        came = end.recv(1)
    except TimeoutError:
        came = None
    end.settimeout(SECONDS_MAX)
    return came is None


def test_bytes_go_both_ways_in_order(pair: Pair) -> None:
    data = bytes(range(256)) * 4096
    pair.a.sendall(data[:1000])
    assert received(pair.b, 1000) == data[:1000]
    pair.b.sendall(b"back")
    assert received(pair.a, 4) == b"back"


def test_a_way_that_is_cut_holds_back_and_the_other_one_does_not(proxy: FaultProxy, pair: Pair) -> None:
    proxy.cut([("a", "b")])
    pair.a.sendall(b"late")
    pair.b.sendall(b"in time")

    assert received(pair.a, 7) == b"in time"
    assert is_silent(pair.b)
    proxy.cut([])
    assert received(pair.b, 4) == b"late"


def test_the_end_of_a_connection_does_not_pass_where_it_is_cut(proxy: FaultProxy, pair: Pair) -> None:
    proxy.cut([("a", "b")])
    pair.a.sendall(b"last words")
    pair.a.close()

    assert is_silent(pair.b)
    proxy.cut([])
    assert received(pair.b, 100) == b"last words"


def test_other_pairs_are_not_touched_by_a_cut(proxy: FaultProxy, pair: Pair) -> None:
    proxy.cut([("a", "c"), ("c", "a")])
    pair.a.sendall(b"through")
    assert received(pair.b, 7) == b"through"


def test_who_says_no_line_is_let_go(proxy: FaultProxy) -> None:
    for said in (b"a b\n", b"a b nowhere\n", b"x" * 1000):
        with closing(socket.create_connection((proxy.address.host, proxy.address.port), timeout=SECONDS_MAX)) as end:
            end.sendall(said)
            try:
                assert end.recv(1) == b""
            except ConnectionResetError:
                pass


def test_who_calls_nobody_learns_that_nobody_is_there(proxy: FaultProxy) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        host, port = server.getsockname()
    with closing(socket.create_connection((proxy.address.host, proxy.address.port), timeout=SECONDS_MAX)) as end:
        end.sendall(f"a b {host}:{port}\n".encode())
        assert end.recv(1) == b""
