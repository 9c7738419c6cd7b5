"""Checkpoint rounds: one number is ordered of all members, and complete once all of them have it whole on disk.

Invariant: a number is ordered by one life of the coordinator, in one generation: what was staged for a round that
another life began can't become a part of this one's. Only when the record of a checkpoint is durable is anybody told
that it is complete, for then logs are trimmed.
Not here: what a checkpoint is made of (worker).
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.recovery.config import Config
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import ROUND_BITS, Checkpoint, Formation
from holdfast.recovery.messages import Status


class Rounds:
    """The round under way, and when the next one is due."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.ordered = 0  # the number, 0 for none
        self.last = False  # nothing follows the round under way: the cluster was at rest for good
        self.over_at = 0

    def begin(self, now: int) -> None:
        """A generation begins."""
        self.ordered, self.last, self.over_at = 0, False, now

    def is_due(self, now: int, kept: Kept, statuses: Sequence[Status], *, at_rest: bool) -> bool:
        """Whether to order a round; `at_rest`: nothing follows."""
        formation, checkpoint = kept.formation, kept.checkpoint
        assert formation is not None
        if self.ordered or not has_room(kept):
            return False
        if not all(own.caught_up for own in statuses):
            return False  # a log that lacks something must not be trimmed: it would not know where the source stands
        counting = checkpoint.number if checkpoint is not None and serves(checkpoint, formation) else 0
        if any(own.completed < counting for own in statuses):
            return False  # a disk keeps one prepared checkpoint beside the complete one
        if at_rest:
            return not covers(checkpoint, formation, statuses)
        if formation.limit is not None:
            return False  # its one checkpoint is made at the limit
        if is_prepared(formation, statuses) and not serves(checkpoint, formation):
            return True  # it is what the change of layout waits for
        return now - self.over_at >= self.config.checkpoint_ms and any(own.changed for own in statuses)

    def order(self, kept: Kept, *, at_rest: bool) -> None:
        """Begin the round."""
        self.ordered, self.last = kept.reserved, at_rest

    def completed(self, formation: Formation, statuses: Sequence[Status]) -> Checkpoint | None:
        """The checkpoint, once all have it on disk; to be made durable before anybody is told."""
        if not self.ordered or any(own.prepared != self.ordered for own in statuses):
            return None
        cuts = {own.prepared_at for own in statuses}
        assert len(cuts) == 1, f"checkpoint {self.ordered} stands at different cuts: {sorted(cuts)}"
        ended = self.last and all(own.ended for own in statuses)
        return Checkpoint(self.ordered, cuts.pop(), formation.limit, held(formation), ended)

    def settle(self, now: int, kept: Kept) -> None:
        """The round is over once its record is durable; until then nobody is told to give it up."""
        if self.ordered and kept.checkpoint is not None and kept.checkpoint.number == self.ordered:
            self.ordered, self.over_at = 0, now


def has_room(kept: Kept) -> bool:
    """Whether the generation has numbers left for checkpoints; the next one's must not be touched."""
    assert kept.formation is not None
    return kept.reserved >> ROUND_BITS == kept.formation.number


def held(formation: Formation) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The ranges that each member holds, perhaps none."""
    ranges: dict[str, list[int]] = {member.node: [] for member in formation.members}
    for number, holders in enumerate(formation.layout.ranges):
        for node in holders.all:
            ranges[node].append(number)
    return tuple((node, tuple(numbers)) for node, numbers in sorted(ranges.items()))


def covers(checkpoint: Checkpoint | None, formation: Formation, statuses: Sequence[Status]) -> bool:
    """Whether the checkpoint is all that there is, of a cluster at rest."""
    return (
        checkpoint is not None
        and all(own.applied == checkpoint.epoch for own in statuses)
        and checkpoint.limit == formation.limit
        and checkpoint.ended == all(own.ended for own in statuses)
    )


def is_prepared(formation: Formation, statuses: Sequence[Status]) -> bool:
    """Whether the layout is on its way, and whoever lacked something has got it."""
    return formation.target is not None and all(own.caught_up for own in statuses)


def serves(checkpoint: Checkpoint | None, formation: Formation) -> bool:
    """Whether the disks of this generation's holders have a checkpoint.

    Until then old holders are kept: if all were killed at once, the images that others were sent would be gone, and
    those on the old disks with the nodes that were let go.
    """
    return checkpoint is not None and checkpoint.generation == formation.number
