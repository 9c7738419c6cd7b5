"""Apply: a durable epoch through the pipeline, slice by slice, in serial order.

Invariant: an epoch is applied only when it is durable, after the one before it was applied whole, once in a life.
A checkpoint may stand inside an epoch (after a call that failed under on_error="stop"): what lies before `skip` in the
epoch after it is applied already, and is not again.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from holdfast.core.entities import Rows
from holdfast.core.epochs import Chunk, Epoch
from holdfast.core.errors import HoldfastError, StoppedError
from holdfast.core.pipeline import Pipeline, StopBeforeError
from holdfast.core.positions import TIMER, Position
from holdfast.core.turns import ROUND, DecodedChunk, Part, Turn, turns_of
from holdfast.worker.effects import Answer, Effect
from holdfast.worker.exchange import Exchange
from holdfast.worker.record import Record

DECODED_AT_ONCE = 16 * 1024  # bytes of records: with what they become, what a processor's cache holds
Load = tuple[int, list[Any]]  # (stateful step, lookup keys) whose entities are wanted


class Place(NamedTuple):
    """A place inside an epoch; places compare in serial order."""

    records: int  # of the epoch that lie before it
    fired: bool = False  # and so do the timers of the turn that begins there


BEGIN: Final = Place(0)


@dataclass(frozen=True, slots=True)
class Slice:
    """Parts that go through the pipeline together."""

    parts: list[Part]
    turn: Turn | None  # given where its timers are to fire before the parts
    start: int  # records of the epoch before it, in serial order

    @property
    def end(self) -> int:
        """Records of the epoch up to its end."""
        return self.start + sum(len(part.records) for part in self.parts)

    def between(self, low: Place, high: Place | None) -> Slice | None:
        """What of it lies in low … high; None if nothing does."""
        if high is None and low is BEGIN:
            return self
        timed, reached = self.turn is not None, low <= (self.start, False)
        if reached and (high is None or (high.records >= self.end and high >= (self.start, timed))):
            return self
        begins = timed and reached and (high is None or high >= (self.start, True))
        parts, at = [], self.start
        for part in self.parts:
            first = max(low.records - at, 0)
            last = len(part.records) if high is None else min(len(part.records), high.records - at)
            if first < last:
                parts.append(replace(part, first=part.first + first, records=part.records[first:last]))
            at += len(part.records)
        turn = self.turn if begins else None
        return Slice(parts, turn, max(self.start, low.records)) if parts or turn is not None else None

    def place(self, position: Position) -> Place:
        """The place before the record at this position, or before all timers of its turn if a timer stands there."""
        turn, partition, number = position[:3]
        if partition == TIMER:
            return Place(self.start)
        at = self.start
        for part in self.parts:
            if (part.turn, part.partition) == (turn, partition) and 0 <= number - part.first < len(part.records):
                return Place(at + int(number) - part.first, fired=True)
            at += len(part.records)
        raise AssertionError("a position outside of the slice that was worked on")


@dataclass(frozen=True, slots=True)
class Stopped:
    """An epoch can't be applied beyond this place."""

    skip: Place
    error: HoldfastError | None
    touched: bool  # entities beyond them were touched: the work must be done again to end there


