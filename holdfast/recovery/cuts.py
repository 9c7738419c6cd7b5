"""Which cut a generation goes on from, and who has the images of which range there.

Invariant: the cut was sealed in the recorded generation or is that generation's own, and every range has somebody who
held it through all that could have been sealed since; or else it is the last complete checkpoint, on disks. It never
lies before the last complete checkpoint.
Not here: logs (`logs`), and who is to hold what (`layout`).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from holdfast.recovery.generation import Checkpoint, Formation
from holdfast.recovery.testimony import Reporter, Reporters, Wait, is_member, listed, runs


@dataclass(frozen=True, slots=True)
class Ground:
    """A cut, and by range the nodes that have its images there."""

    cut: int
    in_memory: bool
    holding: tuple[frozenset[str], ...]
    informed: frozenset[str]  # nodes that know where the sinks stood there


def choose_cut(
    record: Formation | None, checkpoint: Checkpoint | None, reporters: Reporters, ranges: int
) -> Ground | Wait:
    """The newest cut that is safe to return to."""
    if record is not None:
        cut = newest_sealed(record, checkpoint, reporters)
        # A checkpoint in the middle of an epoch is nowhere but on disks.
        if checkpoint is None or checkpoint.limit is None or cut > checkpoint.epoch:
            holding = in_memory(record, reporters, cut, ranges)
            if all(holding):
                informed = {node for node, reporter in reporters.items() if remembers(record, node, reporter, cut)}
                return Ground(cut, True, holding, frozenset(informed))
    return on_disk(checkpoint, reporters, ranges)


def newest_sealed(record: Formation, checkpoint: Checkpoint | None, reporters: Reporters) -> int:
    """The last cut known to be sealed.

    "The newest cut that everybody holds" would be wrong: it keeps effects of inputs that were never logged everywhere,
    and loses outputs not yet delivered. A cut that was sealed before the recorded generation began is not asked for
    either: if that generation went back to a checkpoint, it makes its cuts at other epochs.
    """
    sealed = [
        reporter.report.sealed
        for node, reporter in reporters.items()
        if is_member(record, node, reporter) and reporter.report.remembers == record.number
    ]
    # Logs may be trimmed up to the checkpoint, and what it sealed need not be known to those who are left.
    return max(record.cut, checkpoint.epoch if checkpoint else 0, *sealed)


def in_memory(record: Formation, reporters: Reporters, cut: int, ranges: int) -> tuple[frozenset[str], ...]:
    """By range, the nodes whose memory has its images at this cut."""
    holding: list[set[str]] = [set() for _ in range(ranges)]
    for node, reporter in reporters.items():
        if not remembers(record, node, reporter, cut):
            continue
        for remembered in reporter.report.memory:
            if remembered.base <= cut <= remembered.top:
                for number in remembered.ranges:
                    holding[number].add(node)
    return tuple(frozenset(nodes) for nodes in holding)


def remembers(record: Formation, node: str, reporter: Reporter, cut: int) -> bool:
    """Whether what the node has in memory can be believed at this cut.

    It has taken part in every generation since its memory was last returned to a cut, so nothing can have been sealed
    without it. A zombie that missed one may hold effects of inputs that were never adopted.
    """
    member = record.member(node)
    if member is None or not is_member(record, node, reporter):
        return False
    report = reporter.report
    if report.remembers == record.number:
        return True
    # It has not returned yet to the cut of the recorded generation; later cuts of that one it can't have.
    return 0 < member.since <= report.remembers and cut == record.cut


def on_disk(checkpoint: Checkpoint | None, reporters: Reporters, ranges: int) -> Ground | Wait:
    """The last complete checkpoint, if every range has a disk that has it."""
    if checkpoint is None:  # none was ever made: at the beginning all state is empty, and everybody has that
        return Ground(0, False, (frozenset(reporters),) * ranges, frozenset(reporters))
    holding: list[set[str]] = [set() for _ in range(ranges)]
    for node, reporter in reporters.items():
        for number in ranges_on_disk(checkpoint, node, reporter):
            holding[number].add(node)
    missing = [number for number, nodes in enumerate(holding) if not nodes]
    if missing:
        return Wait(
            f"nobody here has {'range' if len(missing) == 1 else 'ranges'} {runs(missing)} of the last checkpoint: "
            f"waiting for {listed(_holders_away(checkpoint, reporters, set(missing)))}"
        )
    informed = {node for node, reporter in reporters.items() if has_on_disk(checkpoint, reporter)}
    return Ground(checkpoint.epoch, False, tuple(frozenset(nodes) for nodes in holding), frozenset(informed))


def _holders_away(checkpoint: Checkpoint, reporters: Reporters, missing: Set[int]) -> list[str]:
    return [node for node, held in checkpoint.holders if node not in reporters and not missing.isdisjoint(held)]


def has_on_disk(checkpoint: Checkpoint, reporter: Reporter) -> bool:
    """Whether a disk has its part of the checkpoint, complete or prepared."""
    found = (reporter.report.complete, reporter.report.prepared)
    return any(own is not None and own.number == checkpoint.number for own in found)


def ranges_on_disk(checkpoint: Checkpoint, node: str, reporter: Reporter) -> tuple[int, ...]:
    """What the disk has of the checkpoint: what it said then, if it still says so.

    A checkpoint that is prepared on a disk counts although the disk may not know yet that it is complete. A disk that
    has been wiped is another node.
    """
    report = reporter.report
    for found in (report.complete, report.prepared):
        if found is not None and found.number == checkpoint.number:
            return tuple(number for number in checkpoint.held_by(node) if number in set(found.ranges))
    return ()
