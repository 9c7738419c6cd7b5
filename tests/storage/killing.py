"""A process that ends in the middle of a call, without a process: the call raises, and the world begins its next life.

On a memory disk a call can end before its sync, on LMDB before or behind its commit; `storage.environment` tells when.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from holdfast.storage.memory_disk import MemoryDisk


class KilledError(Exception):
    """The process is gone."""


class Killer:
    """Ends an LMDB world's process at a point of its next commit."""

    def __init__(self) -> None:
        self._at: str | None = None

    def reached(self, point: str) -> None:
        """Handed to what opens environments."""
        if self._at is not None and point.endswith(self._at):
            self._at = None
            raise KilledError

    def kill(self, call: Callable[[], object], random: Random) -> None:
        """Begin a call that does not return, if it commits anything."""
        self._at = random.choice(["before commit", "after commit"])
        with suppress(KilledError):
            call()
        self._at = None


def kill_twin(twin: Any, disk: MemoryDisk, call: Callable[[], object], random: Random) -> None:
    """Begin a call of a memory twin that does not return; then the process is gone, or the power."""

    def gone() -> None:
        raise KilledError

    twin.finish_sync = gone
    with suppress(KilledError):
        call()
    if random.random() < 0.5:
        disk.crash(random)
    else:
        disk.power_loss(random)
