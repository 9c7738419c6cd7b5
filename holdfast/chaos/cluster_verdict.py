"""What a whole cluster has logged and held, read from its disks without its machines, for the verdict.

An epoch is a turn if some partition has an entry in it. What was trimmed anywhere is settled; of what is still held the
disk of the partition's primary tells, as the last recorded generation has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdfast.chaos.outputs import Violation
from holdfast.chaos.subject import Build, Records
from holdfast.chaos.verdict import Expected, Held
from holdfast.core.connector import Sent
from holdfast.core.entities import canonical_of
from holdfast.core.epochs import Cursor, EpochRow, LogEntry
from holdfast.core.failures import Origin
from holdfast.core.replies import Answer
from holdfast.core.replies import images_of as images_of_answer
from holdfast.core.senders import SEND_STEP
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import STORE
from holdfast.storage.partition_log import EntryRow
from holdfast.worker.holding import Holding

Row = tuple[int, int, int, bool]  # time of the entry, records, time of the chunk, ended


def entries_of(disk: MemoryDisk) -> Iterator[LogEntry]:
    """All entries that a disk holds."""
    for key, value in disk.store(STORE).contents.items():
        if key[0] == "entry":
            assert isinstance(value, LogEntry)
            yield value


def base_of(disk: MemoryDisk, partition: int) -> int | None:
    """Behind which epoch a disk's log of a partition begins; None where it has none."""
    log: Any = disk.store(STORE).contents.get(("log", partition))
    return None if log is None else log[1].epoch


def records_of(disk: MemoryDisk, partition: int) -> int:
    """Records of a partition that a disk's log has, with those trimmed."""
    found = 0
    for key, value in disk.store(STORE).contents.items():
        thing: Any = value
        if key[:2] == ("entry", partition):
            found = max(found, thing.chunk.first + thing.chunk.count)
        elif key == ("log", partition):
            base: Cursor = thing[1]
            found = max(found, base.number)
    return found


def has_checkpoint(disk: MemoryDisk, checkpoint: Checkpoint) -> bool:
    """Whether a disk has its part of a checkpoint, complete or prepared."""
    contents = disk.state.contents
    prepared: Any = contents.get(("prepared",), (0,))
    return checkpoint.number in (contents.get(("checkpoint",), 0), prepared[0])


class Ledger:
    """Rows of what was trimmed, from all disks there ever were."""

    def __init__(self) -> None:
        self._settled: dict[tuple[int, int], Row] = {}  # (epoch, partition) -> row

    def take(self, disk: MemoryDisk) -> None:
        """Note what a disk has trimmed; raise Violation where another has trimmed something else."""
        for key, value in disk.store(STORE).contents.items():
            if key[0] != "row":
                continue
            assert isinstance(value, EntryRow)
            place: Any = (key[2], key[1])
            row = (value.time, value.records, value.clock, value.ended)
            known = self._settled.setdefault(place, row)
            if known != row:
                raise Violation(f"epoch {place[0]}, partition {place[1]}: {known} was trimmed, and elsewhere {row}")

    def table(self, formation: Formation | None, disks: dict[str, MemoryDisk]) -> list[EpochRow]:
        """The epoch table of the whole cluster, as of the last generation."""
        found = dict(self._settled)
        for partition, holders in enumerate(formation.layout.partitions if formation is not None else ()):
            # A disk that has just been lost is not missed yet where nobody had the time to form another generation.
            disk = next((disks[node] for node in holders.all if node in disks), None)
            for entry in entries_of(disk) if disk is not None else ():
                chunk = entry.chunk
                if chunk.partition == partition:
                    found[entry.epoch, partition] = (entry.time, chunk.count, chunk.time, chunk.ended)
        table: list[EpochRow] = []
        time = 0
        for (epoch, partition), (entry_time, records, clock, ended) in sorted(found.items()):
            time = max(time, entry_time)
            part = (partition, records, clock, ended)
            if table and table[-1].number == epoch:
                table[-1] = EpochRow(epoch, time, (*table[-1].parts, part))
            else:
                table.append(EpochRow(epoch, time, (part,)))
        return table


def images_of(holding: Holding, registry: TypeRegistry) -> dict[int, Held]:
    """All that a member holds of each range, as primary or as backup, as of where it stands."""
    found: dict[int, Held] = {number: {} for number in holding.ranges if number not in holding.lacking}
    for step, lookup, place_key, state, timers in _entities(holding):
        number = holding.routes.of_step(step)(lookup)
        if number in found:
            found[number][step, place_key] = (encode(state, registry), tuple(sorted(timers.items())))
    return found


def _entities(holding: Holding) -> Iterator[tuple[str, Any, bytes, Any, dict[str, int]]]:
    for step, book in holding.books.items():
        for lookup, entity in book.entities.items():
            timers = {name: due for name, (due, _) in getattr(entity, "timers", {}).items()}
            yield step, lookup, canonical_of(lookup), entity.state, timers
    for step, images in holding.shadow.entities.items():
        for lookup, image in images.items():
            yield step, lookup, canonical_of(lookup), image.state, image.timers or {}


def judge_images(cut: int, ranges: Iterable[Held], expected: Expected) -> None:
    """Raise Violation unless what the cluster returned to is what the reference has there."""
    wanted = expected.cuts.get(cut)
    if wanted is None:
        return  # beyond the record that the reference stopped at
    held: Held = {}
    for images in ranges:
        held.update(images)
    for place in sorted(held.keys() | wanted.entities.keys()):
        if place[0].startswith(SEND_STEP):
            continue  # the reference keeps it in its own way; what senders are told shows it
        if held.get(place) != wanted.entities.get(place):
            raise Violation(
                f"at the cut {cut} entity {place} is {held.get(place)!r},"
                f" the reference has {wanted.entities.get(place)!r}"
            )


def judge_answers(
    answers: Mapping[tuple[int, int], Answer], build: Build, records: Records, expected: Expected
) -> None:
    """Raise Violation unless senders were answered what the reference replies; to repeats what the first time."""
    places = [(source, name) for source, parts in records.items() for name in parts]
    first: dict[tuple[str, str, int], list[Any]] = {}  # replies by source and id
    for origin, replies in expected.replies.items():
        assert origin.offset is not None
        record = records[origin.source][origin.partition][origin.offset]
        if isinstance(record, Sent):
            first[origin.source, record.producer, record.sequence] = replies
    for (partition, number), answer in sorted(answers.items()):
        source, name = places[partition]
        record = records[source][name][number]
        replies = expected.replies.get(Origin(source, name, number), [])
        if isinstance(record, Sent):
            replies = first.get((source, record.producer, record.sequence), [])
        wanted = tuple(encode(reply, build.registry) for reply in replies)
        if images_of_answer(answer) != wanted:
            raise Violation(f"record {number} of {source}/{name} was answered {answer!r}, wanted is {wanted!r}")
