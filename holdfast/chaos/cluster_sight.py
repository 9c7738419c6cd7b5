"""What can be seen of a running cluster from outside: outputs that grow, and what its coordinator has decided and says.

A thread of its own asks the coordinator, who may be dead or stopped; outputs are looked at by whoever waits for them.
Invariant: nothing here changes what the cluster does. All moments are Unix seconds, as the coordinator's are.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio

from holdfast.core.errors import HoldfastError
from holdfast.runtime.coordinator_process import LAST_STATUS
from holdfast.runtime.supervisor import ADDRESS
from holdfast.runtime.transport.addresses import parse
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.question import ask
from holdfast.runtime.worker_process import STATUS

ASK_SECONDS = 0.1  # between two questions to the coordinator
LOOK_SECONDS = 0.005  # between two looks at the outputs: how exact a pause is
PATIENCE = Limits(handshake_seconds=0.5, connect_seconds=0.5, silence_seconds=0.5)
STARTED, DRAWN, FORMED = "started", "number ", "generation "  # how the coordinator's entries begin


class Sight:
    """Looks at one data directory and the folder where its outputs go."""

    def __init__(self, data: Path, outputs: Path, beside: Callable[[], None] = lambda: None) -> None:
        """`beside` is called now and then by the thread that asks the coordinator."""
        self.growths: list[float] = []  # when outputs were seen to have grown
        self.bytes = 0  # of all outputs
        self.journal: list[tuple[float, str]] = []  # what the coordinators said, in the order in which it was heard
        self.status: dict[str, Any] | None = None  # the latest answer, None while none comes
        self._data = data
        self._outputs = outputs
        self._beside = beside
        self._sealed = 0
        self._known: set[tuple[float, str]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="chaos-sight", daemon=True)

    def __enter__(self) -> Sight:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    # --- outputs

    def look(self) -> bool:
        """Whether the run has moved since the last look: its outputs, or where nothing is written, its seal."""
        size, sealed = self._size(), self._sealed_now()
        grown = size > self.bytes
        if grown:
            self.growths.append(time.time())
        moved = grown or sealed > self._sealed
        self.bytes, self._sealed = max(size, self.bytes), max(sealed, self._sealed)
        return moved

    def wait(self, until: Callable[[], bool], patience: float) -> bool:
        """Look until something is so; False when patience ends: nothing has moved for so long."""
        still = time.monotonic() + patience
        while not until():
            if self.look():
                still = time.monotonic() + patience
            elif time.monotonic() > still:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def pass_time(self, seconds: float) -> None:
        """Look for some time."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end, seconds)

    def grew_after(self, moment: float) -> float | None:
        """When outputs were first seen to grow after a moment."""
        place = bisect_left(self.growths, moment)
        return self.growths[place] if place < len(self.growths) else None

    def longest_gap(self, start: float, end: float) -> float:
        """The longest time between two looks at growing outputs, of those gaps that reach into [start, end]."""
        first = max(0, bisect_left(self.growths, start) - 1)
        seen = [moment for moment in self.growths[first:] if moment <= end]
        return max((after - before for before, after in pairwise(seen)), default=0.0)

    def _size(self) -> int:
        try:
            return sum(path.stat().st_size for path in self._outputs.rglob("*") if path.is_file())
        except OSError:
            return self.bytes

    def _sealed_now(self) -> int:
        workers = (self.status or {}).get("workers", {}).values()
        return max((worker.get("sealed", 0) for worker in workers), default=0)

    # --- the coordinator

    @property
    def has_ended(self) -> bool:
        """Whether the cluster has come to its end, although its supervisor may stand still and not have seen it."""
        return (self._data / LAST_STATUS).exists()

    def detected_after(self, moment: float) -> float | None:
        """When the coordinator first drew a number for a new generation after a moment."""
        return self._first(DRAWN, moment)

    def formed_after(self, moment: float) -> tuple[float, str] | None:
        """The last generation that was decided after a moment: when, and how it was said."""
        found = [entry for entry in self.journal if entry[0] >= moment and entry[1].startswith(FORMED)]
        return found[-1] if found else None

    def heard_after(self, moment: float) -> float | None:
        """When a coordinator started that has answered since, if it started after a moment."""
        return self._first(STARTED, moment)

    @property
    def members(self) -> int:
        """How many workers take part."""
        workers = (self.status or {}).get("workers", {}).values()
        return sum(1 for worker in workers if worker.get("alive") and worker.get("member"))

    def is_whole(self, workers: int) -> bool:
        """Whether all workers take part, hold what they are to hold, and have it in a checkpoint."""
        status = self.status
        if status is None or status["generation"] is None or status["checkpoint"] is None:
            return False
        generation = status["generation"]
        return (
            self.members == workers
            and not generation["moving"]
            and not any(worker.get("lacking") for worker in status["workers"].values())
            and status["checkpoint"]["number"] >> 20 >= generation["number"]
        )

    def _first(self, beginning: str, moment: float) -> float | None:
        return next((at for at, text in self.journal if at >= moment and text.startswith(beginning)), None)

    def _ask_on(self) -> None:
        while not self._over.wait(ASK_SECONDS):
            self._beside()
            try:
                self._hear(json.loads(self._ask()))
            except (HoldfastError, OSError, ValueError):
                self.status = None

    def _ask(self) -> bytes:
        address = parse((self._data / ADDRESS).read_text())
        return trio.run(ask, address, (), STATUS, PATIENCE)

    def _hear(self, status: dict[str, Any]) -> None:
        for at, text in status["events"]:
            entry = (at / 1000, text)
            if entry not in self._known:
                self._known.add(entry)
                self.journal.append(entry)
        self.status = status
