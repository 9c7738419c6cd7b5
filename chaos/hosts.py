"""Hosts on one machine: network namespaces with addresses of their own, joined by a bridge, that can be cut off.

Needs root and `ip` of iproute2; `why_not` says why a machine can't. Names carry the process id, addresses lie inside
the namespaces alone, and nothing of it outlives the block: the kernel says which processes are in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import IO

NETWORK = "10.77.0"


def why_not() -> str | None:
    """Why this machine can't make hosts; None if it can."""
    if shutil.which("ip") is None:
        return "there is no ip (iproute2)"
    name = f"hf{os.getpid()}try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"network namespaces can't be made: {made.stderr.strip()}"
    _ip("netns", "delete", name)
    return None


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace. Its only way to the others is `cable`, whose other end lies in the hub."""

    name: str
    address: str
    hub: str
    cable: str

    def start(self, command: Sequence[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program on this host."""
        inside = ["ip", "netns", "exec", self.name, *command]  # ip becomes the program: the process id is its own
        return subprocess.Popen(inside, env=os.environ | environment, stdout=log, stderr=log)

    def cut_off(self) -> None:
        """Nothing reaches or leaves this host; connections are not told."""
        _ip("-n", self.hub, "link", "set", self.cable, "down")

    def join(self) -> None:
        """Undo `cut_off`."""
        _ip("-n", self.hub, "link", "set", self.cable, "up")

    def lose(self, other: Host) -> None:
        """What this host says to the other vanishes, so neither hears an answer; all others are reached as before."""
        _ip("-n", self.name, "route", "add", "blackhole", f"{other.address}/32")

    def find(self, other: Host) -> None:
        """Undo `lose`."""
        _ip("-n", self.name, "route", "delete", "blackhole", f"{other.address}/32")

    def power_off(self) -> None:
        """End every process on this host at once."""
        for process in _ip("netns", "pids", self.name).split():
            try:
                os.kill(int(process), SIGKILL)
            except ProcessLookupError:
                continue


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts, all joined; gone with everything on them at the end."""
    prefix = f"hf{os.getpid()}"
    hub = f"{prefix}hub"
    made = [Host(f"{prefix}n{n}", f"{NETWORK}.{n}", hub, f"cable{n}") for n in range(1, count + 1)]
    try:
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge0", "up")
        for host in made:
            _ip("netns", "add", host.name)
            _ip("-n", hub, "link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("-n", hub, "link", "set", host.cable, "master", "bridge0", "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.name, "link", "set", "eth0", "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield made
    finally:
        names = set(_ip("netns", "list").split())
        for host in made:
            if host.name in names:
                host.power_off()
                _ip("netns", "delete", host.name)
        if hub in names:
            _ip("netns", "delete", hub)


def secret_file(folder: Path) -> Path:
    """A secret for a cluster on these hosts."""
    path = folder / "secret"
    path.write_text(os.urandom(32).hex())
    path.chmod(0o600)
    return path


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
