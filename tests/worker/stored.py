"""What a disk of the driver holds of the entities, to be compared with the reference's."""

from __future__ import annotations

from typing import Any

from holdfast.core import keys
from holdfast.core.application import Application
from holdfast.core.entities import canonical_of
from holdfast.core.images import unpack, unpack_row
from holdfast.core.reference import Reference
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.worker.record import Record
from tests.worker.drive import Disk

Stored = dict[tuple[str, bytes], tuple[bytes, dict[str, int]]]  # (step, canonical key) -> (image, timers)


def entities_on_disk(disk: Disk, registry: TypeRegistry) -> Stored:
    """From the rows and then the chunks: those of them that are folded say the same."""
    stored: Stored = {}
    if disk.record is not None:
        names = {space: name for name, space in Record.unpack(disk.record).spaces.items()}
        for (space, key), row in disk.entities.items():
            if row is not None:
                stored[names[space], key] = unpack_row(row)
    for _, chunk in disk.chunks:
        images = unpack(chunk, registry)
        if images.step.startswith("$"):
            continue
        for key in images.removed:
            stored.pop((images.step, canonical_of(key)), None)
        timers: list[dict[str, int]] = images.timers or [{} for _ in images.keys]
        for key, state, own in zip(images.keys, images.states, timers, strict=True):
            stored[images.step, canonical_of(key)] = (encode(state, registry), own)
    return stored


def entities_of(reference: Reference, app: Application, registry: TypeRegistry) -> Stored:
    """What the reference holds when it has run."""
    names: dict[int, Any] = {step.index: step.name for step in app.stateful_steps}
    return {
        (names[index], keys.canonical(entity.key)): (
            encode(entity.state, registry),
            {name: due for name, (due, _) in entity.timers.items()},
        )
        for index, entities in reference._entities.items()
        for entity in entities.values()
    }
