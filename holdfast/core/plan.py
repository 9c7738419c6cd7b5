"""The plan of an application: its segments, and what flows between them.

A segment is a source or a stateful step with the stateless steps behind it, up to the next inlets; an inlet is a
stateful step or a sink. Inside a segment work goes depth-first; between segments messages travel as columns, and that
is where they change worker when there are several.
An inlet fed by more than one segment merges by position; all sources count as one feeder, because they run in order.
The plan is made of the application's data alone; `segments` turns it into functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.application import Application
from holdfast.core import keys
from holdfast.core.connector import is_live, partitions_of_sink
from holdfast.core.steps import Kind, Step

SOURCES = -1  # the feeder that all sources are


@dataclass(slots=True)
class Segment:
    """One source or stateful step with the stateless steps behind it."""

    entry: Step
    feeder: int  # SOURCES, or the index of the stateful step
    reached: Counter[int] = field(default_factory=Counter)  # steps behind the entry -> on how many ways
    inlets: set[int] = field(default_factory=set)
    has_flat_map: bool = False
    leads_on: bool = False  # to a stateful step


@dataclass(frozen=True, slots=True)
class SinkPartition:
    """One sequence of outputs, numbered on its own: a sink, or a partition of one."""

    step: Step
    partition: int | None  # None: the sink is one sequence

    @property
    def name(self) -> str | bytes:
        """The key of its entity, which is a system step's."""
        if self.partition is None:
            return self.step.name
        return keys.canonical((self.step.name, self.partition))

    def of(self, outputs: Sequence[Any]) -> Sequence[Any]:
        """The outputs of the sink that belong here."""
        if self.partition is None:
            return outputs
        return [output for output in outputs if self.step.sink.partition_of(output) == self.partition]


class Plan:
    """Segments, inlets and their feeders, in order of definition (which is an order of dependence)."""

    def __init__(self, app: Application, connectors: Mapping[int, Any] | None = None) -> None:
        """`connectors` replaces sources and sinks, by step index: a user's own adapted, a file redirected."""
        app.check()
        self.app = app
        self._connectors = dict(connectors or {})
        self.steps: list[Step] = list(app.steps)
        self.sources = [s for s in self.steps if s.kind is Kind.SOURCE]
        self.stateful = [s for s in self.steps if s.kind is Kind.STATEFUL]
        # Stateful step -> the name that its entities are stored under; a data directory may know another (ledger).
        self.stored_names = {s.name: s.name for s in self.stateful}
        self.sinks = [s for s in self.steps if s.kind is Kind.SINK]
        self.sink_partitions = [own for step in self.sinks for own in self._partitions_of(step)]
        self.sink_number: dict[int, int] = {}  # sink step -> number of its first partition among all
        for number, own in enumerate(self.sink_partitions):
            self.sink_number.setdefault(own.step.index, number)
        self.live = any(is_live(self.connector(s)) for s in self.sources)
        self.segments = [self._segment(s) for s in self.sources + self.stateful]
        self.feeders: dict[int, list[int]] = {s.index: [] for s in self.stateful + self.sinks}
        for segment in self.segments:
            for inlet in sorted(segment.inlets):
                if segment.feeder not in self.feeders[inlet]:
                    self.feeders[inlet].append(segment.feeder)
        self.replies = any(s.kind is Kind.REPLY for s in self.steps)
        self.timed = any(s.on_timer is not None for s in self.stateful)
        self.uses_context = any(s.takes_ctx or s.on_timer is not None for s in self.stateful)
        self.merges = any(len(feeders) > 1 for feeders in self.feeders.values())

    @property
    def needs_positions(self) -> bool:
        """Whether positions must be made real although one worker runs everything."""
        return self.merges or self.uses_context or self.replies

    @property
    def numbers_suffice(self) -> bool:
        """Whether members can merge by one number a message, given behind the sources, instead of by whole positions.

        All that a message causes shares its number. That is enough in front of a sink, where it stands together anyway;
        messages of one number for several keys would part, and not find back into their order.
        """
        return not self.needs_positions and not any(map(_fans_out, self.segments))

    def connector(self, step: Step) -> Any:
        """The source or sink of this step, as it is to be used here."""
        return self._connectors.get(step.index, step.source if step.kind is Kind.SOURCE else step.sink)

    def _partitions_of(self, sink: Step) -> list[SinkPartition]:
        count = partitions_of_sink(self.connector(sink))
        return [SinkPartition(sink, number) for number in ([None] if count is None else range(count))]

    def consumers(self, step: Step, output: int = 0) -> list[Step]:
        """The steps that read this output, in order of definition."""
        return [self.steps[index] for index in step.consumers[output]]

    def _segment(self, entry: Step) -> Segment:
        segment = Segment(entry, SOURCES if entry.kind is Kind.SOURCE else entry.index)
        waiting = [entry]
        while waiting:
            step = waiting.pop()
            self._add_dead_letters(step, segment)
            for output in range(len(step.consumers)):
                for consumer in self.consumers(step, output):
                    segment.reached[consumer.index] += 1
                    segment.has_flat_map |= consumer.kind is Kind.FLAT_MAP
                    segment.leads_on |= consumer.kind is Kind.STATEFUL
                    if consumer.kind in (Kind.STATEFUL, Kind.SINK):
                        segment.inlets.add(consumer.index)
                        self._add_dead_letters(consumer, segment, only_sinks=True)
                    elif segment.reached[consumer.index] == 1:
                        waiting.append(consumer)
        return segment

    def _add_dead_letters(self, step: Step, segment: Segment, *, only_sinks: bool = False) -> None:
        """Where this step's failures go is an inlet of the segment that calls it; a sink's encode is called here."""
        if isinstance(step.on_error, Step) and not (only_sinks and step.kind is not Kind.SINK):
            segment.inlets.add(step.on_error.index)


def _fans_out(segment: Segment) -> bool:
    """Whether one message of a stateful step may become several in front of another one."""
    if segment.entry.kind is not Kind.STATEFUL or not segment.leads_on:
        return False
    return segment.entry.is_generator or segment.has_flat_map or max(segment.reached.values()) > 1
