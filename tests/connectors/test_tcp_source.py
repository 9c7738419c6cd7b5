"""The TCP source: whole records of many connections, nothing that was logged lost, one line for what goes wrong."""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

import holdfast as hf
from chaos.cluster_kills import children
from holdfast import sources
from holdfast.connectors.interface import Block, Reader
from holdfast.connectors.listener import listening
from holdfast.core.errors import ApplicationError, UsageError
from tests.cli.command import holdfast, last_line, running, write
from tests.connectors.killing import count_lines, ended_cleanly
from tests.connectors.ports import free_port

SECONDS_MAX = 60.0
LINES = 400
KILLS = 4
APP = """
import holdfast as hf


def numbered(line: str, state: list[int]) -> str:
    state.append(0)
    return f"{line} {len(state)}"


app = hf.Application("tcp")
lines = app.source(hf.sources.Tcp("127.0.0.1:PORT", "127.0.0.1:OTHER"))
lines.key_by(lambda line: line[0]).stateful(numbered, state=list).sink(hf.sinks.TextFile("out.txt"))
"""


def connected(port: int) -> socket.socket:
    """Connect as soon as somebody listens."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.01)


class Listening:
    """A source's one partition, opened."""

    def __init__(self, **options: object) -> None:
        self.port = free_port()
        self.source = sources.Tcp(f"127.0.0.1:{self.port}", **options)  # type: ignore[arg-type]
        (self.partition,) = self.source.partitions()
        self.reader: Reader = self.source.open(self.partition, None)

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *failure: object) -> None:
        self.reader.close()

    def reopen(self, offset: int) -> None:
        self.reader.close()
        self.reader = self.source.open(self.partition, offset)

    def take(self, count: int) -> list[object]:
        found: list[object] = []
        while len(found) < count:
            block = self.reader.read(count - len(found), 1 << 20)
            assert isinstance(block, Block)
            records = self.source.decode(block.raw)
            assert len(records) == block.count
            found += records
        return found


def test_lines_of_several_connections_come_whole() -> None:
    with Listening() as own, connected(own.port) as one, connected(own.port) as two:
        one.sendall(b"begun ")
        two.sendall(b"whole\nhalf")
        assert own.take(1) == ["whole"]
        one.sendall(b"and ended\n\n")
        assert own.take(2) == ["begun and ended", ""]
        two.sendall("Größe\r\n".encode())
        assert own.take(1) == ["halfGröße\r"]


def test_bytes_come_behind_their_length() -> None:
    with Listening(framing="u32") as own, connected(own.port) as one:
        record = bytes(range(256))
        one.sendall(struct.pack(">I", 0) + struct.pack(">I", len(record)) + record)
        assert own.take(2) == [b"", record]


def test_a_line_that_does_not_decode_is_an_undecodable_record() -> None:
    with Listening() as own, connected(own.port) as one:
        one.sendall(b"\xff\ngood\n")
        bad, good = own.take(2)
        assert isinstance(bad, hf.testing.Undecodable)
        assert good == "good"


@pytest.mark.parametrize(
    ("framing", "data"), [("lines", b"good\n" + b"x" * 101), ("u32", struct.pack(">I", 4) + b"good\xff\0\0\0")]
)
def test_a_record_over_the_limit_ends_its_connection_only(
    framing: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with Listening(framing=framing, record_bytes_max=100) as own:
        one, two = connected(own.port), connected(own.port)
        with one, two, caplog.at_level(logging.WARNING, "holdfast"):
            one.sendall(data)
            assert own.take(1) in (["good"], [b"good"])
            waits = threading.Thread(target=own.take, args=(1,), daemon=True)
            waits.start()
            assert one.recv(1) == b"", "it was closed"
            two.sendall(b"more\n" if framing == "lines" else struct.pack(">I", 4) + b"more")
            waits.join(SECONDS_MAX)
        assert not waits.is_alive()
        (message,) = caplog.messages
        assert f"TCP source 127.0.0.1:{own.port}: the connection from 127.0.0.1:" in message
        assert "was closed: a " in message
        assert "is longer than 100" in message


def test_a_record_that_is_not_whole_when_its_connection_ends_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with Listening() as own, caplog.at_level(logging.WARNING, "holdfast"):
        with connected(own.port) as one:
            one.sendall(b"whole\nhalf")
        with connected(own.port) as two:
            two.sendall(b"last\n")
            assert sorted(map(str, own.take(2))) == ["last", "whole"]
            two.sendall(b"more\n")
            assert own.take(1) == ["more"]
    assert [message for message in caplog.messages if "in the middle of a record, 4 bytes of it" in message]


def test_what_was_not_logged_is_given_again_where_it_is_opened_again() -> None:
    with Listening() as own, connected(own.port) as one:
        one.sendall(b"".join(b"%d\n" % number for number in range(10)))
        assert own.take(10) == [str(number) for number in range(10)]
        own.source.acknowledge(own.partition, 4)

        own.reopen(7)
        assert own.take(3) == ["7", "8", "9"]
        one.sendall(b"the connection lives on\n")
        assert own.take(1) == ["the connection lives on"]
        assert own.reader.offset_after(4) == 11


def test_acknowledged_records_are_not_kept() -> None:
    with Listening() as own, connected(own.port) as one:
        one.sendall(b"".join(b"%d\n" % number for number in range(10)))
        own.take(10)
        own.source.acknowledge(own.partition, 10)
        own.reopen(12)  # another process read two of it meanwhile
        one.sendall(b"next\n")
        assert own.take(1) == ["next"]


def test_closing_ends_the_wait_for_records() -> None:
    with Listening() as own:
        blocks: list[object] = []
        waits = threading.Thread(target=lambda: blocks.append(own.reader.read(1, 100)), daemon=True)
        waits.start()
        own.reader.close()
        waits.join(SECONDS_MAX)
        assert blocks == [None]


def test_a_port_in_use_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.connectors.listener.PATIENCE_SECONDS", 0.1)
    with Listening() as own:
        other = sources.Tcp(own.partition)
        said = f"sources.Tcp can't listen on {own.partition}: Address already in use; end what uses"
        with pytest.raises(UsageError, match=said):
            other.open(own.partition, None)


def test_a_port_that_is_in_use_for_a_moment_is_waited_for() -> None:
    port = free_port()
    holding = threading.Event()
    with socket.create_server(("127.0.0.1", port)) as held:

        def let_go() -> None:
            holding.wait(SECONDS_MAX)
            held.close()

        waits = threading.Thread(target=let_go)
        waits.start()
        with pytest.MonkeyPatch.context() as patch:
            # The first try has failed when somebody sleeps.
            patch.setattr("holdfast.connectors.listener.time.sleep", lambda seconds: holding.set())
            listening("127.0.0.1", port, "source").close()
        waits.join(SECONDS_MAX)
    assert holding.is_set()


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"sources.Tcp can't listen on 192.0.2.1:9000: Cannot assign"):
        sources.Tcp("192.0.2.1:9000").open("192.0.2.1:9000", None)


