"""What each order of a worker comes to on simulated disks, sources and sinks.

A work that changes something durable begins and finishes in two calls of its store, so that a kill can fall
between. Nothing here decides when: that is the channel's and the fault list's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from holdfast.chaos.channel import Answer, Order, Work
from holdfast.chaos.counters import Counters
from holdfast.chaos.inputs import OpenInput
from holdfast.chaos.outputs import Output
from holdfast.core.epochs import Epoch
from holdfast.core.images import unpack_row
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker import effects, events

ROWS_AT_ONCE: Final = 5  # read at a start


class Append(Work[effects.AppendLog]):
    """Log epochs; what has arrived while the last commit ran is one commit."""

    __slots__ = ("_counters", "_epochs", "_log")

    def __init__(self, order: effects.AppendLog, log: MemoryLog, counters: Counters) -> None:
        super().__init__(order)
        self._log = log
        self._counters = counters
        self._epochs: list[Epoch] = [order.epoch]

    def joins(self, first: Work[Any]) -> bool:
        if not isinstance(first, Append):
            return False
        first._epochs += self._epochs
        return True

    def begin(self) -> None:
        if len(self._epochs) > 1:
            self._counters.meet("several epochs in one commit")
        self._log.begin_append(self._epochs)

    def finish(self) -> Sequence[Answer]:
        self._log.finish_sync()
        last = self._epochs[-1].number
        return [lambda now: events.LogSynced(now, last)]

    def tear(self, random: Random) -> None:
        self._counters.meet("kill in the middle of a commit")


class ReadLog(Work[effects.ReadLog]):
    """Read logged epochs."""

    __slots__ = ("_log",)

    def __init__(self, order: effects.ReadLog, log: MemoryLog) -> None:
        super().__init__(order)
        self._log = log

    def finish(self) -> Sequence[Answer]:
        found = tuple(self._log.read(self.order.after, self.order.bytes_max))
        return [lambda now: events.LogRead(now, found)]


class TrimStep(Work[effects.TrimLog]):
    """Drop a few epochs; the rest is a work of its own, so that a kill can fall between."""

    __slots__ = ("_again", "_log", "_more")

    def __init__(self, order: effects.TrimLog, log: MemoryLog, again: Callable[[], None]) -> None:
        super().__init__(order)
        self._log = log
        self._again = again
        self._more = False

    def begin(self) -> None:
        self._more = self._log.begin_trim(self.order.upto)

    def finish(self) -> Sequence[Answer]:
        self._log.finish_sync()
        if self._more:
            self._again()
        return ()


class StateWork(Work[Order]):
    """A work on the state, which takes one transaction at a time from whatever channel."""

    __slots__ = ("_disk", "counters", "state")

    def __init__(self, order: Order, state: MemoryState, disk: MemoryDisk, counters: Counters) -> None:
        super().__init__(order)
        self.state = state
        self.counters = counters
        self._disk = disk

    def ready(self) -> float | None:
        return None if self._disk.state.busy else 0.0

    def tear(self, random: Random) -> None:
        if self._disk.state.busy:
            self.counters.meet("kill in the middle of a commit")


class ReadChunks(StateWork[effects.ReadChunks]):
    """Read the complete checkpoint's chunks, a few at a time."""

    __slots__ = ("_random",)

    def __init__(
        self,
        order: effects.ReadChunks,
        state: MemoryState,
        disk: MemoryDisk,
        counters: Counters,
        random: Random,
    ) -> None:
        super().__init__(order, state, disk, counters)
        self._random = random

    def finish(self) -> Sequence[Answer]:
        chunks = [chunk for _, chunk in self.state.chunks()]
        parts: list[tuple[bytes, ...]] = [()] if self._random.random() < 0.2 else []
        while chunks or not parts:
            taken = self._random.randint(1, 4)
            parts.append(tuple(chunks[:taken]))
            del chunks[:taken]
        return [self._answer(part, last=part is parts[-1]) for part in parts]

    @staticmethod
    def _answer(part: tuple[bytes, ...], *, last: bool) -> Answer:
        return lambda now: events.ChunksRead(now, part, last)


class Stage(StateWork[effects.StageChunks]):
    """Write chunks that do not count yet."""

    __slots__ = ()

    def begin(self) -> None:
        self.state.begin_stage(self.order.checkpoint, self.order.chunks)

    def finish(self) -> Sequence[Answer]:
        checkpoint, chunks = self.order.checkpoint, len(self.order.chunks)
        self.state.finish_sync()
        return [lambda now: events.ChunksStaged(now, checkpoint, chunks)]


