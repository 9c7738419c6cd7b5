"""A member's log thread: what has arrived while the last commit ran is the next commit, of all partitions together.

Invariant: orders are carried out in the order given, and only this thread changes the logs. An append never waits for
more than one small step of trimming.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from holdfast.core.epochs import LogEntry
from holdfast.recovery.wire import pack_formation
from holdfast.runtime.clock import now
from holdfast.storage.partition_log import PartitionLog
from holdfast.worker.cluster_effects import AdoptFormation, AppendEntries, InstallLog, TrimEntries
from holdfast.worker.cluster_events import Adopted, EntriesSynced

Order = AdoptFormation | AppendEntries | InstallLog | TrimEntries


class MemberLogWriter:
    """Changes the partition logs on a thread of its own."""

    def __init__(self, log: PartitionLog, post: Callable[[Any], None]) -> None:
        self._log = log
        self._post = post
        self._jobs: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._handed_out = 0  # changed by the engine thread alone
        self._done = 0  # changed by the writer's thread alone
        self._generation = log.adopted()[0]
        self._hurried = False
        self._thread = threading.Thread(target=self._guarded, name="holdfast-log", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """True when nothing is queued or being written."""
        return self._handed_out == self._done

    def give(self, order: Order) -> None:
        """Carry this out behind what was given before."""
        self._handed_out += 1
        self._jobs.put(order)

    def append_here(self, order: AppendEntries) -> None:
        """Commit now, on the caller's thread; only while `idle` holds."""
        assert self.idle
        self._log.append(order.entries)

    def close(self, *, hurried: bool = False) -> None:
        """Work off what is queued and end the thread; `hurried` leaves to a later trim what could be trimmed."""
        self._hurried = hurried
        self._jobs.put(None)
        self._thread.join()

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - any error ends the process, the engine thread says which
            self._post(error)

    def _work(self) -> None:
        waiting: deque[Order] = deque()
        trims: list[TrimEntries] = []
        closed = False
        while waiting or (trims and not self._hurried) or not closed:
            closed |= self._collect(waiting, wait=not waiting and not trims)
            if waiting:
                self._carry_out(waiting, trims)
            elif trims and not self._log.trim_step(trims[-1].upto, trims[-1].keep):
                self._done += len(trims)
                trims.clear()

    def _collect(self, waiting: deque[Order], *, wait: bool) -> bool:
        """Take everything that is queued, after waiting for something to come if asked to; whether it was the end."""
        try:
            job = self._jobs.get(block=wait)
            while job is not None:
                waiting.append(job)
                job = self._jobs.get(block=False)
        except queue.Empty:
            return False
        return True

    def _carry_out(self, waiting: deque[Order], trims: list[TrimEntries]) -> None:
        order = waiting.popleft()
        match order:
            case AppendEntries():
                entries: list[LogEntry] = [*order.entries]
                done = 1
                while waiting and isinstance(following := waiting[0], AppendEntries):
                    order = following
                    entries += following.entries
                    waiting.popleft()
                    done += 1
                if entries:
                    self._log.append(entries)
                self._done += done
                self._post(EntriesSynced(now(), order.ticket))
            case AdoptFormation(formation, logs):
                self._generation = formation.number
                self._log.adopt(pack_formation(formation), formation.number, logs)
                self._done += 1
                self._post(Adopted(now(), formation.number))
            case InstallLog(partition, base):
                self._log.install(partition, base, self._generation)
                self._done += 1
            case TrimEntries():
                trims.append(order)