class Apply:
    """Applies epochs one after the other."""

    def __init__(self, pipeline: Pipeline, *, live: bool, slice_records: int) -> None:
        self.pipeline = pipeline
        self.exchange = Exchange(pipeline)
        self.live = live
        self.slice_records = slice_records
        self.timed = pipeline.plan.timed
        self.needs_times = pipeline.plan.uses_context
        self.applied = 0  # the last epoch applied whole
        self.skip = BEGIN  # of the one after it: what lies before is applied
        self.applied_whole = True  # whether all of the epoch applied last was applied in this life
        self.time = 0  # of the last turn, as of `applied`
        # partition -> (records applied, offset after them, ended, time of its last chunk), as of `applied`
        self.positions: dict[int, tuple[int, object, bool, int]] = {}
        self.records = 0  # applied in this life
        self._last_time = 0

    def begin_after(self, record: Record) -> None:
        """Everything up to the checkpoint is applied."""
        self.applied, self.skip, self.time = record.epoch, Place(record.skip, record.fired), record.time

    def source_rows(self) -> Rows:
        """The partitions' entities, as of the last epoch applied whole."""
        rows = Rows()
        rows.keys, rows.states = list(self.positions), list(self.positions.values())
        return rows

    def run(self, epoch: Epoch, limit: Place | None) -> Generator[Load, None, Stopped | None]:
        """Apply an epoch; with a limit, only what lies before it."""
        assert epoch.number == self.applied + 1, "epochs are applied in order, each once"
        clocks = {partition: position[3] for partition, position in self.positions.items()}
        self.applied_whole = self.skip == BEGIN
        again = Again(self.pipeline, epoch)
        for whole in self._slices(epoch, clocks):
            piece = whole.between(self.skip, limit)
            if piece is None:
                continue
            stopped = yield from self._run_slice(piece, again)
            if stopped is not None:
                return stopped
        if limit is not None:
            self.skip = limit
            return Stopped(limit, None, touched=False)
        self.pipeline.end_epoch()
        self.applied, self.skip = epoch.number, BEGIN
        self.time = self._last_time
        for chunk in epoch.chunks:
            end = chunk.first + chunk.count
            self.positions[chunk.partition] = (end, chunk.offset, chunk.ended, clocks.get(chunk.partition, 0))
        return None

    def _run_slice(self, piece: Slice, again: Again) -> Generator[Load, None, Stopped | None]:
        try:
            yield from self._stages(piece, again)
            self.pipeline.collect()
        except StopBeforeError as stop:
            skip = piece.place(stop.position)
            if not stop.touched:
                self.pipeline.drop_slice()
                before = piece.between(Place(piece.start), skip)
                if before is not None:
                    earlier = yield from self._run_slice(replace(before, parts=list(map(again, before.parts))), again)
                    if earlier is not None:
                        return earlier
                self.skip = skip
            return Stopped(skip, stop.error, stop.touched)
        self.records += sum([len(part.records) for part in piece.parts])
        return None

    def answers(self, epoch: Epoch) -> list[Effect]:
        """What senders are answered, once the epoch is applied; nothing if an earlier life has applied a part of it."""
        taken = self.pipeline.replies.take()
        if not self.applied_whole:
            return []
        return [
            Answer(chunk.partition, chunk.first, chunk.count, taken.get(chunk.partition, {}))
            for chunk in epoch.chunks
            if chunk.partition in self.pipeline.senders
        ]

    def examine(self, epoch: Epoch) -> Generator[Load, None, StoppedError | None]:
        """Which of the calls in the wake of the record (or the timers) behind `skip` is the first to fail, depth first.

        Stage by stage another one may be met before. This touches entities: it is the last that a machine does.
        """
        clocks = {partition: position[3] for partition, position in self.positions.items()}
        behind = Place(self.skip.records + 1) if self.skip.fired else Place(self.skip.records, fired=True)
        failures = self.pipeline.note_failures()
        for whole in self._slices(epoch, clocks):
            piece = whole.between(self.skip, behind)
            if piece is not None:
                yield from self._stages(piece, Again(self.pipeline, epoch))
        return min(failures, key=lambda failure: failure[0])[1] if failures else None

    def _stages(self, piece: Slice, again: Again) -> Generator[Load, None, None]:
        """Stage by stage: each step's messages are exchanged, its entities are in memory, then it is applied."""
        self.pipeline.compute(self.pipeline.judged(piece.parts), again)
        for step in self.pipeline.plan.stateful:
            column = self.exchange.gather(step)
            wanted = column.keys
            if piece.turn is not None and step.on_timer is not None:
                due = self.pipeline.books[step.index].due_keys(piece.turn.time)
                wanted = [*wanted, *due] if due else wanted
            if wanted:
                yield step.index, wanted
            self.pipeline.apply(step, column, piece.turn)
            self.exchange.settle(step)

    # --- slices

    def _decoded(self, chunk: Chunk) -> DecodedChunk:
        records = self.pipeline.decode(chunk.partition, chunk.raw)
        assert len(records) == chunk.count, "a block holds other records than were counted"
        times = self.pipeline.record_times(chunk.partition, records) if self.needs_times else None
        return DecodedChunk(chunk.partition, chunk.first, records, times, chunk.time)

    def _slices(self, epoch: Epoch, clocks: dict[int, int]) -> Iterator[Slice]:
        if self.needs_times:
            chunks = [self._decoded(chunk) for chunk in epoch.chunks]
            at_least = epoch.time if self.live else 0
            turns = list(turns_of(chunks, live=self.live, clocks=clocks, time=max(self.time, at_least)))
            self._last_time = turns[-1].time if turns else self.time
            self._note_times(turns)
            yield from self._slices_of_turns(turns)
            return
        self._last_time = self.time
        for chunk in epoch.chunks:
            if chunk.count or self.live:
                clocks[chunk.partition] = max(chunk.time, clocks.get(chunk.partition, 0))
                self._last_time = max(self._last_time, clocks[chunk.partition])
        if self.live or len(epoch.chunks) == 1:
            at = 0
            for chunk in epoch.chunks:
                yield from self._slices_of_chunk(chunk, at)
                at += chunk.count
        else:
            yield from self._slices_of_turns(self._rounds(epoch))

    def _in_parts(self, chunk: Chunk) -> Iterator[Sequence[Any]]:
        """The records of a chunk, decoded not long before they are needed: then they are still in the cache."""
        raw, start, count = chunk.raw, 0, 0
        while start < len(raw):
            end = len(raw)
            if end - start > DECODED_AT_ONCE:  # finding an end means to look at every record
                end = self.pipeline.cut(chunk.partition, raw, start, DECODED_AT_ONCE)
            records = self.pipeline.decode(chunk.partition, raw[start:end])
            start = end
            count += len(records)
            yield records
        assert count == chunk.count, "a block holds other records than were counted"

    def _slices_of_chunk(self, chunk: Chunk, at: int) -> Iterator[Slice]:
        """Records of one partition alone, in slices of about the same length; `at` of the epoch lie before them."""
        first = chunk.first
        for records in self._in_parts(chunk):
            count = -(-len(records) // self.slice_records)
            length = -(-len(records) // count)
            for start in range(0, len(records), length):
                piece = records if count == 1 else records[start : start + length]
                yield Slice([Part(0, chunk.partition, first, piece)], None, at)
                at, first = at + len(piece), first + len(piece)

    def _rounds(self, epoch: Epoch) -> Iterator[Turn]:
        """Rounds of finite partitions where nobody asks when they were."""
        firsts = {chunk.partition: chunk.first for chunk in epoch.chunks}
        records = {chunk.partition: itertools.chain.from_iterable(self._in_parts(chunk)) for chunk in epoch.chunks}
        for number in itertools.count():
            turn = Turn(number, [], {})
            for partition, first in firsts.items():
                piece = list(itertools.islice(records[partition], ROUND))
                if piece:
                    turn.parts.append(Part(number, partition, first + number * ROUND, piece))
            if not turn.parts:
                return
            yield turn

    def _slices_of_turns(self, turns: Iterable[Turn]) -> Iterator[Slice]:
        """Turns are put together up to the size of a slice, unless their timers keep them apart."""
        start, parts, count = 0, [], 0
        for turn in turns:
            head: Turn | None = turn if self.timed else None
            for part in turn.parts:
                for piece in self._pieces(part):
                    parts.append(piece)
                    count += len(piece.records)
                    if count >= self.slice_records:
                        yield Slice(parts, head, start)
                        start, parts, count, head = start + count, [], 0, None
            if self.timed and (parts or head is not None):
                yield Slice(parts, head, start)
                start, parts, count = start + count, [], 0
        if parts:
            yield Slice(parts, None, start)

    def _pieces(self, part: Part) -> Iterator[Part]:
        """A part in pieces that are no longer than a slice may be; mostly the part itself."""
        if len(part.records) <= self.slice_records:
            yield part
            return
        for at in range(0, len(part.records), self.slice_records):
            yield replace(part, first=part.first + at, records=part.records[at : at + self.slice_records])

    def _note_times(self, turns: list[Turn]) -> None:
        """For contexts: when each partition's part of each turn was."""
        times = self.pipeline.times
        times.clear()
        for turn in turns:
            times[turn.number, TIMER] = turn.time
            for partition, time in turn.part_times.items():
                times[turn.number, partition] = time


class Again:
    """Decodes parts anew: user functions may have changed the records before one of them raised."""

    def __init__(self, pipeline: Pipeline, epoch: Epoch) -> None:
        self.pipeline = pipeline
        self.chunks = {chunk.partition: chunk for chunk in epoch.chunks}

    def __call__(self, part: Part) -> Part:
        """The same part with records of its own."""
        chunk = self.chunks[part.partition]
        start = part.first - chunk.first
        records = self.pipeline.decode(part.partition, chunk.raw)[start : start + len(part.records)]
        return replace(part, records=records)
