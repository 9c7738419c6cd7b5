"""Why a generation can't go on as it is (unplanned), or should become another (planned). Pure.

Invariant: a planned change waits until the last one has borne fruit: changes alone can't keep the cluster from work.
Not here: what the next generation is (`decide`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.recovery.events import Kept
from holdfast.recovery.generation import Formation, Layout
from holdfast.recovery.messages import Failure, Phase, Status
from holdfast.recovery.roster import Roster
from holdfast.recovery.rounds import has_room, is_prepared, serves


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is wished for beside what is."""

    now: int
    join_ms: int
    leaving: frozenset[str]
    shunned: frozenset[str]


def in_generation(formation: Formation, roster: Roster) -> list[Status]:
    """What members say as members: of an older generation it says nothing about this one."""
    return [own for own in roster.members(formation) if own.generation == formation.number]


def lost_member(formation: Formation, roster: Roster) -> str | None:
    """A member that is gone, or is another life, or has promised not to take part."""
    for member in formation.members:
        worker = roster.workers.get(member.node)
        if worker is None or not worker.alive:
            return f"node {member.node} is lost"
        if worker.status.incarnation != member.incarnation:
            return f"node {member.node} has restarted"
        if worker.status.promised > formation.number:
            return f"node {member.node} has promised itself to a later generation"
    return None


def lost_links(formation: Formation, roster: Roster) -> list[tuple[str, str]]:
    """(who, whom it can't reach or hear), of members."""
    return [
        (own.node, node)
        for own in in_generation(formation, roster)
        for node in own.lost
        if formation.member(node) is not None and node != own.node
    ]


def earliest_failure(known: Failure | None, statuses: Sequence[Status]) -> Failure | None:
    """The failure that a single thread would have met first, of those that are known."""
    failures = [own.failure for own in statuses if own.failure is not None]
    return min([*failures, *([known] if known else [])], key=lambda failure: failure.limit, default=None)


def planned(kept: Kept, roster: Roster, statuses: Sequence[Status], around: Circumstances) -> str | None:
    """A reason to form another generation although this one works."""
    formation = kept.formation
    assert formation is not None
    if not has_room(kept):
        return "the generation has no more numbers for checkpoints"
    if not all(own.caught_up for own in statuses):
        return None
    # Else a node that dies whenever it has joined would have all others return to the same cut for ever.
    if not any(own.sealed > formation.cut for own in statuses) and not _is_quiet(formation, statuses):
        return None
    away = around.leaving | around.shunned
    if not {member.node for member in formation.members} - away:
        away = frozenset()  # somebody has to stay
    joining = newcomers(formation, roster, away)
    if any(around.now - roster.workers[node].since >= around.join_ms for node in joining):
        return f"{nodes(joining)} to join"
    # Asked at every event: most often nobody is to go, and looking through all ranges would cost what all else does.
    going = sorted(away & places(formation.target or formation.layout)) if away else []
    if going:
        return f"{nodes(going)} to be relieved"
    if is_prepared(formation, statuses) and serves(kept.checkpoint, formation):
        return "whoever lacked something has got it"
    if not away:
        return None
    idle = sorted(away & {member.node for member in formation.members} - places(formation.layout))
    return f"{nodes(idle)} to go, holding nothing any more" if idle else None


def _is_quiet(formation: Formation, statuses: Sequence[Status]) -> bool:
    """Whether a return to the generation's cut would take nothing back.

    A cluster that gets no input for a while must not be without the backups that newcomers are to be.
    """
    has_nothing = formation.level <= formation.cut and all(own.closed <= formation.cut for own in statuses)
    return has_nothing or all(own.resting for own in statuses)


def newcomers(formation: Formation, roster: Roster, away: frozenset[str]) -> list[str]:
    """Who is there and belongs to nothing yet."""
    return [
        node
        for node, worker in roster.alive.items()
        if worker.status.phase is Phase.JOIN and not worker.is_in(formation) and node not in away
    ]


def may_end(kept: Kept, node: str) -> bool:
    """Whether a node that is to leave is needed no more, by the generation or for a return to the checkpoint.

    The disk of a node that was let go may be gone: what it has of the last checkpoint must be elsewhere as often as it
    is to be.
    """
    formation, checkpoint = kept.formation, kept.checkpoint
    if formation is None or formation.member(node) is not None:
        return False
    if checkpoint is None:
        return True
    copies = [0] * len(formation.layout.ranges)
    for holder, ranges in checkpoint.holders:
        if formation.member(holder) is not None:
            for number in ranges:
                copies[number] += 1
    return all(have >= len(own.all) for have, own in zip(copies, formation.layout.ranges, strict=True))


def places(layout: Layout) -> frozenset[str]:
    """The nodes that hold or do something in a layout."""
    return frozenset(node for own in (*layout.ranges, *layout.partitions) for node in own.all) | frozenset(layout.sinks)


def nodes(names: Sequence[str]) -> str:
    """Nodes as a person is told them."""
    return f"node {names[0]} is" if len(names) == 1 else f"nodes {', '.join(names)} are"
