"""One life of a machine in a world: its events one after the other, its orders as works, its time.

Invariant: what one store, source or sink was ordered happens in that order; everything else may overlap in any way that
the latencies make. What an order comes to is the subclass's to say; which faults strike is the node's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from holdfast.chaos.channel import Channel, Work
from holdfast.chaos.counters import Counters
from holdfast.chaos.schedule import Schedule
from holdfast.worker import effects, events

Arrival = Callable[[int], Any]  # an event, once the time of its arrival is known


class Machine(Protocol):
    """Events in, effects out."""

    @property
    def busy(self) -> bool:
        """Whether a tick is due as soon as nothing else has happened."""

    def handle(self, event: Any) -> Sequence[Any]:
        """The only entrance."""

    def check_invariants(self) -> None:
        """Assert what must hold after every event."""


class Watcher(Protocol):
    """Who is told of every boundary. It may end the life from within any of these calls."""

    def ordered(self, effect: Any) -> None:
        """The machine gave this order and it was passed on."""

    def told(self, effect: effects.TellSource) -> None:
        """A source is told what is durable. No boundary: no store, sink or other process hears of it."""

    def done(self, work: Work[Any]) -> None:
        """A work is done; its answer has not arrived."""

    def handled(self, event: Any, given: Sequence[Any]) -> None:
        """The machine handled an event, and all its orders are passed on."""

    def broke(self, event: Any) -> None:
        """The machine could not handle an event: a bug."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Time and chance, and who looks on."""

    schedule: Schedule
    random: Random
    clock: Callable[[], int]
    latency: Callable[[str], float]
    counters: Counters
    tick_ms: float
    watcher: Watcher


class MachineLife(ABC):
    """A machine, from its first event until it is ended."""

    def __init__(self, machine: Machine, pulse: Pulse) -> None:
        self.machine = machine
        self.ended = False
        self._pulse = pulse
        self._inbox: deque[Arrival] = deque()
        self._pumping = False
        self._busy_until = 0.0
        self._channels: dict[str, Channel] = {}
        self._wake: int | None = None
        self._ticking = False

    # --- time

    def arrive(self, answer: Arrival) -> None:
        """An event reaches the machine; it is handled when the machine is free."""
        self._inbox.append(answer)
        self._pump_later()

    def pause(self, milliseconds: float) -> None:
        """Stand still; the disks go on."""
        self._busy_until = max(self._busy_until, self._pulse.schedule.now) + milliseconds

    def resume(self) -> None:
        """Go on before the pause is over."""
        self._busy_until = self._pulse.schedule.now
        self._pulse.schedule.after(0.0, self._pump)

    def rewind_wake(self) -> None:
        """The clock was set: what waits for a time waits anew."""
        if self._wake is not None:
            self._wake_at(self._wake)

    def _pump_later(self) -> None:
        if not self._pumping and not self.ended:
            self._pumping = True
            self._pulse.schedule.at(self._busy_until, self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self.ended:
            return
        if self._pulse.schedule.now < self._busy_until:
            self._pump_later()  # paused meanwhile
            return
        if self._inbox:
            self._handle(self._heard())
        self._busy_until = max(self._busy_until, self._pulse.schedule.now + self._pulse.latency("machine"))
        if self._inbox:
            self._pump_later()
        elif self.machine.busy:
            self.arrive(events.Ticked)  # it has work, and nothing else has happened

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            pulse = self._pulse
            pulse.schedule.after(pulse.tick_ms * pulse.random.uniform(0.3, 1.7), self._tick)

    def _tick(self) -> None:
        self._ticking = False
        if not self.ended and self._is_something_under_way():
            if not self._inbox:
                self.arrive(events.Ticked)
            self._tick_later()

    def _is_something_under_way(self) -> bool:
        """Whether there will be an answer; a live source may stay silent for ever."""
        return any(not channel.idle for name, channel in self._channels.items() if not name.startswith("source"))

    def _wake_at(self, time: int | None) -> None:
        self._wake = time
        if time is not None:
            self._pulse.schedule.after(max(0, time - self._pulse.clock()), lambda: self._ring(time))

    def _ring(self, time: int) -> None:
        if self.ended or self._wake != time:
            return
        if self._pulse.clock() < time:
            self._wake_at(time)  # the clock was set back
        else:
            self._wake = None
            self.arrive(events.Ticked)

    # --- ends

    def die(self) -> None:
        """The process ends here and now."""
        self.ended = True
        for channel in self._channels.values():
            channel.die(self._pulse.random)

    def wind_up(self, then: Callable[[], None]) -> None:
        """End in the process: nothing more is heard; `then` is called when what runs is done."""
        if not self.ended:
            self.ended = True
            everything = self._pulse.random.random() < 0.5
            for name, channel in self._channels.items():
                if name.startswith("source") or not everything:
                    channel.forget()
        if all(channel.idle for channel in self._channels.values()):
            then()
        else:
            self._pulse.schedule.after(1.0, lambda: self.wind_up(then))

    # --- events in, effects out

    def _heard(self) -> list[Any]:
        """What the machine handles next: of all that has arrived what came first."""
        return [self._inbox.popleft()(self._pulse.clock())]

    def _decide(self, happened: Sequence[Any]) -> Sequence[Any]:
        """The machine's orders."""
        (event,) = happened
        return self.machine.handle(event)

    def _handle(self, happened: Sequence[Any]) -> None:
        try:
            given = self._decide(happened)
            self.machine.check_invariants()
        except BaseException:
            for event in happened:
                self._pulse.watcher.broke(event)
            raise
        for effect in given:
            if isinstance(effect, effects.TellSource):
                self._pulse.watcher.told(effect)
        given = [effect for effect in given if not isinstance(effect, effects.TellSource)]
        for effect in given:
            self._carry_out(effect)
            self._pulse.watcher.ordered(effect)
            if self.ended:
                return
        for event in happened:
            self._pulse.watcher.handled(event, given)
            if self.ended:
                return

    @abstractmethod
    def _carry_out(self, effect: Any) -> None:
        """Do what the machine orders."""

    def _give(self, name: str, work: Work[Any]) -> None:
        channel = self._channels.get(name)
        if channel is None:
            latency = self._pulse.latency
            kind = name.split()[0]
            channel = Channel(self._pulse.schedule, lambda: latency(kind), self._done, self._answer_to())
            self._channels[name] = channel
        channel.give(work)
        self._tick_later()

    def _done(self, work: Work[Any]) -> None:
        if isinstance(work.order, effects.TakeToken):
            self._took_token(work.order)
        self._pulse.watcher.done(work)
        if not self.ended:
            for channel in self._channels.values():
                channel.kick()  # it may have waited for this one

    def _answer_to(self) -> Callable[[Arrival], None]:
        """Where the answers of a new channel go."""
        return self.arrive

    def _took_token(self, order: effects.TakeToken) -> None:  # noqa: B027 - only some lives wait for tokens
        """A sink has said where it stands."""
