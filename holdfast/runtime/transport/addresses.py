"""Addresses as users write them, and which of them need a secret.

Not here: secrets themselves (secret), and connecting (dialer, listener).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from holdfast.core.errors import UsageError

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process listens."""

    host: str  # a name, or an IPv4 or IPv6 address without brackets
    port: int  # 0: any free one

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name may be anybody's, but for the one that never is."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse(text: str) -> Address:
    """An address of HOST:PORT or [HOST]:PORT; UsageError if it is none."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(f"{text!r}: write an IPv6 address in brackets, as in [::1]:4000")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise UsageError(f"{text!r} is not an address: HOST:PORT is, as in 127.0.0.1:4000")
    return Address(host, int(port))


def refuse_open(address: Address, secrets: tuple[bytes, ...]) -> None:
    """UsageError where others than this machine's users could connect without knowing a secret."""
    if not address.is_loopback and not secrets:
        raise UsageError(
            f"{address} can be reached from other machines, and there is no secret to tell friend from foe. "
            "Put one into a file that only you can read (umask 077; openssl rand -hex 32 > cluster.secret), "
            "copy it to every machine, and name it with --secret-file or in HOLDFAST_SECRET_FILE; "
            "or stay on this machine with 127.0.0.1"
        )
