"""The processes of a cluster on this machine, found from outside: who belongs to a supervisor, and what state he is in.

Everything is read from the process table, so that what is killed or stopped here was not asked whether it likes to be.
Invariant: a process id is only ever taken from a scan that found it to be a child of the given supervisor.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
COORDINATOR, WORKER = "coordinator", "worker"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process of a cluster."""

    role: str
    number: int  # of a worker, from 1; 0 for the coordinator
    pid: int

    def __str__(self) -> str:
        return f"worker {self.number}" if self.number else self.role


@dataclass(frozen=True, slots=True)
class Standing:
    """What the process table says of one process."""

    parent: int
    state: str  # one letter: R, S, D, T for stopped, Z for dead and not yet buried
    cpu_seconds: float


def processes(supervisor: int) -> list[Process]:
    """The coordinator first, then the workers by number, of a running supervisor."""
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        standing = look(int(entry.name))
        if standing is not None and standing.parent == supervisor and standing.state != "Z":
            process = _identify(entry)
            if process is not None:
                found.append(process)
    return sorted(found)


def look(pid: int) -> Standing | None:
    """What is known of a process; None where there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Standing(int(fields[1]), fields[0], (int(fields[11]) + int(fields[12])) / TICKS)


def working_in(folder: Path) -> list[int]:
    """Processes of clusters whose data lies in a folder, whoever started them."""
    found, marks = [], os.fsencode(folder)
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        arguments = _arguments(entry)
        standing = look(int(entry.name))
        is_ours = b"--leashed" in arguments and any(argument.startswith(marks) for argument in arguments)
        if is_ours and standing is not None and standing.state != "Z":
            found.append(int(entry.name))
    return found


def _identify(entry: Path) -> Process | None:
    arguments = _arguments(entry)
    if b"--leashed" not in arguments or b"--data" not in arguments:
        return None
    if COORDINATOR.encode() in arguments:
        return Process(COORDINATOR, 0, int(entry.name))
    folder = os.fsdecode(arguments[arguments.index(b"--data") + 1])
    _, _, number = Path(folder).name.rpartition("-")
    return Process(WORKER, int(number), int(entry.name)) if number.isdigit() else None


def _arguments(entry: Path) -> list[bytes]:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
