"""The log's own thread: commits what has arrived while the last commit ran as one transaction, and trims in between.

Invariant: only one thread changes the log at a time. The engine thread may append itself while `idle` holds, because it
alone hands out work. An append never waits for more than one small step of trimming.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from holdfast.core.epochs import Epoch
from holdfast.runtime.clock import now
from holdfast.runtime.points import TRIMMING, Probe
from holdfast.storage.log import Log
from holdfast.worker.events import LogSynced


class LogWriter:
    """Appends epochs and trims the log on a thread of its own."""

    def __init__(self, log: Log, post: Callable[[object], None], probe: Probe) -> None:
        self._log = log
        self._post = post
        self._probe = probe
        self._jobs: queue.SimpleQueue[Epoch | int | None] = queue.SimpleQueue()
        self._handed_out = 0  # changed by the engine thread alone
        self._done = 0  # changed by the writer's thread alone
        self._thread = threading.Thread(target=self._guarded, name="holdfast-log", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """True when nothing is queued or being written."""
        return self._handed_out == self._done

    def append(self, epochs: list[Epoch]) -> None:
        """Commit these epochs soon; answered by LogSynced."""
        self._handed_out += len(epochs)
        for epoch in epochs:
            self._jobs.put(epoch)

    def append_here(self, epochs: list[Epoch]) -> None:
        """Commit these epochs now, on the caller's thread; only while `idle` holds."""
        assert self.idle
        self._log.append(epochs)

    def trim(self, upto: int) -> None:
        """Drop records up to this epoch when there is time."""
        self._handed_out += 1
        self._jobs.put(upto)

    def close(self) -> None:
        """Work off what is queued and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - any error ends the process, the engine thread says which
            self._post(error)

    def _work(self) -> None:
        trims: list[int] = []
        closed = False
        while trims or not closed:
            epochs, told_to_close = self._collect(trims, wait=not trims)
            closed |= told_to_close
            if epochs:
                self._log.append(epochs)
                self._done += len(epochs)
                self._post(LogSynced(now(), epochs[-1].number))
            elif trims:
                self._probe.passed(TRIMMING)
                if not self._log.trim_step(max(trims)):
                    self._done += len(trims)
                    trims.clear()

    def _collect(self, trims: list[int], wait: bool) -> tuple[list[Epoch], bool]:
        """Take everything that is queued, after waiting for something to come if asked to; whether it was the end."""
        epochs: list[Epoch] = []
        try:
            job = self._jobs.get(block=wait)
            while job is not None:
                if isinstance(job, int):
                    trims.append(job)
                else:
                    epochs.append(job)
                job = self._jobs.get(block=False)
        except queue.Empty:
            return epochs, False
        return epochs, True