@pytest.mark.parametrize(
    ("addresses", "options", "said"),
    [
        ((), {}, "needs an address"),
        (("127.0.0.1",), {}, "host:port"),
        (("127.0.0.1:1", "127.0.0.1:1"), {}, "given twice"),
        (("127.0.0.1:1",), {"framing": "netstring"}, "framing="),
        (("127.0.0.1:1",), {"encoding": "utf-16"}, "line by line"),
        (("127.0.0.1:1",), {"record_bytes_max": 0}, "record_bytes_max="),
    ],
)
def test_what_is_given_wrongly_is_refused_at_once(
    addresses: tuple[str, ...], options: dict[str, object], said: str
) -> None:
    with pytest.raises(ApplicationError, match=said):
        sources.Tcp(*addresses, **options)  # type: ignore[arg-type]


def test_a_run_whose_port_is_in_use_ends_with_two(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        write(tmp_path, APP.replace("PORT", str(port)).replace("OTHER", str(free_port())))
        done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 2
    said = f"sources.Tcp can't listen on 127.0.0.1:{port}: Address already in use; end what uses the port"
    assert last_line(done.stderr).startswith(f"holdfast: error: {said}")


@pytest.mark.parametrize(
    "workers",
    [(), pytest.param(("--workers", "2", "--backups", "1"), marks=pytest.mark.nightly)],
    ids=["one worker", "cluster"],
)
def test_what_has_come_out_stays_and_nothing_comes_twice_while_processes_are_killed(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    """A sender that waits for each line to come out sends it again only if it has not."""
    ports, output = (free_port(), free_port()), tmp_path / "out.txt"
    write(tmp_path, APP.replace("PORT", str(ports[0])).replace("OTHER", str(ports[1])))
    sent = 0
    for kill in range(KILLS + 1):
        with running(tmp_path, "run", "app.py", *workers, stderr=-3) as process:
            while sent < (kill + 1) * LINES // (KILLS + 1):
                sent = send_one(ports[sent % 2], sent, output)
            if kill == KILLS:
                ended_cleanly(process)
            elif workers:
                victims = [pid for pid, role in children(process.pid) if role == "worker"]
                os.kill(victims[kill % len(victims)], signal.SIGKILL)
                sent = send_one(ports[sent % 2], sent, output)
                process.kill()
            else:
                process.kill()
            process.wait()

    expected = [f"{number % 2}-{number} {number // 2 + 1}" for number in range(sent)]
    assert sorted(output.read_text().splitlines(), key=lambda line: int(line.split()[0][2:])) == expected


def send_one(port: int, number: int, output: Path) -> int:
    """Send a line until it has come out; the number of the next."""
    standing = count_lines(output)
    while standing() <= number:
        with connected(port) as sender:
            sender.sendall(f"{number % 2}-{number}\n".encode())
            deadline = time.monotonic() + SECONDS_MAX
            while standing() <= number and not hung_up(sender):
                assert time.monotonic() < deadline, "it does not come out"
                time.sleep(0.002)
        settled = time.monotonic() + 0.5
        while standing() <= number and time.monotonic() < settled:
            time.sleep(0.01)  # it may have been logged before the connection broke
    return number + 1


def hung_up(sender: socket.socket) -> bool:
    sender.setblocking(False)
    try:
        return sender.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_verify_takes_what_others_send(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    write(tmp_path, APP.replace("PORT", str(ports[0])).replace("OTHER", str(ports[1])))

    with running(tmp_path, "verify", "app.py", "--seconds", "3") as process:
        with connected(ports[0]) as one, connected(ports[1]) as two:
            for number in range(50):
                one.sendall(b"a%d\n" % number)
                two.sendall(b"b%d\n" % number)
        stdout, stderr = process.communicate(timeout=SECONDS_MAX)

    assert process.returncode == 0, stderr
    assert last_line(stdout) == "IDENTICAL"
    assert "100 outputs" in stdout
