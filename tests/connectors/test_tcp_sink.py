"""The TCP sink: each output once where the receiver says what it has, at least once otherwise; it waits, and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from chaos.cluster_kills import children
from holdfast import sinks
from holdfast.connectors.interface import InterruptedWriteError
from holdfast.core.errors import ApplicationError, OutputShortError, SinkError
from tests.cli.command import holdfast, last_line, running, write, write_lines
from tests.connectors.killing import count_lines, wait_until
from tests.connectors.ports import free_port
from tests.connectors.test_tcp_source import connected
from tests.repository import ROOT

SECONDS_MAX = 60.0
RECORDS = 6000
KILLS = 6
APP = """
import holdfast as hf


def numbered(line: str, state: list[int]) -> str:
    state.append(0)
    return f"{line} {len(state)}"


app = hf.Application("tcp")
lines = app.source(hf.sources.TextFile("input.txt"))
lines.key_by(len).stateful(numbered, state=list).sink(hf.sinks.Tcp("127.0.0.1:PORT", OPTIONS))
"""
# Without `resume`: keeps every line that comes.
PLAIN = """
import socketserver


class Receiver(socketserver.StreamRequestHandler):
    def handle(self):
        with open("plain.txt", "ab") as file:
            while (line := self.rfile.readline()).endswith(b"\\n"):
                file.write(line)
                file.flush()


socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", 9000), Receiver).serve_forever()
"""


def documented() -> str:
    """The receiver that stands in the documentation."""
    text = (ROOT / "docs" / "connectors" / "tcp.md").read_text()
    block: str
    (block,) = re.findall(r"^```python\n(import socketserver\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    server = "    socketserver.TCPServer("  # which must be able to begin again at once
    return block.replace(server, f"    socketserver.TCPServer.allow_reuse_address = True\n{server}")


@contextmanager
def receiving(folder: Path, program: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A receiver as a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", program.replace("9000", str(port))], cwd=folder)
    try:
        connected(port).close()
        yield process
    finally:
        process.kill()
        process.wait()


def expected(folder: Path) -> list[str]:
    counts: dict[int, int] = {}
    lines = []
    for line in (folder / "input.txt").read_text().splitlines():
        counts[len(line)] = counts.get(len(line), 0) + 1
        lines.append(f"{line} {counts[len(line)]}")
    return lines


def received(folder: Path) -> list[str]:
    found = [path for path in folder.glob("*.txt") if re.fullmatch("[0-9a-f]{16}", path.stem)]
    return [line for path in found for line in path.read_text().splitlines()]


class Receiver:
    """The other end, in the test's hands."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"

    def accept(self, hello: str = "", number: int | None = None) -> socket.socket:
        self.server.settimeout(SECONDS_MAX)
        accepted, _ = self.server.accept()
        accepted.settimeout(SECONDS_MAX)
        if hello:
            assert accepted.recv(len(hello)) == hello.encode()
        if number is not None:
            accepted.sendall(b"%d\n" % number)
        return accepted

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *failure: object) -> None:
        self.server.close()


