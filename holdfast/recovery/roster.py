"""The workers that a coordinator has heard of, by node: the newest status of the newest incarnation, and who is alive.

Invariant: a status never replaces a newer one, of the same life by its number, of different lives by incarnation: what
was late or came twice changes nothing.
Not here: what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Phase, Status
from holdfast.recovery.testimony import Reporter


@dataclass(slots=True)
class Worker:
    """One node as far as it is known."""

    status: Status
    alive: bool
    since: int  # when this incarnation was first heard, or heard again after it was lost

    def is_in(self, formation: Formation) -> bool:
        """Whether it is the member that the formation names."""
        member = formation.member(self.status.node)
        return member is not None and member.incarnation == self.status.incarnation


class Roster:
    """All of them."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}

    def hear(self, now: int, status: Status) -> bool:
        """Take a status; whether a worker has come that was not there.

        One that has nothing new to say says the same again: that, too, shows that it is there after all.
        """
        known = self.workers.get(status.node)
        if known is not None:
            old = known.status
            if (status.incarnation, status.number) < (old.incarnation, old.number):
                return False
            if status == old and known.alive:
                return False
            if status.incarnation == old.incarnation and known.alive:
                known.status = status
                return False
        self.workers[status.node] = Worker(status, True, now)
        return True

    def lose(self, node: str, incarnation: int) -> bool:
        """A connection is gone; whether that is news. 0: nobody knows of which incarnation."""
        known = self.workers.get(node)
        if known is None or not known.alive or incarnation not in (0, known.status.incarnation):
            return False
        known.alive = False
        return True

    @property
    def alive(self) -> dict[str, Worker]:
        """The living, in order of node."""
        return {node: worker for node, worker in sorted(self.workers.items()) if worker.alive}

    def reporters(self, promise: int) -> dict[str, Reporter]:
        """The living that have promised and reported what they hold."""
        return {
            node: Reporter(worker.status.incarnation, report)
            for node, worker in self.alive.items()
            if (report := worker.status.report) is not None and report.promise == promise
        }

    def members(self, formation: Formation) -> list[Status]:
        """The newest statuses of the members, of those that are alive and the same."""
        return [worker.status for worker in self.alive.values() if worker.is_in(formation)]

    def running(self, formation: Formation) -> list[Status] | None:
        """The statuses of all members if all of them run in this generation."""
        statuses = self.members(formation)
        if len(statuses) != len(formation.members):
            return None
        if any(own.phase is not Phase.RUN or own.generation != formation.number for own in statuses):
            return None
        return statuses
