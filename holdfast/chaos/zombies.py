"""Zombies: processes that stand still until others have left them out, and come back in the middle of the next change.

By themselves pauses seldom end within the few milliseconds in which the next generation is decided. Then a process says
what it remembers of a past that was given up, and nobody has told it yet that it belongs to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random

from holdfast.chaos.cluster_node import ClusterNode
from holdfast.chaos.counters import Counters
from holdfast.chaos.network import Network
from holdfast.chaos.schedule import Schedule
from holdfast.recovery.events import Kept

STILL_MS = 3_000.0  # at most
HELD_UP_MS = (5.0, 30.0, 150.0)  # another member, so that the decision waits


@dataclass(slots=True)
class Zombie:
    """One of them."""

    node: ClusterNode
    process: int
    generation: int  # in which it fell asleep
    after_ms: float  # from the generation without it to the next change
    stirred: bool = False  # the next change is on its way


class Zombies:
    """All of a world."""

    def __init__(self, nodes: list[ClusterNode], network: Network, schedule: Schedule, random: Random) -> None:
        self._nodes = nodes
        self._network = network
        self._schedule = schedule
        self._random = random
        self._asleep: list[Zombie] = []

    def add(self, node: ClusterNode, kept: Kept, after_ms: float) -> None:
        """This process falls asleep."""
        node.pause(STILL_MS)
        if kept.formation is not None and kept.formation.member(node.name) is not None:
            self._asleep.append(Zombie(node, node.process, kept.formation.number, after_ms))

    def look(self, kept: Kept, counters: Counters) -> None:
        """Something has happened: is it time to wake one, or to make another change?"""
        formation = kept.formation
        if not self._asleep or formation is None:
            return
        for zombie in list(self._asleep):
            if zombie.process != zombie.node.process:
                self._asleep.remove(zombie)  # it was killed in its sleep
            elif zombie.stirred and kept.drawn > formation.number:
                self._asleep.remove(zombie)
                counters.meet("zombie in a change")
                self._wake(zombie)
            elif not zombie.stirred and formation.number > zombie.generation and _is_without(kept, zombie.node):
                zombie.stirred = True
                self._schedule.after(zombie.after_ms, partial(self._stir, zombie))

    def _stir(self, zombie: Zombie) -> None:
        others = [node for node in self._nodes if node is not zombie.node and node.life is not None]
        if len(others) > 1:
            one, other = self._random.sample(others, 2)
            self._network.reset(one.name, other.name)
        elif others:
            others[0].die(power=False, down_ms=0.0)

    def _wake(self, zombie: Zombie) -> None:
        others = [node for node in self._nodes if node is not zombie.node and node.life is not None]
        if others:
            self._random.choice(others).pause(self._random.choice(HELD_UP_MS))
        zombie.node.resume()


def _is_without(kept: Kept, node: ClusterNode) -> bool:
    return kept.formation is not None and kept.formation.member(node.name) is None
