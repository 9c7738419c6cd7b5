"""What all disks hold of a checkpoint at the moment when it begins to count, read without the machines.

A start loads it only if every process was killed at once; whatever is wrong in it would stay hidden until then. So each
one that counts is read: every holder has its part whole, all say the same of a range and of the sinks, and that is what
the reference has at the cut. Not here: when a checkpoint counts (cluster_invariants), and what was delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from holdfast.chaos.cluster_invariants import ClusterInvariants
from holdfast.chaos.cluster_verdict import entries_of, has_checkpoint
from holdfast.chaos.outputs import Violation
from holdfast.chaos.verdict import Expected, Held, Place
from holdfast.core.entities import canonical_of
from holdfast.core.images import unpack
from holdfast.core.senders import SEND_STEP
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.replication.routes import Routes
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker.checkpoint import SINK_STEP
from holdfast.worker.holding import VOID_STEP
from holdfast.worker.member_record import MemberRecord

Image = tuple[bytes, tuple[tuple[str, int], ...]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as it changes what a start loads."""

    step: str
    void: frozenset[int] = frozenset()
    numbers: dict[Any, int] = field(default_factory=dict)  # outputs by sink
    removed: tuple[tuple[int, Place], ...] = ()
    images: tuple[tuple[int, Place, Image], ...] = ()  # range, place, image


@dataclass(slots=True)
class Part:
    """One member's part of a checkpoint, as a start would load it."""

    record: MemberRecord
    images: dict[int, Held]  # by range
    numbers: dict[Any, int]


class Audit:
    """Every checkpoint of one world that counts."""

    def __init__(self, invariants: ClusterInvariants, ranges: int, registry: TypeRegistry) -> None:
        self.numbers: dict[int, dict[Any, int]] = {}  # epoch of a checkpoint -> outputs of each sink up to it
        self._invariants = invariants
        self._routes = Routes(ranges)
        self._registry = registry
        self._chunks: dict[bytes, Chunk] = {}

    def counts(self, checkpoint: Checkpoint, formation: Formation) -> None:
        """A checkpoint counts from now on: raise Violation unless its holders could all go on from it."""
        self._check_ended(checkpoint, formation)
        parts: dict[str, Part] = {}
        for name, _ in checkpoint.holders:
            node = self._invariants.node(name)
            if node is None:
                continue  # its disk was lost since
            if not has_checkpoint(node.disk, checkpoint):
                raise Violation(f"checkpoint {checkpoint.number} counts, and {name} does not have it")
            parts[name] = self._load(node.disk, checkpoint.number)
        self._check_images(checkpoint, parts)
        for one, other in pairwise(parts.items()):
            self._check_alike(checkpoint, one, other)
        if parts and checkpoint.limit is None:
            self.numbers[checkpoint.epoch] = next(iter(parts.values())).numbers

    def _check_images(self, checkpoint: Checkpoint, parts: Mapping[str, Part]) -> None:
        # Inside an epoch there is nothing that the reference could be asked for.
        known = self._invariants.images.setdefault(checkpoint.epoch, {}) if checkpoint.limit is None else {}
        for name, part in parts.items():
            for number in checkpoint.held_by(name):
                held = part.images.get(number, {})
                if known.setdefault(number, held) != held:
                    raise Violation(
                        f"I8: range {number} in checkpoint {checkpoint.number} at {checkpoint.epoch} is {held}"
                        f" at {name}, and elsewhere it is {known[number]}"
                    )

    def _check_ended(self, checkpoint: Checkpoint, formation: Formation) -> None:
        """Where all sources are said to have ended, no records follow. (A timer that was due meanwhile may.)"""
        if not checkpoint.ended or checkpoint.limit is not None:  # behind a stop all records may be logged
            return
        for name in {node for holders in formation.layout.partitions for node in holders.all}:
            node = self._invariants.node(name)
            entries = entries_of(node.disk) if node is not None else ()
            behind = [entry.epoch for entry in entries if entry.epoch > checkpoint.epoch and entry.chunk.count]
            if behind:
                raise Violation(f"checkpoint {checkpoint.number} is the end at {checkpoint.epoch}; {name} has {behind}")

    @staticmethod
    def _check_alike(checkpoint: Checkpoint, one: tuple[str, Part], other: tuple[str, Part]) -> None:
        for what, first, second in (
            ("the cut", one[1].record.epoch, other[1].record.epoch),
            ("the time", one[1].record.time, other[1].record.time),
            ("where it ends early", one[1].record.limit, other[1].record.limit),
            ("the sinks", one[1].numbers, other[1].numbers),
        ):
            if first != second:
                raise Violation(
                    f"checkpoint {checkpoint.number}: {what} is {first} at {one[0]} and {second} at {other[0]}"
                )

    def judge(self, expected: Expected) -> None:
        """Raise Violation unless the sinks stood at each checkpoint where the reference has them."""
        for epoch, numbers in self.numbers.items():
            cut = expected.cuts.get(epoch)
            if cut is not None and cut.outputs != numbers:
                raise Violation(f"checkpoint at {epoch}: outputs {numbers}, the reference has {cut.outputs}")

    # --- reading it

    def _load(self, disk: MemoryDisk, number: int) -> Part:
        contents: Any = disk.state.contents
        prepared = contents.get(("prepared",), (0, 0, b""))
        packed = prepared[2] if prepared[0] == number else contents[("record",)]
        counted = {key[1] for key in contents if key[0] == "manifest"} | {number}
        part = Part(MemberRecord.unpack(packed), {}, {})
        for key in sorted(key for key in contents if key[0] == "chunk" and key[1] in counted):
            self._take(part, self._read(contents[key]))
        return part

    @staticmethod
    def _take(part: Part, chunk: Chunk) -> None:
        part.numbers |= chunk.numbers
        for number in chunk.void:
            part.images.pop(number, None)
        for number, place in chunk.removed:
            part.images.get(number, {}).pop(place, None)
        for number, place, image in chunk.images:
            part.images.setdefault(number, {})[place] = image

    def _read(self, packed: bytes) -> Chunk:
        found = self._chunks.get(packed)
        if found is None:
            found = self._chunks[packed] = self._unpack(packed)
        return found

    def _unpack(self, packed: bytes) -> Chunk:
        images = unpack(packed, self._registry)
        step, states = images.step, images.states
        if step == VOID_STEP:
            return Chunk(step, void=frozenset(images.keys))
        if step == SINK_STEP:
            return Chunk(step, numbers={name: state[0] for name, state in zip(images.keys, states, strict=True)})
        if step.startswith("$") and not step.startswith(SEND_STEP):
            return Chunk(step)
        range_of = self._routes.of_step(step)
        timers = images.timers if images.timers is not None else [{}] * len(states)
        return Chunk(
            step,
            removed=tuple((range_of(lookup), (step, canonical_of(lookup))) for lookup in images.removed),
            images=tuple(
                (range_of(lookup), (step, canonical_of(lookup)), self._image(state, due))
                for lookup, state, due in zip(images.keys, states, timers, strict=True)
            ),
        )

    def _image(self, state: Any, timers: Mapping[str, int]) -> Image:
        return encode(state, self._registry), tuple(sorted(timers.items()))
