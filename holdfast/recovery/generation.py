"""Generations: who takes part, who holds what, and from which cut on.

A generation is valid from a cut; every logged entry and every message carries its number, so that what an older one
still sends is refused. A restarted worker is a new incarnation, and so the member of a new generation, even where it is
the only one; a return in the same process forms a new one as well. A number is durable before it is used, and is used
once, for one content.
With one member there is nothing to lay out: it owns every range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NUMBER: Final = "generation"  # the meta records in which a directory keeps its latest generation …
MEMBERS: Final = "generation-members"
CUT: Final = "generation-cut"

ROUND_BITS: Final = 20  # of a checkpoint's number, which counts the checkpoints of a generation; above them stands that


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of one member; immutable once it is recorded."""

    number: int  # from 1
    members: tuple[int, ...]  # incarnations
    cut: int  # the epoch from which it goes on

    def records(self) -> dict[str, object]:
        """As it is kept, to be made durable before anything is done in its name."""
        return {NUMBER: self.number, MEMBERS: list(self.members), CUT: self.cut}


def successor(number: int, *, members: tuple[int, ...], cut: int) -> Generation:
    """The generation after the one with this number (0: the first)."""
    return Generation(number + 1, members, cut)


@dataclass(frozen=True, slots=True)
class Member:
    """One incarnation of one node."""

    node: str  # drawn when its directory was made
    incarnation: int
    since: int  # the generation from which on it has been a member without a break


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds one range, or one partition's log."""

    primary: str  # node
    backups: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Primary and backups."""
        return (self.primary, *self.backups)


@dataclass(frozen=True, slots=True)
class Layout:
    """Who holds what."""

    ranges: tuple[Holders, ...]  # by number of the range
    partitions: tuple[Holders, ...]  # by number of the source partition: its log, and who reads the source
    sinks: tuple[str, ...]  # node, by number of the sink

    def partition(self, number: int) -> Holders | None:
        """Who holds a source partition; None where it came to the application later, and has no holder yet."""
        return self.partitions[number] if number < len(self.partitions) else None

    def sink(self, number: int) -> str | None:
        """Which node a sink is at; None as in `partition`."""
        return self.sinks[number] if number < len(self.sinks) else None


@dataclass(frozen=True, slots=True, order=True)
class Limit:
    """Where an epoch ends early, because a call failed under on_error="stop": before this record or these timers.

    Limits are ordered as the places are.
    """

    epoch: int
    turn: int
    partition: int  # TIMER: before all timers of the turn
    number: int  # of the record


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that all its holders have on disk."""

    number: int  # rises from one to the next, over generations
    epoch: int  # its cut: everything up to it is applied …
    limit: Limit | None  # … and of the epoch after it what lies before this
    holders: tuple[tuple[str, tuple[int, ...]], ...]  # node -> ranges whose images it has on its disk
    ended: bool = False  # all sources had ended and everything was sealed

    @property
    def generation(self) -> int:
        """The generation that made it."""
        return self.number >> ROUND_BITS

    def held_by(self, node: str) -> tuple[int, ...]:
        """The ranges that a node's disk has."""
        return next((ranges for holder, ranges in self.holders if holder == node), ())


@dataclass(frozen=True, slots=True)
class Formation:
    """A generation of a cluster, as the coordinator records it before anybody hears of it."""

    number: int
    members: tuple[Member, ...]  # in order of node
    layout: Layout
    cut: int  # the epoch returned to: its end
    in_memory: bool  # the cut is sealed and in the holders' memory; otherwise it is `checkpoint`, on their disks
    checkpoint: Checkpoint | None  # the last complete one; None: none was ever made, and the cut is 0
    level: int  # replay ends with this epoch; new input enters later ones only
    logs: tuple[tuple[int, int], ...]  # by partition: (adopted generation, tail) of the adopted log, cut off at `level`
    spans: tuple[tuple[tuple[int, int], ...], ...]  # by partition: the adopted log's spans, for others to compare with
    lacking: tuple[tuple[str, tuple[int, ...]], ...]  # node -> ranges that it is to hold and has no images of
    careful: tuple[int, ...] = ()  # steps that work carefully
    limit: Limit | None = None  # stop there
    stop_error: str | None = None  # and end with this
    lacking_logs: tuple[tuple[str, tuple[int, ...]], ...] = ()  # node -> partitions whose adopted log it has not whole
    target: Layout | None = None  # what the layout is on its way to; None: it is there
    why: str = ""  # what it was formed for; for people

    def member(self, node: str) -> Member | None:
        """The member on a node."""
        return next((member for member in self.members if member.node == node), None)

    def lacks(self, node: str) -> tuple[int, ...]:
        """The ranges that a node gets a snapshot of."""
        return next((ranges for holder, ranges in self.lacking if holder == node), ())

    def lacks_logs(self, node: str) -> tuple[int, ...]:
        """The partitions whose adopted log a node has yet to get: until then its copy counts for nothing."""
        return next((partitions for holder, partitions in self.lacking_logs if holder == node), ())
