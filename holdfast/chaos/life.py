"""One life of a worker machine: the real machine, its orders as works, their answers as its events.

Invariant: what one store, source or sink was ordered happens in that order; everything else may overlap in
any way that the latencies make. Trimming waits behind appends, rows are read and written beside the
checkpoints: as in the real shell. A life ends with its process, or in it when the machine orders its own
return. Which faults strike is the node's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from holdfast.chaos import works
from holdfast.chaos.channel import Answer, Channel, Work
from holdfast.chaos.counters import Counters
from holdfast.chaos.inputs import Input, OpenInput
from holdfast.chaos.outputs import Output
from holdfast.chaos.schedule import Schedule
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker import effects, events
from holdfast.worker.effects import Effect
from holdfast.worker.events import Event
from holdfast.worker.machine import Worker


class Watcher(Protocol):
    """Who is told of every boundary. It may end the life from within any of these calls."""

    def ordered(self, effect: Effect) -> None:
        """The machine gave this order and it was passed on."""

    def done(self, work: Work[Any]) -> None:
        """A work is done; its answer has not arrived."""

    def handled(self, event: Event, given: Sequence[Effect]) -> None:
        """The machine handled an event, and all its orders are passed on."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a life finds: time and chance, what the disks hold, the inputs and outputs."""

    schedule: Schedule
    random: Random
    clock: Callable[[], int]
    latency: Callable[[str], float]
    log: MemoryLog
    state: MemoryState
    disk: MemoryDisk
    inputs: Sequence[Input]
    outputs: Sequence[Output]
    counters: Counters
    tick_ms: float
    watcher: Watcher


