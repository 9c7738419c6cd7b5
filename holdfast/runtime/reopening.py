"""Opening a sink as of a cut: whether all that was written up to it still stands.

What a process writes stands, for all processes, as long as the machine runs: it is in memory until it is on the disk. A
power loss takes the rest; the file may have kept its length, or get it again when somebody writes behind the hole. So
what was written and not synced, up to a cut that is in memory, is certain only within one boot of the machine.
Invariants: what a checkpoint's token names was synced, and must be there; where it can't be told whether something was
lost, it was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.connectors.interface import OpenSink, Writer
from holdfast.core.errors import OutputShortError
from holdfast.runtime.clock import now
from holdfast.worker import effects
from holdfast.worker.cluster_events import OutputLost

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The id of this boot; empty where the system has none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class MarkedWriter:
    """Writes files; its tokens name the boot in which they were taken."""

    def __init__(self, writer: Writer, boot: str) -> None:
        self._writer = writer
        self._boot = boot
        self.write = writer.write
        self.sync = writer.sync
        self.finish = writer.finish
        self.close = writer.close

    def token(self) -> object:
        return self._writer.token(), self._boot


def reopen(sink: OpenSink, order: effects.OpenSink, boot: str) -> Writer | None:
    """The sink's writer; None where it does not certainly have all that was written up to a cut in memory."""
    token, has_files = order.token, bool(sink.paths())
    if has_files and isinstance(token, tuple):
        token, taken_in = token
        if not order.synced and (taken_in != boot or not boot):
            return None
    try:
        writer = sink.open(token, order.number, owned=True)
    except OutputShortError:
        if order.synced:
            raise  # it was synced for a checkpoint, and nobody can make it again
        return None
    # A sink without files makes durable what it gives a token of.
    return MarkedWriter(writer, boot) if has_files else writer


class LostDelivery:
    """In place of a sink that can't be gone on with: it tells so, and drops what is ordered until it is closed."""

    idle = True

    def __init__(self, sink: int, post: Callable[[Any], None]) -> None:
        post(OutputLost(now(), sink))

    def deliver(self, order: effects.Deliver) -> None:
        """None: no answer will come."""

    def take_token(self, order: effects.TakeToken) -> None:
        """None: no answer will come."""

    def sync(self) -> None:
        """Nothing was written."""

    def hurry(self) -> None:
        """Nobody is waited for."""

    def finish(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Nothing is open."""
