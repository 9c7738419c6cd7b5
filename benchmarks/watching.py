"""Programs watched from outside: how their output file grows, and when."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Child, FailedError, run_command
from benchmarks.sizes import Record

MIB = 1 << 20
POLL_SECONDS = 0.0001  # how often the outside reader of the latency job looks; part of what it measures
START_SECONDS_MAX = 120.0  # a program that has shown nothing by then never will


def delays(folder: Path, seconds: int, what: str, *, workers: int = 1, backups: int = 0) -> Record:
    """How long messages of a steady source take, from its yield to the line in the output file."""
    output = folder / "ticks.jsonl"
    environment = {"OUTPUT": str(output), "RATE": "1000", "SECONDS": str(seconds)}
    with running("ticks", folder, environment, workers=workers, backups=backups) as child:
        seen = list(lines_with_times(output, 1000 * seconds, child))
    # The first tenth warms up files, caches and the interpreter.
    took = sorted((at - int(line)) / 1e6 for line, at in seen[len(seen) // 10 :])
    return {
        "what": what,
        "p50_ms": took[len(took) // 2],
        "p99_ms": took[len(took) * 99 // 100],
        "p999_ms": took[len(took) * 999 // 1000],
        "max_ms": took[-1],
        "messages": len(took),
    }


@contextmanager
def running(
    application: str, folder: Path, environment: dict[str, str], *, workers: int = 1, backups: int = 0
) -> Iterator[Child]:
    """An application that is killed at the end: what it would do when stopped is not what is measured."""
    command = run_command(application, folder / f"{application}-data", workers=workers, backups=backups)
    child = Child.start(command, folder, environment)
    try:
        yield child
    finally:
        child.process.kill()
        child.wait(expected=(0, -signal.SIGKILL))


def lines_with_times(path: Path, count: int, child: Child) -> Iterator[tuple[bytes, int]]:
    """The first `count` lines of a growing file, each with the moment at which this process saw it."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not path.exists():
        _check_alive(child, deadline)
    rest, given = b"", 0
    with path.open("rb", buffering=0) as file:
        for looks in itertools.count():
            block = file.read(MIB)
            now = time.perf_counter_ns()
            if not block:
                # A look costs a system call; whether the child still lives is asked less often.
                if looks % 100 == 0:
                    _check_alive(child, deadline)
                time.sleep(POLL_SECONDS)
                continue
            deadline = time.monotonic() + START_SECONDS_MAX
            *lines, rest = (rest + block).split(b"\n")
            for line in lines[: count - given]:
                yield line, now
            given += len(lines)
            if given >= count:
                return


def _check_alive(child: Child, deadline: float) -> None:
    child.sample()
    ended = os.waitid(os.P_PID, child.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    if ended or time.monotonic() > deadline:
        text = child.errors.read_text(encoding="utf-8", errors="replace")
        raise FailedError(f"{child.process.args!r} gave no more output:\n{text}")


def last(lines: Iterator[tuple[bytes, int]]) -> None:
    for _ in lines:
        pass


class Growth:
    """A growing file, looked at again and again: how long it was when."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.looks: list[tuple[float, int]] = []  # (moment, bytes), only where it had grown

    @property
    def size(self) -> int:
        return self.looks[-1][1] if self.looks else 0

    def look(self) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size > self.size:
            self.looks.append((time.perf_counter(), size))

    def between(self, begin: float, end: float) -> float:
        """Seconds between these parts of what it has become."""
        return self._when(end * self.size) - self._when(begin * self.size)

    def _when(self, size: float) -> float:
        """When it was so long, on the line between two looks."""
        before, length = self.looks[0]
        for moment, longer in self.looks:
            if longer >= size:
                share = (size - length) / (longer - length) if longer > length else 0.0
                return before + share * (moment - before)
            before, length = moment, longer
        return before
