"""Who holds what, from one generation to the next: where nobody was lost, as many have it as had it before.

Rule 16 as the recorded formations show it. Between two generations whose members are the same lives, and where the cut
is in memory, nothing is lost: so of every range, and of every partition's log, as many holders must have all of it as
had it before, or as many as are wanted in the end. (A member that never began the first of them has nothing in memory.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.chaos.outputs import Violation
from holdfast.recovery.generation import Formation, Holders

Lacks = Callable[[str], Sequence[int]]


def check_holders(old: Formation, new: Formation | None) -> None:
    """Raise Violation where a planned change takes a holder away before another has what it has."""
    if new is None or old == new or not _stayed_together(old, new):
        return
    goal = new.target or new.layout
    places = [
        ("range", old.layout.ranges, old.lacks, new.layout.ranges, new.lacks, goal.ranges),
        ("partition", old.layout.partitions, old.lacks_logs, new.layout.partitions, new.lacks_logs, goal.partitions),
    ]
    for what, was, was_lacking, now, now_lacking, wanted in places:
        for number, (first, then, last) in enumerate(zip(was, now, wanted, strict=True)):
            had, have = _having(first, number, was_lacking), _having(then, number, now_lacking)
            if len(have) < min(len(had), len(last.all)):
                raise Violation(
                    f"generation {new.number} leaves {what} {number} to {have}; {had} had it, {last.all} are to"
                )


def _stayed_together(old: Formation, new: Formation) -> bool:
    lives = {(member.node, member.incarnation) for member in new.members}
    return new.in_memory and all((member.node, member.incarnation) in lives for member in old.members)


def _having(holders: Holders, number: int, lacks: Lacks) -> list[str]:
    return [node for node in holders.all if number not in lacks(node)]
