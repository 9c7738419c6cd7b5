"""Ports for servers under test."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from random import Random

# Below those that the kernel gives to outgoing connections: one of them could be given a port while nobody listens on
# it, as between the death of a worker and its next life.
PORTS = range(10_000, 30_000)
_random = Random(os.getpid())


def free_port() -> int:
    """A port of the loopback address on which nobody listens now."""
    for port in _random.sample(PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
