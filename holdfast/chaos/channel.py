"""One store, source or sink of a living process: its orders are carried out one after the other.

Invariant: works begin, finish and answer in the order in which they were given; what other channels do may
happen at any moment between. A work that runs when its process dies is finished, half done or not begun, as
chance has it. What a work does to a disk is not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Generic, TypeVar

from holdfast.chaos.schedule import Schedule

Order = TypeVar("Order")
Answer = Callable[[int], Any]  # the event: what a work came to, once the time of its arrival is known

FINISHED_AT_DEATH = 0.4  # what ran is found whole afterwards
TORN_AT_DEATH = 0.3  # what ran is found half done, where that can be; otherwise it never began


class Work(Generic[Order]):
    """What one order comes to. Subclasses say how it is done."""

    __slots__ = ("order",)

    def __init__(self, order: Order) -> None:
        self.order = order

    def ready(self) -> float | None:
        """Return the time from which it can begin, or None while it waits for another channel."""
        return 0.0

    def joins(self, first: Work[Any]) -> bool:
        """Return whether this work was taken into `first`, which is about to begin."""
        return False

    def begin(self) -> None:
        """It begins: what is ordered from now on does not belong to it."""

    def finish(self) -> Sequence[Answer]:
        """It is done; return the answers."""
        raise NotImplementedError

    def tear(self, random: Random) -> None:
        """The process died in the middle. Nothing is done by halves unless a subclass says how."""


class Channel:
    """Works in a row."""

    def __init__(
        self,
        schedule: Schedule,
        latency: Callable[[], float],
        done: Callable[[Work[Any]], None],
        answered: Callable[[Answer], None],
    ) -> None:
        self._schedule = schedule
        self._latency = latency
        self._done = done
        self._answered = answered
        self._waiting: deque[Work[Any]] = deque()
        self._running: Work[Any] | None = None
        self._answers_until = 0.0  # no answer may overtake the one before
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or running."""
        return self._running is None and not self._waiting

    def give(self, work: Work[Any]) -> None:
        """Order a work."""
        if not self._closed:
            self._waiting.append(work)
            self.kick()

    def kick(self) -> None:
        """Begin the next work if it can; to be called when something that it may wait for has happened."""
        if self._running is not None or not self._waiting:
            return
        ready = self._waiting[0].ready()
        if ready is None:
            return
        if ready > self._schedule.now:
            self._schedule.at(ready, self.kick)
            return
        work = self._running = self._waiting.popleft()
        while self._waiting and self._waiting[0].joins(work):
            self._waiting.popleft()
        work.begin()
        self._schedule.after(self._latency(), lambda: self._finish(work))

    def forget(self) -> None:
        """Drop what has not begun; what runs is still finished."""
        self._waiting.clear()

    def die(self, random: Random) -> None:
        """End with the process: nothing waits any more, chance decides what runs, nobody hears of it."""
        self._closed = True
        self._waiting.clear()
        work, self._running = self._running, None
        if work is None:
            return
        chance = random.random()
        if chance < FINISHED_AT_DEATH:
            work.finish()
        elif chance < FINISHED_AT_DEATH + TORN_AT_DEATH:
            work.tear(random)

    def _finish(self, work: Work[Any]) -> None:
        if self._running is not work:
            return  # the process died meanwhile
        answers = work.finish()
        self._running = None
        self._done(work)
        if self._closed:
            return  # it died at this very moment
        for answer in answers:
            self._answer(answer)
        self.kick()

    def _answer(self, answer: Answer) -> None:
        self._answers_until = max(self._answers_until, self._schedule.now + self._latency() / 4)
        self._schedule.at(self._answers_until, lambda: self._answered(answer))
