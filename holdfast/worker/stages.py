"""Stages: one epoch at a time through the pipeline, stage by stage, with what all members gave in each.

Per epoch: `compute` (own records up to the first keys; touches no entity, so it may run ahead), then, when every member
has said how it opened the epoch, `advance`: each stateful step in turn, once its messages from everywhere are there.
Invariant: entities are touched strictly epoch by epoch, so when an epoch is over all of them stand at its end; every
feeder gives exactly one stage to every member that it can reach. What a stage of an epoch gave is sent at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from holdfast.core.epochs import Epoch, LogEntry
from holdfast.core.outlets import by_partition
from holdfast.core.pipeline import Pipeline, ReturnNeededError
from holdfast.core.plan import SOURCES
from holdfast.core.positions import TIMER, Column, joined
from holdfast.core.steps import Kind, Step
from holdfast.core.turns import DecodedChunk, Part, Turn, turns_of
from holdfast.recovery.generation import Formation, Limit
from holdfast.replication.columns import pack_column, unpack_column
from holdfast.replication.dealing import Dealing
from holdfast.replication.exchange import Exchange
from holdfast.replication.messages import Message, Opening, Stage
from holdfast.replication.routes import Routes
from holdfast.worker.apply import Again
from holdfast.worker.keeping import Given, Keeping

Outgoing = list[tuple[str, Message]]  # (to which node, what)
SLICES_PER_PIECE = 4  # a slice of records gives about so many times as many messages


@dataclass(slots=True)
class OpenEpoch:
    """One epoch, from its closing here until its outputs are numbered."""

    number: int
    entries: list[LogEntry]  # of the own partitions
    exchange: Exchange
    synced: bool = False  # the entries are on the own disk
    computed: bool = False
    turns: list[Turn] | None = None  # of all members, once they have opened it; parts are not needed in them
    next_step: int = 0  # ordinal of the stateful step that is to be applied next
    applied: bool = False
    logged: bool = False  # somewhere: only then it is a turn
    cut: bool = False  # a cut is made at its end
    checkpoint: int = 0  # … which becomes this checkpoint
    records: int = 0
    outputs: list[tuple[int, int, tuple[object, ...]]] = field(default_factory=list)  # (sink, count, payload)
    answers: list[Given] = field(default_factory=list)  # to records whose senders this member keeps


class Stages:
    """The pipeline of one member in one generation."""

    def __init__(self, pipeline: Pipeline, routes: Routes, *, slice_records: int) -> None:
        self.pipeline = pipeline
        self.plan = pipeline.plan
        self.routes = routes
        self.slice_records = slice_records
        self.keeping = Keeping(pipeline, routes)
        self.live = self.plan.live
        self.node = ""
        self.members: tuple[str, ...] = ()
        self.sink_owners: tuple[str, ...] = ()
        self.own_sinks: list[int] = []  # their steps
        self.all_feeders = [SOURCES, *(step.index for step in self.plan.stateful)]
        self.time = 0  # of the last turn of the last epoch applied
        self.skip: Limit | None = None  # what lies before is in the checkpoint
        self.limit: Limit | None = None  # what lies behind is not worked on
        self.clocks: dict[int, int] = {}  # of the own partitions, as of the last epoch computed

    def begin(self, formation: Formation, node: str, time: int) -> None:
        """A generation begins; everything stands at its cut."""
        self.node = node
        self.members = tuple(member.node for member in formation.members)
        self.sink_owners = formation.layout.sinks
        partitions = zip(self.plan.sink_partitions, self.sink_owners, strict=True)
        self.own_sinks = sorted({one.step.index for one, owner in partitions if owner == node})
        self.routes.lay_out([holders.primary for holders in formation.layout.ranges])
        self.keeping.begin(formation, node)
        self.time = time
        self.limit = formation.limit
        checkpoint = formation.checkpoint
        self.skip = None if formation.in_memory or checkpoint is None else checkpoint.limit
        self.clocks = {}

    # --- up to the first keys

    def compute(self, epoch: OpenEpoch, opening: Opening) -> Outgoing:
        """The own records of an epoch through the sources' segments, and those whose senders this member keeps."""
        entries = self.keeping.entries(epoch.entries, epoch.exchange)
        chunks = [entry.chunk for entry in sorted(entries, key=lambda entry: entry.chunk.partition)]
        decoded = []
        for chunk in chunks:
            records = self.pipeline.decode(chunk.partition, chunk.raw)
            assert len(records) == chunk.count, "a block holds other records than were counted"
            times = self.pipeline.record_times(chunk.partition, records) if self._needs_times else None
            decoded.append(DecodedChunk(chunk.partition, chunk.first, records, times, chunk.time))
        turns = list(turns_of(decoded, live=self.live, clocks=self.clocks, time=0)) if decoded else []
        times_of = [(t.number, p, time) for t in turns for p, time in t.part_times.items()] if self._needs_times else []
        self.pipeline.count = 0
        again = Again(self.pipeline, Epoch(epoch.number, 0, 0, tuple(chunks)))
        dealing = self._dealing()
        for parts in self._slices(epoch, turns):
            self.pipeline.compute(self.keeping.judged(parts), again)
            self._take(SOURCES, dealing)
        epoch.computed = True
        opening = replace(opening, times=tuple(times_of))
        epoch.exchange.openings[self.node] = opening
        return self._deal_out(epoch, SOURCES, dealing, opening)

    @property
    def _needs_times(self) -> bool:
        return self.plan.uses_context

    def _slices(self, epoch: OpenEpoch, turns: Sequence[Turn]) -> Iterator[list[Part]]:
        """Parts put together up to the size of a slice, less what lies before `skip` or behind `limit`."""
        parts: list[Part] = []
        count = 0
        for turn in turns:
            for whole in turn.parts:
                part = self._within(epoch.number, whole)
                for at in range(0, len(part.records), self.slice_records):
                    records = part.records[at : at + self.slice_records]
                    parts.append(replace(part, first=part.first + at, records=records))
                    count += len(records)
                    epoch.records += len(records)
                    if count >= self.slice_records:
                        yield parts
                        parts, count = [], 0
        if parts:
            yield parts

    def _within(self, epoch: int, part: Part) -> Part:
        first, end = part.first, part.first + len(part.records)
        if self.skip is not None and self.skip.epoch == epoch:
            first = max(first, _records_before(self.skip, part))
        if self.limit is not None and self.limit.epoch == epoch:
            end = min(end, _records_before(self.limit, part))
        first = min(first, end) if end > part.first else part.first
        return replace(part, first=first, records=part.records[first - part.first : max(end, first) - part.first])

    def may_compute(self, epoch: OpenEpoch, applied: int) -> bool:
        """Whether nothing is missing for that; epochs up to `applied` are applied."""
        if not epoch.synced:
            return False
        return not self.keeping.kept or (applied == epoch.number - 1 and self.keeping.has_records(epoch.exchange))

    # --- stateful steps

    def can_advance(self, epoch: OpenEpoch) -> bool:
        """Whether `advance` would get further with it."""
        if not epoch.computed or (epoch.turns is None and not epoch.exchange.is_open):
            return False
        if epoch.next_step == len(self.plan.stateful):
            return self.keeping.may_settle(epoch.exchange)
        return epoch.exchange.has_all(self.plan.feeders[self.plan.stateful[epoch.next_step].index])

    def advance(self, epoch: OpenEpoch) -> Outgoing:
        """Apply every step whose messages are all there; `epoch.applied` once there is none left."""
        outgoing: Outgoing = []
        if epoch.turns is None:
            self._open(epoch)
        while epoch.next_step < len(self.plan.stateful):
            step = self.plan.stateful[epoch.next_step]
            if not epoch.exchange.has_all(self.plan.feeders[step.index]):
                return outgoing
            dealing = self._dealing()
            self._apply(epoch, step, dealing)
            epoch.next_step += 1
            outgoing += self._deal_out(epoch, step.index, dealing, None)
        if not epoch.applied and self.keeping.may_settle(epoch.exchange):
            self._settle(epoch)
            epoch.applied = True
            # Where the epoch ends early, its turns get the times again that they had when the rest of it is worked on.
            if epoch.turns and not (self.limit is not None and self.limit.epoch == epoch.number):
                self.time = epoch.turns[-1].time
        return outgoing

    def _settle(self, epoch: OpenEpoch) -> None:
        begins = self.skip is None or self.skip.epoch != epoch.number
        ends = self.limit is None or self.limit.epoch != epoch.number
        given = self.keeping.settle(epoch.entries, epoch.exchange, ends=ends)
        if begins and ends:  # of a part nobody waits for answers: it is the end of a life, or the beginning of one
            epoch.answers = given

    def _open(self, epoch: OpenEpoch) -> None:
        """All members have opened it: which turns it has, and when they are."""
        openings = [epoch.exchange.openings[node] for node in self.members]
        epoch.checkpoint = max(opening.checkpoint for opening in openings)
        epoch.cut = epoch.checkpoint > 0 or any(opening.cut for opening in openings)
        epoch.logged = any(opening.logged for opening in openings)
        times = self.pipeline.times
        times.clear()
        part_times: dict[int, dict[int, int]] = {}
        for opening in openings:
            for turn, partition, time in opening.times:
                part_times.setdefault(turn, {})[partition] = times[turn, partition] = time
        # An epoch that is logged nowhere is no turn: it would not be there when the log is read again.
        if self.live:
            numbers = [0] if epoch.logged else []
        else:
            numbers = sorted(part_times)
        turn_time = self.time
        if self.live:
            turn_time = max([turn_time, *(opening.time for opening in openings)])
        epoch.turns = []
        for number in numbers:
            turn_time = max([turn_time, *part_times.get(number, {}).values()])
            times[number, TIMER] = turn_time
            epoch.turns.append(Turn(number, [], {}, turn_time))

    def _apply(self, epoch: OpenEpoch, step: Step, dealing: Dealing) -> None:
        pieces = epoch.exchange.gather(step.index, self._unpack)
        assert epoch.turns is not None
        if step.on_timer is None:
            for piece in pieces:
                self.pipeline.apply(step, piece, None)
                self._take(step.index, dealing)
            return
        column, start = joined(pieces), 0
        for turn in epoch.turns:
            end = start
            while end < len(column.positions) and column.positions[end][0] <= turn.number:
                end += 1
            fires = self._fires(epoch.number, turn.number)
            self.pipeline.apply(step, column.part(start, end), turn if fires else None)
            start = end
        assert start == len(column.messages), "messages of no turn"
        self._take(step.index, dealing)

    def _unpack(self, packed: bytes) -> Column:
        return unpack_column(packed, self.pipeline.registry, numbered=self.pipeline.numbered)

    def _fires(self, epoch: int, turn: int) -> bool:
        """Whether the timers of a turn lie between `skip` and `limit`."""
        skip, limit = self.skip, self.limit
        if skip is not None and skip.epoch == epoch and (turn, TIMER) < (skip.turn, skip.partition):
            return False
        return limit is None or limit.epoch != epoch or (turn, TIMER) < (limit.turn, limit.partition)

    # --- what a feeder gave

    def _dealing(self) -> Dealing:
        messages_max = SLICES_PER_PIECE * self.slice_records
        return Dealing(self.node, self._split, self._pack, messages_max=messages_max)

    def _pack(self, column: Column) -> bytes:
        return pack_column(column, self.pipeline.registry)

    def _take(self, feeder: int, dealing: Dealing) -> None:
        """Deal out what the pipeline's columns hold of this feeder."""
        outlets = self.pipeline.outlets
        inlets = [(index, columns) for index, columns in self.pipeline.columns.items() if feeder in columns]
        inlets += [(i, o.columns) for i, o in outlets.items() if feeder in o.columns]
        for index, columns in inlets:
            column = columns[feeder]
            if column.messages:
                dealing.give(index, self._encoded(index, column) if index in outlets else column)
            column.clear()
        self.pipeline.learn()
        if self.plan.replies:
            dealing.give(self.keeping.inlet, self.keeping.take(feeder))
        self.pipeline.skipped.settle()

    def _encoded(self, sink: int, column: Column) -> Column:
        """A sink's outputs as they are sent."""
        encoded = Column()
        messages = self.pipeline.outlets[sink].encoded(column.messages)
        if messages is None:
            raise ReturnNeededError(sink)
        encoded.keys, encoded.messages, encoded.positions = column.keys, messages, column.positions
        return encoded

    def _deal_out(self, epoch: OpenEpoch, feeder: int, dealing: Dealing, opening: Opening | None) -> Outgoing:
        """To each member what it is to apply or to deliver; the own part stays here."""
        by_node = dealing.close()
        epoch.exchange.put_own(feeder, dealing.own)
        return [
            (node, Stage(epoch.number, feeder, tuple(by_node.get(node, ())), opening))
            for node in self.members
            if node != self.node and self.reaches(feeder, node)
        ]

    def _split(self, inlet: int, column: Column) -> Mapping[str, Column]:
        """A column by the member that applies or delivers it."""
        if inlet == self.keeping.inlet:
            return self.keeping.split(column)
        if self.plan.steps[inlet].kind is Kind.STATEFUL:
            return self.routes.split(column)
        return self._by_owner(inlet, column)

    def _by_owner(self, sink: int, column: Column) -> dict[str, Column]:
        """A sink's outputs by the member that delivers them."""
        first = self.plan.sink_number[sink]
        if not column.keys:
            return {self.sink_owners[first]: column}
        parts: dict[str, Column] = {}
        for partition, output, position in zip(column.keys, column.messages, column.positions, strict=True):
            part = parts.setdefault(self.sink_owners[first + partition], Column())
            part.keys.append(partition)
            part.messages.append(output)
            part.positions.append(position)
        return parts

    def reaches(self, feeder: int, node: str) -> bool:
        """Whether this feeder's stages go to that member."""
        # Who has a sink, or gives answers, must know that no call of the epoch failed, whatever it would have given.
        if feeder == SOURCES or node in self.sink_owners or node in self.keeping.keepers.values():
            return True
        return any(self.plan.steps[i].kind is Kind.STATEFUL for i, own in self.plan.feeders.items() if feeder in own)

    # --- outputs

    def collect(self, epoch: OpenEpoch) -> bool:
        """Gather the outputs of the own sinks, once every member has applied every step.

        A sink that no failing step feeds would else get outputs of records behind the one at which everything stops.
        """
        if self.own_sinks and not epoch.exchange.has_all(self.all_feeders):
            return False
        for sink in self.own_sinks:
            column = joined(epoch.exchange.gather(sink, self._unpack))
            if column.messages:
                outputs = by_partition(column) if column.keys else {0: column.messages}
                first = self.plan.sink_number[sink]
                epoch.outputs += [(first + p, len(part), tuple(part)) for p, part in sorted(outputs.items())]
        return True


def _records_before(limit: Limit, part: Part) -> int:
    """Number of the first record of this part that does not lie before the limit; counted in its partition."""
    end = part.first + len(part.records)
    if part.turn != limit.turn:
        return end if part.turn < limit.turn else part.first
    if part.partition == limit.partition:
        return max(part.first, min(end, limit.number))
    return end if part.partition < limit.partition else part.first
