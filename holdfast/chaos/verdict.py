"""Whether a world kept the promise: its outputs, byte for byte, and its entities against the reference's.

The reference gets the same input and the epoch table that the log kept: cuts and times are the world's, all else follows.
Entities are read from the disk, without the machine: what the last complete checkpoint holds is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.chaos.outputs import Output, Violation
from holdfast.chaos.subject import Build, Records
from holdfast.core import keys
from holdfast.core.entities import canonical_of, user_key
from holdfast.core.epochs import EpochRow
from holdfast.core.errors import HoldfastError
from holdfast.core.images import unpack
from holdfast.core.reference import Reference, RunStoppedError
from holdfast.core.values import decode, encode
from holdfast.storage.memory import MemoryState
from holdfast.worker.fold import row_space

SYSTEM = "$"  # names of steps that begin so are the system's own


@dataclass(frozen=True, slots=True)
class Expected:
    """What the reference says."""

    outputs: list[list[bytes]]  # per sink, in order
    error: str | None  # of the record that it stopped at
    reference: Reference


def expect(build: Build, records: Records, rows: Sequence[EpochRow]) -> Expected:
    """Run the reference over what was logged."""
    reference = Reference(build.application)
    error = None
    try:
        outputs = reference.run(records, rows)
    except RunStoppedError as stopped:
        outputs, error = stopped.outputs, str(stopped)
    images = [
        [step.sink.image(value) for value in outputs[step.name]] for step in build.application.sinks
    ]
    return Expected(images, error, reference)


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


def judge_entities(build: Build, state: MemoryState, reference: Reference) -> None:
    """Raise Violation unless the checkpoint holds exactly the reference's entities."""
    names = {step.index: step.name for step in build.application.stateful_steps}
    wanted = {
        (names[index], keys.canonical(entity.key)): encode(entity.state, build.registry)
        for index, entities in reference._entities.items()
        for entity in entities.values()
    }
    found = {
        (step, canonical_of(lookup)): encode(entity_state, build.registry)
        for (step, lookup), entity_state in entities_on_disk(build, state).items()
    }
    if found == wanted:
        return
    for place in sorted(wanted.keys() | found.keys()):
        if wanted.get(place) != found.get(place):
            raise Violation(f"entity {place}: {found.get(place)!r} on disk, {wanted.get(place)!r} in the reference")


def entities_on_disk(build: Build, state: MemoryState) -> dict[tuple[str, Any], Any]:
    """(step, lookup key) -> state, from rows and then the chunks: those of them that are folded say the same."""
    entities: dict[tuple[str, Any], Any] = {}
    names = {row_space(step.name): step.name for step in build.application.stateful_steps}
    for space, canonical, image in state.all_rows():
        lookup = keys.lookup(user_key(canonical, build.registry))
        entities[names[space], lookup] = decode(image, build.registry)
    for _, chunk in state.chunks():
        images = unpack(chunk, build.registry)
        if images.step.startswith(SYSTEM):
            continue
        entities.update(zip([(images.step, key) for key in images.keys], images.states, strict=True))
        for key in images.removed:
            entities.pop((images.step, key), None)
    return entities
