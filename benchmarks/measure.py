"""One child process, from outside: CPU by the kernel's accounts, memory as anonymous pages, wall time.

RssAnon and not the resident size, which would count the pages of the database's map in the page cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02
ROOT = Path(__file__).parent.parent
APPLICATIONS = Path(__file__).parent / "applications"
PLAIN = Path(__file__).parent / "plain"


class FailedError(Exception):
    """A measured program ended with an error, or gave another output than it should."""


@dataclass(frozen=True, slots=True)
class Usage:
    wall_seconds: float
    cpu_seconds: float
    anonymous_bytes_max: int


@dataclass(slots=True)
class Child:
    """A running program and what has been seen of it."""

    process: subprocess.Popen[bytes]
    errors: Path
    started: float
    anonymous_bytes_max: int = 0

    @classmethod
    def start(cls, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Child:
        errors = folder / "stderr"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        return cls(process, errors, time.monotonic())

    def sample(self) -> None:
        self.anonymous_bytes_max = max(self.anonymous_bytes_max, anonymous_bytes(self.process.pid))

    def wait(
        self,
        *,
        look: Callable[[], None] = lambda: None,
        every: float = SAMPLE_SECONDS,
        expected: tuple[int, ...] = (0,),
    ) -> Usage:
        """Sample the program until it ends, and look at what it does."""
        while True:
            process, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if process:
                break
            self.sample()
            look()
            time.sleep(every)
        # Popen must not wait for a process that is gone.
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode not in expected:
            text = self.errors.read_text(encoding="utf-8", errors="replace")
            raise FailedError(f"{self.process.args!r} ended with {self.process.returncode}:\n{text}")
        wall = time.monotonic() - self.started
        return Usage(wall, usage.ru_utime + usage.ru_stime, self.anonymous_bytes_max)

    def cpu_seconds(self) -> float:
        """What the program and all that it has started have used so far; it must be running."""
        return sum(map(_cpu_seconds, [self.process.pid, *descendants(self.process.pid)]))


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        if fields := _stat(int(path.parent.name)):
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, waiting = [], [process]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _cpu_seconds(process: int) -> float:
    """Of a process and of its children that have ended."""
    return sum(map(int, _stat(process)[11:15])) / os.sysconf("SC_CLK_TCK")


def _stat(process: int) -> list[str]:
    """From the state on; nothing of a process that has just ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def anonymous_bytes(process: int) -> int:
    """RssAnon of a process; 0 when it has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = (line.split() for line in status.splitlines() if line.startswith("RssAnon:"))
    return next((int(kibibytes) * 1024 for _, kibibytes, _ in found), 0)


def run_command(application: str, data: Path, *, workers: int = 1, backups: int = 0) -> list[str | Path]:
    place = f"{APPLICATIONS / application}.py:app"
    several = ["--workers", str(workers), "--backups", str(backups)] if workers > 1 else []
    return [sys.executable, "-m", "holdfast", "run", place, "--data", data, *several]


def plain_command(program: str, source: Path, target: Path) -> list[str | Path]:
    return [sys.executable, PLAIN / f"{program}.py", source, target]
