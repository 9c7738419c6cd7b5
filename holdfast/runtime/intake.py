"""Reading the sources for the worker machine: files at once in the engine thread, live and a user's by a thread each.

Invariant: what is read ahead of a partition is bounded in records and bytes; a source that gives more waits.
A record is handed over once, in order, with the offset after it. What an offset means only the connector knows.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from holdfast.connectors.contract import UserSource
from holdfast.connectors.intake import WithIntake
from holdfast.connectors.interface import OpenSource, Reader
from holdfast.core.errors import HoldfastError, ProcessingError
from holdfast.runtime.clock import now
from holdfast.runtime.mailbox import Mailbox
from holdfast.worker.events import SourceRead

# Of one partition. A block of a live source is seldom more than what came since the last one: these bound memory.
READ_AHEAD_RECORDS_MAX = 4096
READ_AHEAD_BYTES_MAX = 1 << 20
# What one read of a live source may give; never more than the machine asks for at once.
BLOCK_RECORDS_MAX = 64
BLOCK_BYTES_MAX = 1 << 18
# A finite source gives exactly what is asked for, in as many blocks as it takes: rounds are counted in records.
FINITE_BLOCK_BYTES_MAX = 1 << 20


class Intake(Protocol):
    """One open partition."""

    def ask(self, records_max: int) -> SourceRead | None:
        """Return the next records, or None: they will be posted once there are any."""

    def close(self) -> None:
        """Let go of the partition."""


class FiniteIntake:
    """Reads where it is asked, until exactly as many records are there as were asked for, or no more."""

    def __init__(self, partition: int, reader: Reader) -> None:
        self._partition = partition
        self._reader = reader
        self._given = 0

    def ask(self, records_max: int) -> SourceRead:
        raws: list[bytes] = []
        count = 0
        ended = False
        while count < records_max and not ended:
            block = self._reader.read(records_max - count, FINITE_BLOCK_BYTES_MAX)
            if block is None:
                ended = True
            else:
                raws.append(block.raw)
                count += block.count
                ended = block.ended
        self._given += count
        raw = raws[0] if len(raws) == 1 else b"".join(raws)
        return SourceRead(now(), self._partition, raw, count, self._reader.offset_after(self._given), ended)

    def close(self) -> None:
        self._reader.close()


class ThreadedIntake:
    """Reads a finite source of the user's own where it holds up nobody else."""

    def __init__(self, partition: int, name: str, reader: Reader, post: Callable[[Any], None]) -> None:
        self._finite = FiniteIntake(partition, reader)
        self._name = name
        self._post = post
        self._asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"holdfast-source-{name}", daemon=True).start()

    def ask(self, records_max: int) -> None:
        self._asked.put(records_max)

    def close(self) -> None:
        self._asked.put(None)
        self._finite.close()

    def _work(self) -> None:
        try:
            while (records_max := self._asked.get()) is not None:
                self._post(self._finite.ask(records_max))
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything
            self._post(SourceFailed(self._name, error))


class LiveIntake:
    """Reads ahead in a thread of its own and posts what is there as soon as it is asked for."""

    def __init__(self, partition: int, name: str, reader: Reader, post: Callable[[Any], None]) -> None:
        self._partition = partition
        self._name = name
        self._reader = reader
        self._post = post
        self._changed = threading.Condition()
        self._blocks: deque[SourceRead] = deque()
        self._records = 0  # in _blocks
        self._bytes = 0
        self._asked = 0  # records that the machine waits for, 0 when it does not
        self._closed = False
        self._thread = threading.Thread(target=self._guarded, name=f"holdfast-source-{name}", daemon=True)
        self._thread.start()

    def ask(self, records_max: int) -> SourceRead | None:
        with self._changed:
            if self._blocks:
                return self._take(records_max)
            self._asked = records_max
            return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._reader.close()

    def _guarded(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything
            if self._is_taken():
                self._post(SourceFailed(self._name, error))

    def _is_taken(self) -> bool:
        """Wait until all that was read has gone to the machine, as it comes before what failed; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._blocks)
            return not self._closed

    def _work(self) -> None:
        given = 0
        ended = False
        while not ended:
            block = self._reader.read(BLOCK_RECORDS_MAX, BLOCK_BYTES_MAX)
            if self._closed:
                return
            raw, count = (block.raw, block.count) if block is not None else (b"", 0)
            ended = block is None or block.ended
            given += count
            self._add(SourceRead(now(), self._partition, raw, count, self._reader.offset_after(given), ended))

    def _add(self, block: SourceRead) -> None:
        with self._changed:
            self._blocks.append(block)
            self._records += block.count
            self._bytes += len(block.raw)
            if self._asked:
                self._post(self._take(self._asked))
            while not self._closed and (self._records >= READ_AHEAD_RECORDS_MAX or self._bytes >= READ_AHEAD_BYTES_MAX):
                self._changed.wait()

    def _take(self, records_max: int) -> SourceRead:
        """Join what is there, up to `records_max` records but at least one block, into one answer."""
        taken = [self._blocks.popleft()]
        count = taken[0].count
        while self._blocks and count + self._blocks[0].count <= records_max:
            count += self._blocks[0].count
            taken.append(self._blocks.popleft())
        raw = taken[0].raw if len(taken) == 1 else b"".join([block.raw for block in taken])
        self._records -= count
        self._bytes -= len(raw)
        self._asked = 0
        self._changed.notify()
        last = taken[-1]
        return SourceRead(now(), self._partition, raw, count, last.offset, last.ended)


class SentIntake:
    """Takes what callers in this process have sent."""

    def __init__(self, partition: int, mailbox: Mailbox, offset: object) -> None:
        assert offset is None or type(offset) is int, offset
        self._partition = partition
        self._mailbox = mailbox
        self._wanted = 0  # records that the machine waits for
        mailbox.reopen(0 if offset is None else offset)

    def ask(self, records_max: int) -> SourceRead | None:
        event = self._mailbox.take(records_max, READ_AHEAD_BYTES_MAX, self._partition)
        self._wanted = records_max if event is None else 0
        return event

    def heard(self) -> SourceRead | None:
        """Something has arrived."""
        return self.ask(self._wanted) if self._wanted else None

    def close(self) -> None:
        """What was taken and is not logged is given to the next life."""


class SourceFailed:
    """Posted by a source's thread: the run is to end cleanly and then with this error."""

    def __init__(self, name: str, error: Exception) -> None:
        self.error = error
        if not isinstance(error, HoldfastError):
            self.error = ProcessingError(f"source {name!r} failed: {type(error).__name__}: {error}")
            self.error.__cause__ = error


def open_intake(source: OpenSource, partition: int, name: str, reader: Reader, post: Callable[[Any], None]) -> Intake:
    """Return what reads this partition in the way that suits its source."""
    if source.live:
        return LiveIntake(partition, name, reader, post)
    if isinstance(source, UserSource | WithIntake):
        return ThreadedIntake(partition, name, reader, post)
    return FiniteIntake(partition, reader)
