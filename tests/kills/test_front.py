"""Engines in front of real clusters: workers killed under clients that ask, and the service itself killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import holdfast as hf
from holdfast.core.errors import ProcessingError
from holdfast.runtime import cluster_session
from tests.kills import front
from tests.repository import ROOT

CLIENTS, ASKS = 4, 60
KILLS = 3
GONE_SECONDS = 2.0  # within which the processes of a killed service have ended
PATIENCE_SECONDS = 120.0
UNLUCKY = r"step 'pay' failed at source 'payments', partition '0', offset 1, key 'ann': ValueError: unlucky"


def is_there(pid: int) -> bool:
    """Whether the process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_every_ask_is_answered_once_while_workers_are_killed(tmp_path: Path) -> None:
    engine = hf.Engine(front.app, data=tmp_path / "data", workers=front.WORKERS, backups=front.BACKUPS)
    answers: dict[int, list[Any]] = {client: [] for client in range(CLIENTS)}
    told = threading.Semaphore(0)

    def client(number: int, entered: Any) -> None:
        for sequence in range(1, ASKS + 1):
            # Every other one without an id of its own: sent again by the engine it must count once as well.
            identity = (f"client-{number}", sequence) if sequence % 2 else None
            (reply,) = entered.ask("payments", (f"c{number}", 100 * sequence), id=identity)
            answers[number].append(reply)
            told.release()

    with engine as entered:
        clients = [threading.Thread(target=client, args=(number, entered)) for number in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for kill in range(KILLS):
            for _ in range(CLIENTS * ASKS // (KILLS + 2)):
                assert told.acquire(timeout=PATIENCE_SECONDS), "no answer comes any more"
            os.kill(front.pids_of(engine)[f"worker {1 + kill % front.WORKERS}"], signal.SIGKILL)
        for thread in clients:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        total = 50 * ASKS * (ASKS + 1)
        assert entered.query("pay", "c0") == front.Account(total, ASKS)
        assert entered.query("pay", "nobody") is None
        for number in range(CLIENTS):  # a retry is answered as the first time
            assert entered.ask("payments", (f"c{number}", 100), id=(f"client-{number}", 1)) == [(1, 100)]

    expected = [(count, 50 * count * (count + 1)) for count in range(1, ASKS + 1)]
    assert all(given == expected for given in answers.values())


class Service:
    """One life of the service."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.front", str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        self.workers: list[int] = self.hear()["workers"]

    def ask(self, request: list[Any]) -> None:
        assert self.process.stdin is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the service has ended"
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        deadline = time.monotonic() + GONE_SECONDS
        while any(map(is_there, self.workers)):
            assert time.monotonic() < deadline, "a worker outlives its service"
            time.sleep(0.01)


def test_a_service_that_is_killed_takes_its_cluster_along_and_goes_on_with_it(tmp_path: Path) -> None:
    requests: list[list[Any]] = [["till", number, f"c{number % 3}", 100 * number] for number in range(1, 61)]
    answers: dict[int, Any] = {}
    for _ in range(3):
        service = Service(tmp_path / "data")
        missing = [request for request in requests if request[1] not in answers]
        for request in missing:
            service.ask(request)
        for _ in range(max(1, len(missing) // 2)):
            _, sequence, reply = service.hear()
            answers[sequence] = reply
        service.kill()
    service = Service(tmp_path / "data")
    for request in requests:  # also what was answered: it counts no second time
        service.ask(request)
    again: dict[int, Any] = {}
    for _ in requests:
        _, sequence, reply = service.hear()
        again[sequence] = reply
    service.kill()

    assert {sequence: again[sequence] for sequence in answers} == answers
    for customer in ("c0", "c1", "c2"):
        own = [request for request in requests if request[2] == customer]
        counts = sorted(again[request[1]][0][0] for request in own)
        assert counts == list(range(1, len(own) + 1))
        assert max(again[request[1]][0][1] for request in own) == sum(request[3] for request in own)


def test_a_function_that_raises_stops_the_cluster_and_the_engine(tmp_path: Path) -> None:
    def live() -> None:
        with hf.Engine(front.strict, data=tmp_path / "data", workers=2) as engine:
            assert engine.ask("payments", ("ann", 1)) == [(1, 1)]
            with pytest.raises(hf.EngineStoppedError, match=f"stopped: {UNLUCKY}") as stopped:
                engine.ask("payments", ("ann", 13))
            assert isinstance(stopped.value.__cause__, ProcessingError)

    with pytest.raises(ProcessingError, match=f"^{UNLUCKY}"):
        live()


def test_a_cluster_that_can_not_begin_says_why_where_it_is_entered(tmp_path: Path) -> None:
    with pytest.raises(hf.UsageError, match="there is no module 'nowhere'"):
        hf.Engine(front.app, data=tmp_path / "data", workers=2, target="nowhere:app").open()


def test_an_entry_that_is_cancelled_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        entering = asyncio.ensure_future(hf.Engine(front.app, data=tmp_path / "data", workers=2).__aenter__())
        await asyncio.sleep(0)  # it has begun, and no cluster is formed that fast
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        async with hf.Engine(front.app, data=tmp_path / "data", workers=3, backups=1) as engine:
            return await engine.ask("payments", ("ann", 1))

    assert asyncio.run(main()) == [(1, 1)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster that a command runs; its coordinator's address."""
    with running("app", tmp_path_factory.mktemp("joined") / "data") as address:
        yield address


@contextmanager
def running(name: str, data: Path) -> Iterator[str]:
    app = f"tests.kills.front:{name}"
    command = [sys.executable, "-m", "holdfast", "run", app, "--workers", "2", "--data", str(data)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not (data / "coordinator.address").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield (data / "coordinator.address").read_text()
        finally:
            process.terminate()


def test_engines_join_a_cluster_that_runs_and_leave_it_running(cluster: str) -> None:
    async def ask_twice(customer: str) -> list[Any]:
        async with hf.Engine(front.app, coordinator=cluster) as engine:
            await engine.send("payments", (customer, 5))
            found = [await engine.ask("payments", (customer, 7), id=(customer, 1)) for _ in range(2)]
            assert await engine.query("pay", customer) == front.Account(12, 2)
            with pytest.raises(hf.UsageError, match="no stateful step 'pays'"):
                await engine.query("pays", customer)
            return found

    assert asyncio.run(ask_twice("asyncio")) == [[(2, 12)], [(2, 12)]]
    assert trio.run(ask_twice, "trio") == [[(2, 12)], [(2, 12)]]
    with hf.Engine(front.app, coordinator=cluster) as engine:
        assert engine.ask("payments", ("asyncio", 1)) == [(3, 13)]


def test_who_has_joined_a_cluster_is_told_what_stopped_it(tmp_path: Path) -> None:
    def live(coordinator: str) -> None:
        with hf.Engine(front.strict, coordinator=coordinator) as engine:
            assert engine.ask("payments", ("ann", 1)) == [(1, 1)]
            with pytest.raises(hf.EngineStoppedError, match=UNLUCKY):
                engine.ask("payments", ("ann", 13))

    with running("strict", tmp_path / "data") as address, pytest.raises(ProcessingError, match=f"^{UNLUCKY}"):
        live(address)


def test_a_cluster_that_does_not_come_back_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with running("app", tmp_path / "data") as address:
        with hf.Engine(front.app, coordinator=address, timeout=None) as patient:  # forming takes as long as it takes
            assert patient.ask("payments", ("ann", 1), id=("till", 1)) == [(1, 1)]
        engine = hf.Engine(front.app, coordinator=address, timeout=1)
        calls = engine.open()

    for call in (lambda: calls.ask("payments", ("ann", 1), id=("till", 2)), lambda: calls.query("pay", "ann")):
        with pytest.raises(hf.UnreachableError, match=f"the cluster at {address} has answered nobody for 1 s"):
            call()
    engine.close()


def test_a_cluster_of_another_application_is_refused(cluster: str) -> None:
    with pytest.raises(hf.UsageError, match="runs the application 'front', not 'strict'"):
        hf.Engine(front.strict, coordinator=cluster).open()


def test_a_cluster_that_nobody_runs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_session, "JOIN_SECONDS", 0.1)

    with pytest.raises(hf.UsageError, match="can't be asked"):
        hf.Engine(front.app, coordinator="127.0.0.1:1").open()