class Complete(StateWork[effects.CompleteCheckpoint]):
    """Make staged chunks and a record the checkpoint."""

    __slots__ = ()

    def begin(self) -> None:
        self.state.begin_complete(self.order.checkpoint, self.order.record, self.order.drop_before)

    def finish(self) -> Sequence[Answer]:
        checkpoint = self.order.checkpoint
        self.state.finish_sync()
        return [lambda now: events.CheckpointCompleted(now, checkpoint)]


class LoadRows(StateWork[effects.LoadRows]):
    """Read entities one by one."""

    __slots__ = ()

    def finish(self) -> Sequence[Answer]:
        rows = tuple(self.state.load(self.order.step, self.order.keys))
        self.counters.meet("rows loaded")
        if any(row is not None for row in rows):
            self.counters.meet("row found")
        return [lambda now: events.RowsLoaded(now, rows)]


class ReadRows(StateWork[effects.ReadRows]):
    """Read all entities of a step, a few at a time."""

    __slots__ = ()

    def finish(self) -> Sequence[Answer]:
        rows = tuple(self.state.rows_of(self.order.step))
        if any(unpack_row(row)[1] for _, row in rows):
            self.counters.meet("timers on disk at a start")
        parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)] or [()]
        return [self._answer(part, last=part is parts[-1]) for part in parts]

    @staticmethod
    def _answer(part: tuple[tuple[bytes, bytes], ...], *, last: bool) -> Answer:
        return lambda now: events.RowsRead(now, part, last)


class Fold(StateWork[effects.FoldRows]):
    """Write entities one by one."""

    __slots__ = ()

    def begin(self) -> None:
        self.state.begin_fold(self.order.rows, (self.order.checkpoint, self.order.chunk))

    def finish(self) -> Sequence[Answer]:
        upto = (self.order.checkpoint, self.order.chunk)
        self.state.finish_sync()
        self.counters.meet("rows folded")
        return [lambda now: events.RowsFolded(now, *upto)]


class Write(Work[effects.Deliver]):
    """Give outputs to a sink."""

    __slots__ = ("_output",)

    def __init__(self, order: effects.Deliver, output: Output) -> None:
        super().__init__(order)
        self._output = output

    def begin(self) -> None:
        self._output.begin(self.order.first, self.order.count, self.order.payload)

    def finish(self) -> Sequence[Answer]:
        sink, last = self.order.sink, self.order.first + self.order.count - 1
        self._output.finish()
        return [lambda now: events.Delivered(now, sink, last)]

    def tear(self, random: Random) -> None:
        self._output.tear(random)


class TakeToken(Work[effects.TakeToken]):
    """Ask a sink where it stands."""

    __slots__ = ("_output",)

    def __init__(self, order: effects.TakeToken, output: Output) -> None:
        super().__init__(order)
        self._output = output

    def finish(self) -> Sequence[Answer]:
        sink, checkpoint = self.order.sink, self.order.checkpoint
        token = self._output.token()
        return [lambda now: events.TokenTaken(now, sink, checkpoint, token)]


class SyncSinks(Work[effects.SyncSinks]):
    """Make outputs durable, once every sink stands behind the deliveries that were ordered before."""

    __slots__ = ("_barrier", "_outputs")

    def __init__(
        self, order: effects.SyncSinks, outputs: Sequence[Output], barrier: Callable[[], bool]
    ) -> None:
        super().__init__(order)
        self._outputs = outputs
        self._barrier = barrier

    def ready(self) -> float | None:
        return 0.0 if self._barrier() else None

    def finish(self) -> Sequence[Answer]:
        checkpoint = self.order.checkpoint
        for output in self._outputs:
            output.sync()
        return [lambda now: events.SinksSynced(now, checkpoint)]

    def tear(self, random: Random) -> None:
        for output in self._outputs:
            if random.random() < 0.5:
                output.sync()


class Read(Work[effects.ReadSource]):
    """Read records of one partition, when there are some."""

    __slots__ = ("_input",)

    def __init__(self, order: effects.ReadSource, opened: OpenInput) -> None:
        super().__init__(order)
        self._input = opened

    def ready(self) -> float | None:
        return self._input.ready()

    def finish(self) -> Sequence[Answer]:
        partition = self.order.partition
        raw, count, offset, ended = self._input.read(self.order.records_max)
        return [lambda now: events.SourceRead(now, partition, raw, count, offset, ended)]
