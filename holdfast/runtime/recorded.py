"""What a run was given, as the reference wants it: the records of every partition and the epoch table.

Finite inputs are read again where they lie, independently of the log, as far as they were read; what live sources gave
is found in the log alone, which such a run must not have trimmed (`Options.keep_log`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from holdfast.connectors.intake import results_are_logged
from holdfast.core.application import Application
from holdfast.core.epochs import EpochRow
from holdfast.core.plan import Plan
from holdfast.core.serial_order import At
from holdfast.core.types import TypeRegistry
from holdfast.runtime.cluster_recorded import epoch_table, logged
from holdfast.runtime.engine_thread import bind, known_types
from holdfast.runtime.intake import FiniteIntake
from holdfast.runtime.ledger import Ledger
from holdfast.runtime.state_writer import HINTS
from holdfast.storage.directory import DataDirectory
from holdfast.storage.log import Log

READ_RECORDS = 4096
READ_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """The inputs of a run; its application's connectors are bound to `registry`."""

    registry: TypeRegistry
    inputs: dict[str, dict[str, list[Any]]]  # source -> partition -> records as the first step gets them
    epochs: list[EpochRow]

    @property
    def total(self) -> int:
        """How many records there are."""
        return sum(len(records) for parts in self.inputs.values() for records in parts.values())


def recorded(data: Path, app: Application, lost: Sequence[Path] = ()) -> Recorded:
    """Read what the run in this data directory was given; `lost` are directories of workers that it has lost."""
    plan = Plan(app)
    own = data / "application" if (data / "application").is_dir() else data
    with DataDirectory.open(own, create=False) as directory:
        ledger = Ledger.read(directory.state)
        assert ledger is not None, "a run that has ended knows its application"
        hints = cast("dict[str, str]", directory.state.get_meta(HINTS) or {})
        registry = TypeRegistry(known_types(plan), hints)
        bind(plan, registry)
        epochs = list(directory.log.rows()) if own == data else epoch_table(data, len(ledger.partitions), lost)
        counts = [0] * len(ledger.partitions)
        for row in epochs:
            for partition, count, _, _ in row.parts:
                counts[partition] += count
        sources = {step.name: step.source for step in plan.sources}
        inputs: dict[str, dict[str, list[Any]]] = {}
        for index, (source, name) in enumerate(ledger.partitions):
            blocks = (
                (_from_log(directory.log, index) if own == data else logged(data, index))
                if sources[source].live or results_are_logged(sources[source])
                else _from_input(sources[source], name, counts[index])
            )
            records = [record for raw in blocks for record in _decode(sources[source], raw)]
            inputs.setdefault(source, {})[name] = records
    return Recorded(registry, inputs, epochs)


def _from_input(source: Any, partition: str, count: int) -> Iterator[bytes]:
    intake = FiniteIntake(0, source.open(partition, None))
    try:
        while count > 0:
            block = intake.ask(min(count, READ_RECORDS))
            assert block.count, "the input has fewer records than were logged"
            count -= block.count
            yield block.raw
    finally:
        intake.close()


def _from_log(log: Log, partition: int) -> Iterator[bytes]:
    after = 0
    while after < log.tail():
        for epoch in log.read(after, READ_BYTES):
            after = epoch.number
            yield from (chunk.raw for chunk in epoch.chunks if chunk.partition == partition)


def _decode(source: Any, raw: bytes) -> Sequence[Any]:
    """Records as the first step gets them, with their own times where the source has any."""
    records = source.decode(raw)
    times = source.times(records)
    if times is None:
        return cast("Sequence[Any]", records)
    return [record if time is None else At(time, record) for time, record in zip(times, records, strict=True)]
