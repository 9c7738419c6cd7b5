"""Several hosts: workers in network namespaces of their own, links and hosts cut off, output as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.hosts import Host, hosts, secret_file, why_not

LINES = 4_000
FILES = 3
PORT = 4000
SECONDS_MAX = 90.0
APPLICATION = '''
import time

import holdfast as hf


def count(word: str, state: list[int]) -> tuple[str, int]:
    time.sleep(0.004)  # so that it is still at work when links are cut
    state[0] += 1
    return word, state[0]


app = hf.Application("hosts")
words = app.source(hf.sources.TextFile("lines-*.txt")).flat_map(str.split)
words.key_by(str).stateful(count, state=lambda: [0], name="count").sink(hf.sinks.JsonLines("out.jsonl"))
'''

_reason = why_not()
pytestmark = pytest.mark.skipif(_reason is not None, reason=str(_reason))


class Cluster:
    """A coordinator on the first host and a worker on each of the others, started again when it ends."""

    def __init__(self, folder: Path, made: list[Host]) -> None:
        self.folder = folder
        self.coordinator_host, *self.hosts = made
        self.environment = {
            "HOLDFAST_SECRET_FILE": str(secret_file(folder)),
            "HOLDFAST_SILENCE": "1",
            "HOLDFAST_PACE": "20:2048",  # small epochs: outputs come all the time
            "PYTHONHASHSEED": "0",
        }
        self.log = (folder / "log").open("wb")
        self.coordinator = self._start(
            self.coordinator_host,
            *("coordinator", "app.py", "--listen", f"{self.coordinator_host.address}:{PORT}"),
            *("--workers", str(len(self.hosts)), "--backups", "1", "--data", "coordinator"),
        )
        self.workers = {host.name: self.start_worker(host) for host in self.hosts}

    def start_worker(self, host: Host) -> subprocess.Popen[bytes]:
        return self._start(
            host,
            *("worker", "app.py", "--join", f"{self.coordinator_host.address}:{PORT}"),
            *("--listen", f"{host.address}:0", "--data", f"data-{host.name[-1]}"),
        )

    def _start(self, host: Host, *arguments: str) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "holdfast", arguments[0], *arguments[1:]]
        command = ["env", "-C", str(self.folder), *program]
        return host.start(command, self.environment, self.log)

    def close(self) -> None:
        for process in (*self.workers.values(), self.coordinator):
            process.kill()
            process.wait()
        self.log.close()

    @property
    def written(self) -> int:
        output = self.folder / "out.jsonl"
        return output.stat().st_size if output.exists() else 0

    def goes_on(self, what: str) -> None:
        """Wait until more outputs have come than are there now."""
        before = self.written
        self.wait_for(lambda: self.written > before, f"outputs after {what}")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + SECONDS_MAX
        while not condition():
            assert time.monotonic() < limit, (what, (self.folder / "log").read_text()[-3000:])
            assert self.coordinator.poll() is None or condition(), (what, (self.folder / "log").read_text()[-3000:])
            time.sleep(0.02)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    with hosts(4) as made:
        own = Cluster(folder, made)
        try:
            yield own
        finally:
            own.close()


def lines(number: int) -> list[str]:
    return [f"w{(n * 7 + number) % 41}" for n in range(LINES)]


def expected() -> bytes:
    """By hand: rounds of 64 records of each file in turn."""
    counts: dict[str, int] = {}
    outputs: list[bytes] = []
    for start in range(0, LINES, 64):
        for number in range(FILES):
            for word in lines(number)[start : start + 64]:
                counts[word] = counts.get(word, 0) + 1
                outputs.append(b'["%s",%d]\n' % (word.encode(), counts[word]))
    return b"".join(outputs)


def test_hosts_that_are_cut_off_and_lose_their_power_change_no_output(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    for number in range(FILES):
        (tmp_path / f"lines-{number}.txt").write_text("".join(f"{line}\n" for line in lines(number)))
    with cluster(tmp_path) as own:
        first, second, third = own.hosts
        own.goes_on("the start")
        second.cut_off()
        own.goes_on("a host was cut off")
        second.join()
        first.lose(third)
        own.goes_on("two hosts lost each other")
        first.find(third)
        third.power_off()
        own.workers[third.name].wait()
        own.goes_on("a host lost its power")
        own.workers[third.name] = own.start_worker(third)
        assert own.written < len(expected()), "all was written before the last fault"
        own.wait_for(lambda: own.coordinator.poll() is not None, "the end")

    assert own.coordinator.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert (tmp_path / "out.jsonl").read_bytes() == expected()
