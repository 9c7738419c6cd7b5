"""Generations: who takes part, from which cut on.

A generation is valid from a cut; every logged epoch carries its number, and later every frame, so that what an older one
still sends is refused. A restarted worker is a new incarnation, and so the member of a new generation, even where it is
the only one; a return in the same process forms a new one as well. A number is durable before it is used, and is used
once. Layout and coordinator will be in this room; with one member there is nothing to lay out: it owns every range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NUMBER: Final = "generation"  # the meta records in which a directory keeps its latest generation …
MEMBERS: Final = "generation-members"
CUT: Final = "generation-cut"


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation; immutable once it is recorded."""

    number: int  # from 1
    members: tuple[int, ...]  # incarnations
    cut: int  # the epoch from which it goes on

    def records(self) -> dict[str, object]:
        """As it is kept, to be made durable before anything is done in its name."""
        return {NUMBER: self.number, MEMBERS: list(self.members), CUT: self.cut}


def successor(number: int, *, members: tuple[int, ...], cut: int) -> Generation:
    """The generation after the one with this number (0: the first)."""
    return Generation(number + 1, members, cut)