class Work:
    """A call of the writer in a thread of its own, as in a run."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.error: BaseException | None = None

        def work() -> None:
            try:
                call(*arguments)  # type: ignore[operator]
            except BaseException as error:  # noqa: BLE001 - it is looked at by the test
                self.error = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.thread.join(SECONDS_MAX)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


def lines(first: int, count: int) -> list[bytes]:
    return [b"output %d\n" % number for number in range(first, first + count)]


def taken(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, data
        data += piece
    return data


HELLO = "holdfast 2d06800538d394c2\n"  # of nobody's outputs


def test_the_receiver_is_asked_and_gets_what_it_lacks() -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address, resume=True).open(None, 0, owned=True)
        work = Work(writer.write, 1, lines(1, 5), 5)
        with receiver.accept(HELLO, 3) as connection:
            assert taken(connection, 18) == b"output 4\noutput 5\n"
            work.end()
            flush = Work(writer.token)
            assert flush.thread.is_alive()
            connection.sendall(b"4\n5\n")
            flush.end()
        writer.close()


def test_what_was_not_confirmed_is_sent_again_on_another_connection() -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address, resume=True).open(None, 0, owned=True)
        work = Work(writer.write, 1, lines(1, 4), 4)
        with receiver.accept(HELLO, 0) as connection:
            assert taken(connection, 36) == b"".join(lines(1, 4))
            work.end()
            connection.sendall(b"1\n")
        flush = Work(writer.token)
        with receiver.accept(HELLO, 2) as connection:
            assert taken(connection, 18) == b"output 3\noutput 4\n"
            connection.sendall(b"4\n")
            flush.end()
        writer.close()


def test_a_receiver_that_has_lost_outputs_is_refused() -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address, resume=True).open(None, 7, owned=True)
        work = Work(writer.write, 8, lines(8, 1), 1)
        with receiver.accept(HELLO, 6), pytest.raises(OutputShortError, match="has 6 outputs; it had 7 before"):
            work.end()
        writer.close()


@pytest.mark.parametrize(
    ("answer", "said"), [(b"none\n", "said b'none"), (b"x" * 100, "said b'xxx"), (b"0\n9\n", "1 were written")]
)
def test_a_receiver_that_says_something_else_is_refused(answer: bytes, said: str) -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address, resume=True).open(None, 0, owned=True)

        def write_and_flush() -> None:
            writer.write(1, lines(1, 1), 1)
            writer.token()

        work = Work(write_and_flush)
        with receiver.accept(HELLO) as connection:
            connection.sendall(answer)
            with pytest.raises(SinkError, match=said):
                work.end()
        writer.close()


def test_without_resume_each_output_comes_behind_its_number() -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address).open(None, 41, owned=True)
        work = Work(writer.write, 42, lines(42, 2), 2)
        with receiver.accept() as connection:
            assert taken(connection, 26) == b"42\toutput 42\n43\toutput 43\n"
            work.end()
            Work(writer.token).end()
        writer.close()


def test_numbers_can_be_left_out() -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address, numbers=False).open(None, 0, owned=True)
        work = Work(writer.write, 1, lines(1, 2), 2)
        with receiver.accept() as connection:
            assert taken(connection, 18) == b"".join(lines(1, 2))
        work.end()
        writer.close()


@pytest.mark.parametrize("resume", [True, False])
def test_records_behind_their_length(resume: bool) -> None:
    with Receiver() as receiver:
        sink = sinks.Tcp(receiver.address, framing="u32", resume=resume)
        writer = sink.open(None, 0, owned=True)
        work = Work(writer.write, 1, [sink.encode(b"\n\0"), sink.encode("ü")], 2)
        with receiver.accept() as connection:
            if resume:
                hello = HELLO.strip().encode()
                assert taken(connection, 4 + len(hello)) == struct.pack(">I", len(hello)) + hello
                connection.sendall(struct.pack(">I", 1) + b"0")
                sent = [b"\n\0", "ü".encode()]
            else:
                sent = [struct.pack(">Q", 1) + b"\n\0", struct.pack(">Q", 2) + "ü".encode()]
            stream = b"".join(struct.pack(">I", len(record)) + record for record in sent)
            assert taken(connection, len(stream)) == stream
        work.end()
        writer.close()


def test_a_write_that_waits_is_given_up_when_the_sink_is_closed() -> None:
    writer = sinks.Tcp(f"127.0.0.1:{free_port()}").open(None, 0, owned=True)
    work = Work(writer.write, 1, lines(1, 1), 1)
    writer.interrupt()
    with pytest.raises(InterruptedWriteError):
        work.end()
    writer.close()


def test_a_run_that_is_to_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.connectors.tcp_sink._HURRY_SECONDS", 0.1)
    with Receiver() as receiver:  # which takes nothing
        writer = sinks.Tcp(receiver.address, resume=True).open(None, 0, owned=True)
        work = Work(writer.write, 1, lines(1, 1), 1)
        writer.hurry()
        with pytest.raises(SinkError, match="what it lacks is sent at the next start"):
            work.end()
        writer.close()


def test_patience_ends_the_run_with_what_was_met() -> None:
    writer = sinks.Tcp(f"127.0.0.1:{free_port()}", patience=0.05).open(None, 0, owned=True)
    with pytest.raises(SinkError, match=r"could not be reached for 0.05 s: Connection refused"):
        writer.write(1, lines(1, 1), 1)
    writer.close()


def test_much_that_nobody_confirms_waits() -> None:
    with Receiver() as receiver:
        writer = sinks.Tcp(receiver.address, resume=True).open(None, 0, owned=True)
        big = [b"x" * 99_999 + b"\n"] * 200
        work = Work(writer.write, 1, big, len(big))
        with receiver.accept(HELLO, 0) as connection:
            taken(connection, 200 * 100_000)
            assert work.thread.is_alive(), "20 MB are more than may be on their way"
            connection.sendall(b"100\n")
            work.end()
        writer.close()


@pytest.mark.parametrize(
    ("value", "framing"), [(b"bytes", "lines"), ("two\nlines", "lines"), (1, "lines"), (None, "u32"), ("\ud800", "u32")]
)
def test_what_cant_be_sent_is_an_error_of_the_message(value: object, framing: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        sinks.Tcp("127.0.0.1:1", framing=framing).encode(value)


@pytest.mark.parametrize(
    ("address", "options"), [("127.0.0.1", {}), (9000, {}), ("h:1", {"framing": "x"}), ("h:1", {"patience": -1})]
)
def test_what_is_given_wrongly_is_refused_at_once(address: object, options: dict[str, object]) -> None:
    with pytest.raises(ApplicationError, match=r"sinks\.Tcp"):
        sinks.Tcp(address, **options)  # type: ignore[arg-type]


@pytest.fixture
def port(tmp_path: Path) -> int:
    port = free_port()
    write(tmp_path, APP.replace("PORT", str(port)).replace("OPTIONS", "resume=True"))
    write_lines(tmp_path, RECORDS)
    return port


@pytest.mark.parametrize(
    "workers",
    [(), pytest.param(("--workers", "2", "--backups", "1"), marks=pytest.mark.nightly)],
    ids=["one worker", "cluster"],
)
def test_each_output_is_there_once_whoever_is_killed(workers: tuple[str, ...], port: int, tmp_path: Path) -> None:
    random = Random(1)
    for kill in range(KILLS):
        with running(tmp_path, "run", "app.py", *workers, stderr=-3, HOLDFAST_PACE="5:4000") as process:
            aim = len(received(tmp_path)) + random.randint(1, RECORDS // (2 * KILLS))
            with receiving(tmp_path, documented(), port) as receiver:
                wait_until(lambda: len(received(tmp_path)) >= aim, process)  # noqa: B023 - it ends within this turn
                if kill % 2:
                    receiver.kill()
                    receiver.wait()
                elif workers:
                    victims = [pid for pid, role in children(process.pid) if role == "worker"]
                    os.kill(random.choice(victims), signal.SIGKILL)
                else:
                    process.kill()
                    process.wait()
            if kill % 2:  # it waits, and goes on as soon as there is another
                with receiving(tmp_path, documented(), port):
                    wait_until(lambda: len(received(tmp_path)) > aim, process)  # noqa: B023 - the same
    with receiving(tmp_path, documented(), port):
        done = holdfast(tmp_path, "run", "app.py", *workers)

    assert done.returncode == 0, done.stderr
    assert received(tmp_path) == expected(tmp_path)


def test_without_resume_nothing_is_missing_and_numbers_tell_what_came_twice(port: int, tmp_path: Path) -> None:
    write(tmp_path, APP.replace("PORT", str(port)).replace(", OPTIONS", ""))
    standing = count_lines(tmp_path / "plain.txt")
    with receiving(tmp_path, PLAIN, port):
        for _ in range(3):
            with running(tmp_path, "run", "app.py", HOLDFAST_PACE="5:4000") as process:
                aim = standing() + RECORDS // 10
                wait_until(lambda: standing() > aim, process)  # noqa: B023 - it ends within this turn
                process.kill()
                process.wait()
        done = holdfast(tmp_path, "run", "app.py")
        assert done.returncode == 0, done.stderr
        time.sleep(0.2)

    by_number: dict[int, str] = {}
    for line in (tmp_path / "plain.txt").read_text().splitlines():
        number, _, text = line.partition("\t")
        assert by_number.setdefault(int(number), text) == text
    assert [by_number[number] for number in range(1, RECORDS + 1)] == expected(tmp_path)
    assert len(by_number) == RECORDS


def test_a_run_without_its_receiver_says_so_once_and_ends_when_told(port: int, tmp_path: Path) -> None:
    with running(tmp_path, "run", "app.py") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=SECONDS_MAX)

    assert f"TCP sink 127.0.0.1:{port} is away: waiting for it: Connection refused" in said
    assert process.returncode == 3
    assert last_line(rest) == (
        f"holdfast: error: TCP sink 127.0.0.1:{port} is away; what it lacks is sent at the next start"
    )
    assert "waiting for it" not in rest
    with receiving(tmp_path, documented(), port):
        assert holdfast(tmp_path, "run", "app.py").returncode == 0
    assert received(tmp_path) == expected(tmp_path)


def test_a_receiver_that_has_lost_what_it_had_is_refused_with_four(port: int, tmp_path: Path) -> None:
    with receiving(tmp_path, documented(), port):
        assert holdfast(tmp_path, "run", "app.py").returncode == 0
        (kept,) = [path for path in tmp_path.glob("*.txt") if re.fullmatch("[0-9a-f]{16}", path.stem)]
        kept.unlink()
        app = (tmp_path / "app.py").read_text()
        write(tmp_path, app.replace('"input.txt"', '"input.txt", follow=True'))
        write_lines(tmp_path, 1, start=RECORDS)
        done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 4, done.stderr
    assert f"has 0 outputs; it had {RECORDS} before" in last_line(done.stderr)

