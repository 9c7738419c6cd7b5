"""Telling sources of the user's own what is durable: in a thread beside intake, so that neither waits for the other.

Invariant: of one partition only the newest offset is told, and offsets are told in the order in which they came.
What is durable the machine says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from holdfast.runtime.intake import SourceFailed

# What was told last at the end of a run; a source that does not come back is not waited for any longer.
CLOSE_SECONDS_MAX = 30.0


class Acknowledger:
    """Tells the sources of all partitions of this process."""

    def __init__(self, sources: list[tuple[Any, str]], post: Callable[[Any], None]) -> None:
        """`sources` are (source, partition's name) by number of the partition; what fails is posted."""
        self.failure: Exception | None = None
        self._sources = sources
        self._post = post
        self._changed = threading.Condition()
        self._offsets: dict[int, object] = {}  # of partitions that are still to be told
        self._thread: threading.Thread | None = None
        self._closed = False

    def tell(self, partition: int, offset: object) -> None:
        """What lies before this offset is durable."""
        with self._changed:
            self._offsets[partition] = offset
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="holdfast-acknowledge", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Tell what is still to be told, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS_MAX)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._offsets and not self._closed:
                    self._changed.wait()
                if not self._offsets:
                    return
                told, self._offsets = self._offsets, {}
            for partition, offset in told.items():
                source, name = self._sources[partition]
                try:
                    source.acknowledge(name, offset)
                except Exception as error:  # noqa: BLE001 - a user's source may raise anything
                    failed = SourceFailed(name, error)
                    self.failure = failed.error
                    self._post(failed)
                    return
