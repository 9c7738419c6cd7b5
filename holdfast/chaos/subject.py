"""What a world runs: an application with its input, its connectors replaced by simulated ones.

A subject is built anew for every process, as a start imports an application anew. The reference is given the
same build, so that a difference can only come from how it was run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from holdfast.chaos.inputs import Input, SimulatedSource, draw_arrivals, undecodable
from holdfast.chaos.options import Options
from holdfast.core.application import Application
from holdfast.core.connector import partitions_of_sink
from holdfast.core.copying import ATOMS, copy_value
from holdfast.core.plan import Plan
from holdfast.core.serial_order import At
from holdfast.core.types import TypeRegistry, collect
from holdfast.core.values import encode
from holdfast.runtime.fingerprint import functions_of

Records = Mapping[str, Mapping[str, Sequence[object]]]  # source -> partition -> records


@dataclass(frozen=True, slots=True)
class Subject:
    """An application and its input."""

    name: str
    build: Callable[[], Application]
    inputs: Records
    rests: bool = (
        True  # comes to rest when live sources fall silent; otherwise it is run with finite ones only
    )

    def records(self, options: Options) -> Records:
        """The input as the options want it: repeated, cut off, without its times, partly unreadable."""
        return {
            source: {
                name: [
                    _changed(record, number, options)
                    for number, record in enumerate(([*records] * options.copies)[: options.records_max])
                ]
                for name, records in partitions.items()
            }
            for source, partitions in self.inputs.items()
        }


def _changed(record: object, number: int, options: Options) -> object:
    if options.broken and number * 7919 % options.broken == options.broken - 1:
        return undecodable(b"record %d" % number)
    return record.record if options.untimed and isinstance(record, At) else record


class SimulatedSink:
    """Stands in for a sink of the application. Its outputs are lines of text for a file, otherwise values."""

    def __init__(self, sink: Any, kind: str, *, columns: bool) -> None:
        self.kind = kind
        self.partitions = partitions_of_sink(sink)
        if self.partitions is not None:
            self.by, self.partition_of = sink.by, sink.partition_of
        self._registry = TypeRegistry()
        if columns:
            self.encode_column = self._encode_column
            self.encode_each = self._encode_each

    def bind(self, registry: TypeRegistry) -> None:
        """Take the application's value types."""
        self._registry = registry

    def image(self, value: object) -> bytes:
        """One output as the verdict compares it."""
        return encode(value, self._registry).hex().encode() + b"\n"

    def encode(self, value: object) -> object:
        """One output as it is written."""
        return self.image(value) if self.kind == "file" else copy_value(value)

    def _encode_column(self, values: list[Any]) -> Any:
        if not set(map(type, values)) <= ATOMS:
            return None
        return b"".join(map(self.image, values)) if self.kind == "file" else values

    def _encode_each(self, values: list[Any]) -> Any:
        if not set(map(type, values)) <= ATOMS:
            return None
        return list(map(self.image, values)) if self.kind == "file" else values


class Build:
    """A subject as one process has it."""

    def __init__(
        self, subject: Subject, options: Options, sources: Mapping[str, SimulatedSource], *, mended: bool
    ) -> None:
        """`mended` makes an application that was stopped skip from now on what has stopped it."""
        self.application = subject.build()
        self.application.check()
        for step in self.application.sources:
            step.source = sources[step.name]
        for step in self.application.steps:
            if options.strict:
                step.on_error = "stop"
            if mended and step.on_error == "stop":
                step.on_error = "skip"
        for number, step in enumerate(self.application.sinks):
            kind = options.sinks[number % len(options.sinks)]
            step.sink = SimulatedSink(step.sink, kind, columns=options.columns)
        self.plan = Plan(self.application)
        self.sinks = [own.step.sink for own in self.plan.sink_partitions]  # one for each partition
        functions = [function for step in self.application.steps for _, function in functions_of(step)]
        self.registry = TypeRegistry(collect(functions, ()))
        for source in sources.values():
            source.bind(self.registry)
        for sink in self.sinks:
            sink.bind(self.registry)


def open_inputs(
    records: Records, options: Options, random: Random
) -> dict[str, tuple[SimulatedSource, list[Input]]]:
    """The partitions of every source, live or not as the options say; of several sources only some may be."""
    opened = {}
    names = list(records)
    live = {name for name in names if options.live and (random.random() < 0.7 or len(names) == 1)}
    if options.live and not live:
        live = {names[0]}
    for name in names:
        source = SimulatedSource(records[name], live=name in live)
        partitions = [
            Input(
                source,
                partition,
                draw_arrivals(random, len(part)) if source.live else (0.0,) * len(part),
                ends=options.ends or not source.live,
                notices_end=options.notices_end,
            )
            for partition, part in records[name].items()
        ]
        opened[name] = (source, partitions)
    return opened
