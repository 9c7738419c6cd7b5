"""What the environment may ask of a run that is a rehearsal: to end itself at a named point, to be watched, to be slow.

For `holdfast verify`, `holdfast chaos` and the tests; docs/chaos.md says what each variable means. None of it changes
what a run computes. Without these variables a run has a probe that does nothing.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import signal
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.epochs import Epoch
from holdfast.core.errors import UsageError
from holdfast.runtime.points import ALL_POINTS, APPENDING, INTAKE, KILL_POINTS, WRITING, Probe
from holdfast.runtime.transport.limits import Limits
from holdfast.storage.environment import Transaction
from holdfast.storage.lmdb_log import LmdbLog
from holdfast.worker.machine import Worker
from holdfast.worker.settings import Settings

KILL = "HOLDFAST_KILL"  # point:count, end at the count-th passage of a point since new input is read; or …
REPLAY = "replay"  # … point:count:replay, end at the count-th passage of all
WATCH = "HOLDFAST_WATCH"  # file that always says where the run is
PACE = "HOLDFAST_PACE"  # milliseconds:bytes, hold each read of a file back for so long and make epochs so small
SILENCE = "HOLDFAST_SILENCE"  # seconds, the heartbeat limit in place of the usual one
HURRY = "HOLDFAST_HURRY"  # file, whose being there ends the holding back

# What a watched run keeps in its file: number of the point passed last; counted from the start of the input: records
# applied, outputs delivered, last epoch applied; and the bytes that this process has logged.
PAGE = struct.Struct("<BxxxxxxxQQQQ")
PACED_CHECKPOINT_MS = 60
PACED_ROWS_PER_SLICE = 2
BEATS_PER_SILENCE = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a watched run was when it was looked at."""

    point: str
    records: int
    outputs: int
    epoch: int
    logged_bytes: int


class Watch(Probe):
    """Notes every point in a page of a file, which outlives the process; without a file in memory, for nobody."""

    def __init__(self, path: Path | None) -> None:
        self._logged_bytes = 0
        if path is None:
            self._page = mmap.mmap(-1, PAGE.size)
            return
        path.touch()
        os.truncate(path, PAGE.size)
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE.size)

    def opened(self, log: LmdbLog) -> None:
        watch_commits(log, self)

    def logged(self, epochs: Sequence[Epoch]) -> None:
        """Note what was appended."""
        self._logged_bytes += sum(epoch.size for epoch in epochs)

    def passed(self, point: str) -> None:
        self._page[0] = ALL_POINTS.index(point)

    def handled(self, worker: Worker) -> None:
        records = sum(position[0] for position in worker.apply.positions.values())
        outputs = sum(sink.delivered for sink in worker.delivery.sinks)
        PAGE.pack_into(self._page, 0, self._page[0], records, outputs, worker.apply.applied, self._logged_bytes)


def watch_commits(log: LmdbLog, probe: Watch) -> None:
    """Let the probe pass APPENDING inside each transaction that appends: all is put, nothing is committed.

    No other run has this hook, so that the log knows nothing of it.
    """
    append, environment = log.append, log._environment
    write = environment.write

    def write_and_pass(action: Callable[[Transaction], Any]) -> Any:
        def put_and_pass(transaction: Transaction) -> Any:
            result = action(transaction)
            probe.passed(APPENDING)
            return result

        return write(put_and_pass)

    def watched_append(epochs: Sequence[Epoch]) -> None:
        environment.write = write_and_pass  # type: ignore[method-assign]
        append(epochs)
        probe.logged(epochs)
        environment.write = write  # type: ignore[method-assign]

    log.append = watched_append  # type: ignore[method-assign]


def look(path: Path) -> Place:
    """Return where the run that keeps this page is, or was when it ended."""
    point, *counted = PAGE.unpack(path.read_bytes())
    return Place(ALL_POINTS[point], *counted)


class Fuse(Watch):
    """Ends the process at the count-th passage of a point, as SIGKILL from outside would."""

    def __init__(self, path: Path | None, point: str, count: int, *, armed: bool) -> None:
        """`armed` counts from the beginning, else counting begins when new input is read."""
        super().__init__(path)
        self._armed = armed
        self._point = point
        self._left = count
        self._lock = threading.Lock()

    def passed(self, point: str) -> None:
        super().passed(point)
        self._armed |= point == INTAKE
        if self._armed and point == self._point:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    def halves_write(self) -> bool:
        return self._armed and self._point == WRITING and self._left == 1


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was asked for."""

    probe: Probe
    epoch_bytes: int | None

    def settings(self, settings: Settings) -> Settings:
        """Return the settings to run with."""
        if self.epoch_bytes is None:
            return settings
        return dataclasses.replace(
            settings,
            checkpoint_ms=PACED_CHECKPOINT_MS,
            epoch_bytes_min=self.epoch_bytes,
            epoch_bytes_max=self.epoch_bytes,
            rows_per_slice=PACED_ROWS_PER_SLICE,
        )


def limits() -> Limits:
    """What bounds the connections of a process, with the heartbeat limit that the environment asks for."""
    given, usual = os.environ.get(SILENCE), Limits()
    if not given:
        return usual
    seconds = float(given)
    return dataclasses.replace(
        usual,
        silence_seconds=seconds,
        beat_seconds=min(usual.beat_seconds, seconds / BEATS_PER_SILENCE),
        connect_seconds=min(usual.connect_seconds, seconds),
        handshake_seconds=min(usual.handshake_seconds, seconds),
    )


def rehearsal() -> Rehearsal:
    """Read the environment."""
    watch, kill, pace = (os.environ.get(name) for name in (WATCH, KILL, PACE))
    probe = Watch(Path(watch)) if watch else Probe()
    if kill:
        point, count, when = (*kill.split(":"), "", "")[:3]
        if point not in KILL_POINTS or not count.isdigit() or count == "0" or when not in ("", REPLAY):
            points = ", ".join(KILL_POINTS)
            raise UsageError(f"{KILL}={kill}: expected POINT:COUNT or POINT:COUNT:{REPLAY}, with POINT one of {points}")
        probe = Fuse(Path(watch) if watch else None, point, int(count), armed=when == REPLAY)
    if not pace:
        return Rehearsal(probe, None)
    milliseconds, _, epoch_bytes = pace.partition(":")
    probe.pace_seconds = float(milliseconds) / 1000
    probe.hurry = os.environ.get(HURRY, "")
    return Rehearsal(probe, int(epoch_bytes) if epoch_bytes else None)
