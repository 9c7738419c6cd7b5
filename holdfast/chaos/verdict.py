"""Whether a world kept the promise: its outputs, and what its starts found, against the reference.

The reference gets the same input and the epoch table that the log kept: cuts and times are the world's, all
else follows. What a start finds on the disk is read here without the machine, and compared with the
reference's entities, positions and output numbers at that cut; so a checkpoint that is wrong is found even
where no output would show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.chaos.outputs import Output, Violation
from holdfast.chaos.subject import Build, Records
from holdfast.core import keys
from holdfast.core.entities import canonical_of
from holdfast.core.epochs import EpochRow
from holdfast.core.errors import HoldfastError
from holdfast.core.failures import Failure, Origin
from holdfast.core.images import unpack, unpack_row
from holdfast.core.reference import Outputs, Reference, RunStoppedError
from holdfast.core.senders import SEND_STEP
from holdfast.core.turns import ROUND
from holdfast.core.values import encode
from holdfast.storage.memory import MemoryState
from holdfast.worker.checkpoint import SINK_STEP, SOURCE_STEP, Record

Place = tuple[str, bytes]  # step, canonical key
Held = dict[Place, tuple[bytes, tuple[tuple[str, int], ...]]]  # image, timers


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete checkpoint as the disk held it."""

    record: Record
    chunks: list[bytes]
    rows: list[tuple[int, bytes, bytes]]

    @property
    def epoch(self) -> int:
        """Where its cut was made."""
        return self.record.epoch

    @classmethod
    def take(cls, record: Record, state: MemoryState) -> Snapshot:
        """What stands there now."""
        return cls(record, [chunk for _, chunk in state.chunks()], list(state.all_rows()))


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the reference stood between two turns."""

    entities: Held
    outputs: dict[str | bytes, int]  # name of a sink's partition -> how many


@dataclass(frozen=True, slots=True)
class Expected:
    """What the reference says."""

    outputs: list[list[bytes]]  # per sink, in order
    error: str | None  # of the record that it stopped at …
    others: frozenset[str]  # … and of other calls that fail in the wake of that record
    cuts: dict[int, Cut]  # by epoch, of those that were asked for and reached
    replies: dict[Origin, list[Any]]  # by record


class WatchedReference(Reference):
    """Notes where it stands before some of its turns."""

    def __init__(self, build: Build, wanted: Mapping[int, int]) -> None:
        """`wanted` is turn -> epoch that is over when the turn begins."""
        super().__init__(build.application)
        self.cuts: dict[int, Cut] = {}
        self._registry = build.registry
        self._partitions = build.plan.sink_partitions
        self._wanted = wanted
        self._turn = 0
        self.failed: list[tuple[Failure, Outputs, Exception]] = []  # calls in the wake of one record, the first first

    def note(self) -> None:
        """A turn begins, or all are over."""
        self._end_failed()
        if self._turn in self._wanted:
            self.cuts[self._wanted[self._turn]] = Cut(
                self._held(), {own.name: len(own.of(self.outputs[own.step.name])) for own in self._partitions}
            )
        self._turn += 1

    def _stop(self, failure: Failure, error: Exception) -> None:
        """What the record gives besides is worked off, only to learn which other calls fail."""
        outputs = {name: values[: self._before[name]] for name, values in self.outputs.items()}
        self.failed.append((failure, outputs, error))

    def _end_failed(self) -> None:
        if self.failed:
            failure, outputs, error = self.failed[0]
            raise RunStoppedError(failure, outputs) from error

    def _mark_outputs(self) -> None:
        self._end_failed()
        super()._mark_outputs()

    def _fire_timers(self, time: int) -> None:
        self.note()
        super()._fire_timers(time)

    def _held(self) -> Held:
        return {
            (self._steps[index].name, keys.canonical(entity.key)): (
                encode(entity.state, self._registry),
                tuple(sorted((name, due) for name, (due, _) in entity.timers.items())),
            )
            for index, entities in self._entities.items()
            for entity in entities.values()
        }


def expect(build: Build, records: Records, rows: Sequence[EpochRow], epochs: set[int]) -> Expected:
    """Run the reference over what was logged; it notes where it stands after `epochs`."""
    reference = WatchedReference(build, _turns_after(rows, epochs, live=build.plan.live))
    error = None
    try:
        outputs = reference.run(records, rows)
        reference.note()
    except RunStoppedError as stopped:
        outputs, error = stopped.outputs, str(stopped)
    others = frozenset(str(failure.stopped()) for failure, _, _ in reference.failed[1:])
    images = [
        [own.step.sink.image(value) for value in own.of(outputs[own.step.name])]
        for own in build.plan.sink_partitions
    ]
    return Expected(images, error, others, reference.cuts, reference.replies)


def _turns_after(rows: Sequence[EpochRow], epochs: set[int], *, live: bool) -> dict[int, int]:
    """Turn -> the epoch after which it begins."""
    found = {}
    turn = 0
    for row in rows:
        turn += 1 if live else max((-(-count // ROUND) for _, count, _, _ in row.parts), default=0)
        if row.number in epochs:
            found[turn] = row.number
    return found


def judge_rounds(rows: Sequence[EpochRow], lengths: Sequence[int]) -> None:
    """Raise Violation unless each epoch took whole rounds, as many of every partition."""
    left = list(lengths)
    for row in rows:
        counts = {partition: count for partition, count, _, _ in row.parts}
        rounds = max((-(-count // ROUND) for count in counts.values()), default=0)
        for partition, remaining in enumerate(left):
            if counts.get(partition, 0) != min(remaining, rounds * ROUND):
                raise Violation(f"epoch {row.number} splits a round: {counts}, left before it were {left}")
        left = [remaining - counts.get(partition, 0) for partition, remaining in enumerate(left)]


def judge_outputs(outputs: Sequence[Output], expected: Expected, *, whole: bool) -> None:
    """Raise Violation with the first difference; a prefix is enough where not `whole`."""
    for number, (output, images) in enumerate(zip(outputs, expected.outputs, strict=True)):
        try:
            output.check(images, whole=whole)
        except Violation as violation:
            raise Violation(f"sink {number}: {violation}") from violation


def judge_error(error: HoldfastError | None, expected: Expected) -> None:
    """Raise Violation unless the world stopped where the reference did."""
    found = None if error is None else str(error)
    if found != expected.error:
        raise Violation(f"ended with {found!r}, the reference with {expected.error!r}")


def judge_snapshot(build: Build, snapshot: Snapshot, rows: Sequence[EpochRow], expected: Expected) -> None:
    """Raise Violation unless a checkpoint holds what the reference has at its cut."""
    cut = expected.cuts.get(snapshot.epoch)
    if cut is None:
        return  # beyond the record that the reference stopped at
    held, numbers, positions = _read(build, snapshot)
    for place in sorted(held.keys() | cut.entities.keys()):
        if held.get(place) != cut.entities.get(place):
            raise Violation(
                f"checkpoint at epoch {snapshot.epoch}: entity {place} is {held.get(place)!r},"
                f" the reference has {cut.entities.get(place)!r}"
            )
    if numbers != cut.outputs:
        raise Violation(
            f"checkpoint at epoch {snapshot.epoch}: outputs {numbers}, the reference has {cut.outputs}"
        )
    logged: dict[int, int] = {}
    for row in rows[: snapshot.epoch]:
        for partition, count, _, _ in row.parts:
            logged[partition] = logged.get(partition, 0) + count
    if positions != logged:
        raise Violation(f"checkpoint at epoch {snapshot.epoch}: positions {positions}, the log has {logged}")


def _read(build: Build, snapshot: Snapshot) -> tuple[Held, dict[str | bytes, int], dict[int, int]]:
    """Entities, output numbers and positions of a checkpoint: its rows and then its chunks, oldest first."""
    held: Held = {}
    numbers: dict[str | bytes, int] = {}
    positions: dict[int, int] = {}
    names = {space: step for step, space in snapshot.record.spaces.items()}
    for space, canonical, row in snapshot.rows:
        image, set_there = unpack_row(row)
        held[names[space], canonical] = (image, tuple(sorted(set_there.items())))
    for chunk in snapshot.chunks:
        images = unpack(chunk, build.registry)
        states: list[Any] = images.states
        if images.step == SINK_STEP:
            numbers.update({name: number for name, (number, _) in zip(images.keys, states, strict=True)})
        elif images.step == SOURCE_STEP:
            positions.update(
                {index: position[0] for index, position in zip(images.keys, states, strict=True)}
            )
        elif not images.step.startswith(SEND_STEP):  # what is told to senders is an invariant of its own
            timers: list[dict[str, int]] = images.timers if images.timers is not None else [{}] * len(states)
            for key, state, own in zip(images.keys, states, timers, strict=True):
                held[images.step, canonical_of(key)] = (
                    encode(state, build.registry),
                    tuple(sorted(own.items())),
                )
            for key in images.removed:
                held.pop((images.step, canonical_of(key)), None)
    return held, numbers, positions
