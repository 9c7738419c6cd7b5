"""What a worker tells the coordinator for people: numbers, about once a second, the newest counts. Decides nothing.

Invariant: unpack(pack(observation)) == observation; other bytes are a `FrameError`.
Not here: who looks at them (observations, cli).
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.core.errors import FrameError
from holdfast.runtime.latencies import BUCKETS, Latencies
from holdfast.worker.statistics import MemberStatistics, statistics_of_member

if TYPE_CHECKING:  # one worker tells of its process too, and has no use for the machine of a member
    from holdfast.worker.member import Member

BYTES_MAX: Final = 1 << 20
SILENT_MAX: Final = 10  # times that nothing new is left unsaid
PAGE_BYTES: Final = resource.getpagesize()


class Process(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operating system says of the worker's process."""

    pid: int
    cpu_seconds: float
    memory_bytes: int
    descriptors: int


class Observation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One worker at one moment."""

    name: str  # of its data directory
    host: str
    process: Process
    statistics: MemberStatistics | None  # None: it has not worked in any generation yet
    latency_counts: tuple[int, ...]
    latency_seconds: float
    disk_bytes: dict[str, int]  # by environment
    links: dict[str, int]  # node -> bytes that wait to be sent to it
    slow: tuple[str, ...]  # nodes that don't take what waits for them

    def pack(self) -> bytes:
        """As it is sent."""
        return _ENCODER.encode(self)

    @staticmethod
    def unpack(packed: bytes) -> Observation:
        """What `pack` packed; FrameError for anything else."""
        if len(packed) > BYTES_MAX:
            raise FrameError(f"an observation of {len(packed)} bytes")
        try:
            found = _DECODER.decode(packed)
        except (ValueError, RecursionError) as error:  # of msgspec's, or text that is none
            raise FrameError(f"a malformed observation: {error}") from error
        if len(found.latency_counts) != len(BUCKETS) + 1:
            raise FrameError(f"an observation with {len(found.latency_counts)} buckets of latencies")
        return found


class Observer:
    """Looks at one worker."""

    def __init__(
        self, member: Member, latencies: Latencies, data: Path, links: Callable[[], tuple[dict[str, int], list[str]]]
    ) -> None:
        """`links` gives what waits to be sent, by node, and the nodes that are slow."""
        self._member = member
        self._latencies = latencies
        self._data = data
        self._host = socket.gethostname()
        self._links = links
        self._told: object = None
        self._silent = 0
        self._statistics: MemberStatistics | None = None

    def news(self) -> bytes | None:
        """What is to be told, packed; None while nothing has changed, but for a sign of life now and then.

        Any thread may call it. While nothing happens it looks at little: an idle worker is to cost nothing.
        """
        running = self._member.running or self._member.ended
        if running is not None:
            self._statistics = statistics_of_member(running)
        telling = (self._statistics, *self._links())
        if telling == self._told and self._silent < SILENT_MAX:
            self._silent += 1
            return None
        self._told, self._silent = telling, 0
        _, waiting, slow = telling
        return Observation(
            name=self._data.name,
            host=self._host,
            process=this_process(),
            statistics=self._statistics,
            latency_counts=tuple(self._latencies.counts),
            latency_seconds=self._latencies.seconds,
            disk_bytes=disk_bytes(self._data),
            links=waiting,
            slow=tuple(slow),
        ).pack()


def this_process() -> Process:
    """What the operating system says of this process now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    return Process(
        pid=os.getpid(),
        cpu_seconds=used.ru_utime + used.ru_stime,
        memory_bytes=resident,
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # the one that looks
    )


def disk_bytes(data: Path) -> dict[str, int]:
    """What the environments of a data directory take on the disk."""
    found = {}
    for path in data.glob("*/data.mdb"):
        found[path.parent.name] = path.stat().st_blocks * 512
    return found


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Observation)
