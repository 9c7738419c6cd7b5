"""Generations: who takes part, from which cut on, running which code.

A generation is valid from a cut; every logged epoch and every frame carries its number, and older ones are refused. A
restarted worker is a new incarnation and a member of a new generation, even where it is the only one.
How members are found and ranges laid out over several of them is not here yet: with one member, it owns every range.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation; immutable once it is recorded."""

    number: int
    members: tuple[int, ...]  # incarnations
    cut: int  # the epoch it goes on from
    fingerprint: str  # of the code

    def successor(self, *, members: tuple[int, ...], cut: int, fingerprint: str) -> Generation:
        """The next generation; a number is used once."""
        return Generation(self.number + 1, members, cut, fingerprint)
