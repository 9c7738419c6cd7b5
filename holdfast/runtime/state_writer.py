"""The state's own thread: checkpoints are written, sinks synced and checkpoints completed here, in the order given.

Invariant: one call to the state at a time (the lock is for the engine thread's folding), a whole transaction in each.
The names of types that a checkpoint's images use are durable before the checkpoint completes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import cast

from holdfast.core.types import TypeRegistry
from holdfast.runtime.clock import now
from holdfast.runtime.points import COMPLETED, COMPLETING, STAGING, Probe
from holdfast.storage.state import Row, State
from holdfast.worker.events import CheckpointCompleted, ChunksStaged, RowsFolded, SinksSynced

HINTS = "hints"  # the meta record: tag of a type -> module where it was found


class StateWriter:
    """Carries out what changes the state, on a thread of its own."""

    def __init__(self, state: State, registry: TypeRegistry, post: Callable[[object], None], probe: Probe) -> None:
        self._state = state
        self._registry = registry
        self._post = post
        self._probe = probe
        self._hints = cast("dict[str, str]", state.get_meta(HINTS) or {})
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._handed_out = 0
        self._done = 0
        self._hurried = False
        self._thread = threading.Thread(target=self._guarded, name="holdfast-state", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """True when nothing is queued or being written."""
        return self._handed_out == self._done

    def stage(self, checkpoint: int, chunks: Sequence[bytes]) -> None:
        """Write chunks that do not count yet."""

        def job() -> None:
            self._probe.passed(STAGING)
            with self._lock:
                self._state.stage(checkpoint, chunks)
            self._post(ChunksStaged(now(), checkpoint, len(chunks)))

        self._hand_out(job)

    def sync(self, checkpoint: int, syncs: Sequence[Callable[[], None]]) -> None:
        """Make durable what the sinks were given."""

        def job() -> None:
            for sync in syncs:
                if self._hurried:
                    return
                sync()
            self._post(SinksSynced(now(), checkpoint))

        self._hand_out(job)

    def let_go(self, releases: Sequence[Callable[[], None]]) -> None:
        """Have sinks let go, behind the syncs that were ordered."""
        for release in releases:
            self._hand_out(release)

    def prepare(self, checkpoint: int, record: bytes) -> None:
        """Make durable that all chunks of the checkpoint are staged."""
        from holdfast.worker.cluster_events import CheckpointPrepared  # only members prepare

        def job() -> None:
            self._probe.passed(COMPLETING)
            with self._lock:
                self._keep_hints()
                self._state.prepare(checkpoint, record)
            self._post(CheckpointPrepared(now(), checkpoint))

        self._hand_out(job)

    def renewed(self) -> StateWriter:
        """Another one for the same state, after this one was closed."""
        return StateWriter(self._state, self._registry, self._post, self._probe)

    def complete(self, checkpoint: int, record: bytes, drop_before: int) -> None:
        """Make the staged chunks and the record the checkpoint."""

        def job() -> None:
            self._probe.passed(COMPLETING)
            with self._lock:
                self._keep_hints()
                self._state.complete(checkpoint, record, drop_before)
            self._probe.passed(COMPLETED)
            self._post(CheckpointCompleted(now(), checkpoint))

        self._hand_out(job)

    def fold_here(self, rows: Sequence[Row], upto: tuple[int, int]) -> RowsFolded:
        """Write rows now, on the caller's thread.

        Many small puts on a second thread starve beside a busy one: LMDB's binding lets go of the interpreter at each.
        """
        with self._lock:
            self._keep_hints()
            self._state.fold(rows, upto)
        return RowsFolded(now(), *upto)

    def keep_hints_here(self) -> None:
        """Before records are logged, on the caller's thread: a class that they alone name must be found again."""
        if self._registry.hint_count > len(self._hints):
            with self._lock:
                self._keep_hints()

    def close(self, *, hurried: bool = False) -> None:
        """Work off what is queued, or `hurried` only what was begun, and end the thread."""
        self._hurried = hurried
        self._jobs.put(None)
        self._thread.join()

    def _keep_hints(self) -> None:
        hints = self._registry.hints()
        if hints != self._hints:
            self._state.put_meta(HINTS, hints)
            self._hints = hints

    def _hand_out(self, job: Callable[[], None]) -> None:
        self._handed_out += 1
        self._jobs.put(job)

    def _guarded(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                if not self._hurried:
                    job()
                self._done += 1
        except BaseException as error:  # noqa: BLE001 - any error ends the process, the engine thread says which
            self._post(error)