class Life:
    """One machine, from its first event until it is ended."""

    def __init__(self, worker: Worker, surroundings: Surroundings) -> None:
        self.worker = worker
        self.ended = False
        self.in_recovery = True  # until the log is worked off and its sources are read
        self._at = surroundings
        self._inbox: deque[Answer] = deque()
        self._pumping = False
        self._busy_until = 0.0
        self._channels: dict[str, Channel] = {}
        self._inputs: dict[int, OpenInput] = {}
        self._tokens: dict[int, int] = {}  # checkpoint -> tokens taken
        self._wake: int | None = None
        self._ticking = False
        tail = surroundings.log.tail()
        record = surroundings.state.record()
        self.arrive(lambda now: events.Started(now, record, tail))

    # --- time

    def arrive(self, answer: Answer) -> None:
        """An event reaches the machine; it is handled when the machine is free."""
        self._inbox.append(answer)
        self._pump_later()

    def pause(self, milliseconds: float) -> None:
        """Stand still; the disks go on."""
        self._busy_until = max(self._busy_until, self._at.schedule.now) + milliseconds

    def rewind_wake(self) -> None:
        """The clock was set: what waits for a time waits anew."""
        if self._wake is not None:
            self._wake_at(self._wake)

    def _pump_later(self) -> None:
        if not self._pumping and not self.ended:
            self._pumping = True
            self._at.schedule.at(self._busy_until, self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self.ended:
            return
        if self._at.schedule.now < self._busy_until:
            self._pump_later()  # paused meanwhile
            return
        self._handle(self._inbox.popleft()(self._at.clock()))
        self._busy_until = max(self._busy_until, self._at.schedule.now + self._at.latency("machine"))
        if self._inbox:
            self._pump_later()
        elif self.worker.busy:
            self.arrive(events.Ticked)  # it has work, and nothing else has happened

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._at.schedule.after(self._at.tick_ms * self._at.random.uniform(0.3, 1.7), self._tick)

    def _tick(self) -> None:
        self._ticking = False
        if not self.ended and self._is_something_under_way():
            if not self._inbox:
                self.arrive(events.Ticked)
            self._tick_later()

    def _is_something_under_way(self) -> bool:
        """Whether there will be an answer; a live source may stay silent for ever."""
        return any(
            not channel.idle for name, channel in self._channels.items() if not name.startswith("source")
        )

    def _wake_at(self, time: int | None) -> None:
        self._wake = time
        if time is not None:
            self._at.schedule.after(max(0, time - self._at.clock()), lambda: self._ring(time))

    def _ring(self, time: int) -> None:
        if self.ended or self._wake != time:
            return
        if self._at.clock() < time:
            self._wake_at(time)  # the clock was set back
        else:
            self._wake = None
            self.arrive(events.Ticked)

    # --- ends

    def die(self) -> None:
        """The process ends here and now."""
        self.ended = True
        for channel in self._channels.values():
            channel.die(self._at.random)

    def wind_up(self, then: Callable[[], None]) -> None:
        """End in the process: nothing more is heard; `then` is called when what runs is done."""
        if not self.ended:
            self.ended = True
            everything = self._at.random.random() < 0.5
            for name, channel in self._channels.items():
                if name.startswith("source") or not everything:
                    channel.forget()
        if all(channel.idle for channel in self._channels.values()):
            then()
        else:
            self._at.schedule.after(1.0, lambda: self.wind_up(then))

    # --- events in, effects out

    def _handle(self, event: Event) -> None:
        given = self.worker.handle(event)
        self.worker.check_invariants()
        for effect in given:
            self._carry_out(effect)
            self._at.watcher.ordered(effect)
            if self.ended:
                return
        self._at.watcher.handled(event, given)

    def _carry_out(self, effect: Effect) -> None:
        at = self._at
        match effect:
            case effects.ReadSource():
                self.in_recovery = False
                self._give(f"source {effect.partition}", works.Read(effect, self._inputs[effect.partition]))
            case effects.OpenSource():
                opened = at.inputs[effect.partition]
                self._inputs[effect.partition] = OpenInput(opened, effect.offset, lambda: at.schedule.now)
            case effects.AppendLog():
                self._give("log", works.Append(effect, at.log, at.counters))
            case effects.ReadLog():
                self._give("log", works.ReadLog(effect, at.log))
            case effects.TrimLog():
                self._trim(effect)
            case effects.OpenSink():
                at.outputs[effect.sink].open(effect.token, effect.number)
            case effects.Deliver():
                self._give(f"sink {effect.sink}", works.Write(effect, at.outputs[effect.sink]))
            case effects.TakeToken():
                self._give(f"sink {effect.sink}", works.TakeToken(effect, at.outputs[effect.sink]))
            case effects.WakeAt():
                self._wake_at(effect.time)
            case effects.Return() | effects.Finish() | effects.Acknowledge() | effects.Answer():
                pass  # the watcher decides what follows
            case _:
                self._change_state(effect)

    def _change_state(self, effect: Effect) -> None:
        at = self._at
        match effect:
            case effects.ReadChunks():
                self._give("state", works.ReadChunks(effect, at.state, at.disk, at.counters, at.random))
            case effects.StageChunks():
                self._give("state", works.Stage(effect, at.state, at.disk, at.counters))
            case effects.SyncSinks():
                checkpoint = effect.checkpoint
                all_there = lambda: self._tokens.get(checkpoint, 0) == len(at.outputs)  # noqa: E731
                self._give("sync", works.SyncSinks(effect, at.outputs, all_there))
            case effects.CompleteCheckpoint():
                self._give("state", works.Complete(effect, at.state, at.disk, at.counters))
            case effects.LoadRows():
                self._give("rows", works.LoadRows(effect, at.state, at.disk, at.counters))
            case effects.FoldRows():
                self._give("rows", works.Fold(effect, at.state, at.disk, at.counters))
            case _:
                raise AssertionError(f"{effect!r} is no order that a life knows")

    def _trim(self, order: effects.TrimLog) -> None:
        self._give("log", works.TrimStep(order, self._at.log, lambda: self._trim(order)))

    def _give(self, name: str, work: Work[Any]) -> None:
        channel = self._channels.get(name)
        if channel is None:
            latency = self._at.latency
            kind = name.split()[0]
            channel = Channel(self._at.schedule, lambda: latency(kind), self._done, self.arrive)
            self._channels[name] = channel
        channel.give(work)
        self._tick_later()

    def _done(self, work: Work[Any]) -> None:
        if isinstance(work.order, effects.TakeToken):
            self._tokens[work.order.checkpoint] = self._tokens.get(work.order.checkpoint, 0) + 1
        self._at.watcher.done(work)
        if not self.ended:
            for channel in self._channels.values():
                channel.kick()  # it may have waited for this one
