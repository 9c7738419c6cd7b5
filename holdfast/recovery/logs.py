"""Which log of each source partition a generation adopts, who has it, and where replay ends.

Invariant: nothing that was durable is left out, whichever copy is adopted: only copies count that every durable entry
had to wait for. So no two generations adopt different entries for a durable epoch.
Not here: the comparing itself (`lineages`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.core.epochs import Lineage
from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.recovery.lineages import EMPTY, Spans, agreement, cut_off, kept
from holdfast.recovery.testimony import Reporter, Reporters, Shape, Wait, listed


@dataclass(frozen=True, slots=True)
class Adopted:
    """The log of one partition as it is adopted, and who has how much of it."""

    generation: int
    tail: int  # cut off at the level
    spans: Spans
    counted: frozenset[str]  # nodes that have everything of it that was durable
    whole: frozenset[str]  # nodes that have all of it


@dataclass(frozen=True, slots=True)
class Logs:
    """The adopted logs, by partition."""

    level: int  # replay ends with this epoch
    adopted: tuple[Adopted, ...]


def choose_logs(
    record: Formation | None, checkpoint: Checkpoint | None, reporters: Reporters, shape: Shape, cut: int
) -> Logs | Wait:
    """The logs that a generation goes on with from this cut."""
    chosen: list[tuple[Lineage, frozenset[str]]] = []
    for partition in range(shape.partitions):
        counted = {
            node: as_adopted(record, node, reporter, partition)
            for node, reporter in reporters.items()
            if counts(record, checkpoint, node, reporter, partition)
            # A log that begins behind the cut can't say what comes next after it.
            and lineage(reporter, partition).base.epoch <= cut
        }
        if not counted:
            assert record is not None
            others = [node for node in record.layout.partitions[partition].all if node not in reporters]
            return Wait(f"the log of source partition {partition} has no living holder: waiting for {listed(others)}")
        # Any of them would do, since durable needed all; the newest makes the least work to be done again.
        newest = max(counted.values(), key=lambda own: (own.adopted, own.tail))
        chosen.append((newest, frozenset(counted)))
    level = level_of([newest for newest, _ in chosen], cut, live=shape.live)
    adopted = [
        _adopted(partition, newest, counted, reporters, cut=cut, level=level)
        for partition, (newest, counted) in enumerate(chosen)
    ]
    return Logs(level, tuple(adopted))


def _adopted(
    partition: int, newest: Lineage, counted: frozenset[str], reporters: Reporters, *, cut: int, level: int
) -> Adopted:
    tail = min(newest.tail, level)
    spans = cut_off(newest.spans, tail)
    whole = [
        node
        for node, reporter in reporters.items()
        if _is_whole(lineage(reporter, partition), spans, tail, cut, counted=node in counted)
    ]
    return Adopted(newest.adopted, tail, spans, counted, frozenset(whole))


def _is_whole(own: Lineage, spans: Spans, tail: int, cut: int, *, counted: bool) -> bool:
    if counted and tail <= cut:
        return True  # what lies before the cut was durable
    if own.base.epoch > cut or agreement(own, spans) < tail:
        return False
    # What a copy from outside the list has beyond that is cut off; before the cut nobody would (`lineages.kept`).
    return counted or agreement(own, spans) >= min(own.tail, cut)


def lineage(reporter: Reporter, partition: int) -> Lineage:
    """What a disk has of a partition's log; a holder that has none yet holds an empty one from the beginning."""
    return dict(reporter.report.logs).get(partition, EMPTY)


def as_adopted(record: Formation | None, node: str, reporter: Reporter, partition: int) -> Lineage:
    """A counted copy as it would be if the node had adopted the recorded generation.

    One that was put on the list then because it had the adopted log may have more, from a generation in which it was
    listed long ago; what became durable since may contradict it.
    """
    own = lineage(reporter, partition)
    if record is None or partition >= len(record.layout.partitions) or own.adopted >= record.number:
        return own
    tail = min(own.tail, max(kept(record, node, partition, own), own.base.epoch))
    return replace(own, tail=tail, spans=cut_off(own.spans, tail), ended=own.ended and tail == own.tail)


def counts(
    record: Formation | None, checkpoint: Checkpoint | None, node: str, reporter: Reporter, partition: int
) -> bool:
    """Whether everything durable of the partition is in this node's copy of its log.

    Nothing becomes durable before all holders listed in the generation have it; so a copy counts that was listed, and
    none from outside the list, however long it is. One that was listed for the first time counts only once it has what
    was adopted then: what had been durable before is in the others' copies.
    """
    if record is None or partition >= len(record.layout.partitions):
        return True  # nothing was ever logged
    if node not in record.layout.partitions[partition].all:
        return False
    if partition not in record.lacks_logs(node):
        return True
    if checkpoint is not None and checkpoint.generation == record.number:
        return True  # none is ordered before every holder has caught up (`rounds`)
    _, tail = record.logs[partition]
    return agreement(lineage(reporter, partition), record.spans[partition]) >= tail


def level_of(adopted: list[Lineage], cut: int, *, live: bool) -> int:
    """The epoch with which replay ends: new input enters later ones only, or a sealed epoch would get a second content.

    Live sources: every entry is kept, and shorter logs are empty up to there. Finite ones take whole rounds of every
    partition in each epoch; one that some partition lost is given up and read again, it was durable nowhere.
    """
    tails = [own.tail for own in adopted]
    if live or all(own.ended for own in adopted):
        return max(cut, *tails, 0)
    return max(cut, min(own.tail for own in adopted if not own.ended))
