"""One machine with a worker's process on it: disks that last, lives that end, faults that end them.

Invariant: what a process leaves behind goes through the disk alone; every life starts from the stores as they
were found. The faults are asked at every boundary; how the node looks afterwards (page cache, torn writes) is
the disk model's. One node is a world of its own now; in a cluster each has these things for itself and the
network is between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from holdfast.chaos.channel import Work
from holdfast.chaos.counters import Counters
from holdfast.chaos.faults import Fault, FaultKind, FaultList
from holdfast.chaos.hardware import Hardware
from holdfast.chaos.inputs import Input
from holdfast.chaos.invariants import Invariants
from holdfast.chaos.life import Life, Surroundings
from holdfast.chaos.machine_life import Pulse
from holdfast.chaos.options import Options
from holdfast.chaos.outputs import Output, Violation
from holdfast.chaos.schedule import Schedule, Streams
from holdfast.chaos.trace import Trace
from holdfast.chaos.verdict import Snapshot
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker import effects, events
from holdfast.worker.checkpoint import Record
from holdfast.worker.effects import Effect
from holdfast.worker.events import Event
from holdfast.worker.machine import Worker
from holdfast.worker.settings import Settings

SNAPSHOTS = 0.2  # of the checkpoints are compared with the reference, beside those that a start found
RETURNS_MAX = 100  # every return makes another step careful, or knows the place to stop


class MakeWorker(Protocol):
    """Makes the machine of a new life: a process's first when there are no settings of a return."""

    def __call__(self, settings: Settings, state: MemoryState) -> Worker: ...


class Node:
    """One worker's machine, through all lives of its process."""

    def __init__(
        self,
        schedule: Schedule,
        streams: Streams,
        options: Options,
        *,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        disk: MemoryDisk,
        make_worker: MakeWorker,
        trace: Trace,
        counters: Counters,
    ) -> None:
        self.disk = disk
        self.counters = counters
        self.faults = FaultList(options.faults, options.kept_faults)
        self.finish: effects.Finish | None = None  # how the last process ended, while none is running
        self.life: Life | None = None
        self.boundaries = 0
        self.snapshots: list[Snapshot] = []
        self._schedule = schedule
        self._random = streams["node"]
        self._hardware = Hardware(schedule, streams, options.latencies_ms)
        self._options = options
        self._inputs = inputs
        self._outputs = outputs
        self._make_worker = make_worker
        self._trace = trace
        self.process = 0  # number of the process; what was meant for an earlier one is void
        self._settings = options.settings
        self._stopping = False
        self._returns = 0  # since the last checkpoint
        self._invariants = Invariants(counters)
        self._stores: tuple[MemoryLog, MemoryState] | None = None

    # --- lives

    def start(self) -> None:
        """Start a process from what the disk holds."""
        self.process += 1
        self._settings = self._options.settings
        self._stopping = False
        self._returns = 0
        self.finish = None
        self._note_leftovers()
        log, state = self._stores = (MemoryLog(self.disk), MemoryState(self.disk))
        self._trace.note(self._schedule.now, f"start {self.process}: log {log.base()}..{log.tail()}")
        self._invariants.opened(log, state)
        self._take_snapshot()
        self._live()

    def _take_snapshot(self) -> None:
        """Keep what a complete checkpoint holds for the verdict, unless it lies inside an epoch."""
        assert self._stores is not None
        state = self._stores[1]
        packed = state.record()
        record = Record.unpack(packed) if packed is not None else None
        if record is not None and not record.skip and not record.fired:
            self.snapshots.append(Snapshot.take(record, state))

    def _note_leftovers(self) -> None:
        contents = self.disk.state.contents
        if any(key[0] == "chunk" and ("manifest", key[1]) not in contents for key in contents):
            self.counters.meet("staged leftovers dropped")

    def ask_stop(self) -> None:
        """Ask the process for a clean end."""
        if self.life is not None and not self._stopping:
            self._stopping = True
            if self.life.in_recovery:
                self.counters.meet("stop during recovery")
            self.life.arrive(events.StopAsked)

    def _live(self) -> None:
        assert self._stores is not None
        log, state = self._stores
        hardware = self._hardware
        pulse = Pulse(
            self._schedule,
            self._random,
            hardware.clock,
            hardware.latency,
            self.counters,
            self._options.tick_ms,
            self,
        )
        surroundings = Surroundings(log, state, self.disk, self._inputs, self._outputs)
        self.life = Life(self._make_worker(self._settings, state), pulse, surroundings)
        if self._stopping:
            self.life.arrive(events.StopAsked)

    def _return(self, order: effects.Return) -> None:
        """The machine asked for another one in its place; what runs on the disks is awaited first."""
        assert self.life is not None
        self.counters.meet("return in process")
        self._returns += 1
        if self._returns > RETURNS_MAX:
            raise Violation(f"{self._returns} returns in a row, and no checkpoint between them")
        if order.stop_before is not None:
            self.counters.meet("return with a place to stop")
        self._settings = dataclasses.replace(
            self._settings, careful=order.careful, stop_before=order.stop_before, stop_error=order.error
        )
        process = self.process

        def go_on() -> None:
            if process == self.process and self._stores is not None:
                self._stores[1].abandon()
                self._invariants.returned()
                self._trace.note(self._schedule.now, "return")
                self._live()

        self.life.wind_up(go_on)

    def _end(self, order: effects.Finish) -> None:
        assert self.life is not None

        def ended() -> None:
            self.finish = order
            self.life = None
            self._stores = None

        process = self.process
        self.life.wind_up(lambda: ended() if process == self.process else None)

    # --- boundaries

    def ordered(self, effect: Effect) -> None:
        assert self.life is not None
        self._trace.effect(effect)
        self._invariants.ordered(effect, self.life)
        if isinstance(effect, effects.Return):
            self._return(effect)
        elif isinstance(effect, effects.Finish):
            self._end(effect)
        self._boundary(f"ordered {type(effect).__name__}")

    def told(self, effect: effects.TellSource) -> None:
        self._trace.effect(effect)
        self._invariants.told(effect)

    def done(self, work: Work[Any]) -> None:
        self._trace.done(self._schedule.now, work.order)
        self._invariants.done(work.order)
        if isinstance(work.order, effects.CompleteCheckpoint):
            self._returns = 0
            if self._random.random() < SNAPSHOTS:
                self._take_snapshot()
        self._boundary(f"done {type(work.order).__name__}")

    def handled(self, event: Event, given: Sequence[Effect]) -> None:
        assert self.life is not None
        self._trace.event(self._schedule.now, event)
        self._invariants.handled(event, given, self.life)
        if given or not isinstance(event, events.Ticked):  # a tick that moves nothing is no moment of its own
            self._boundary(f"handled {type(event).__name__}")

    def broke(self, event: Event) -> None:
        self._trace.event(self._schedule.now, event)

    def _boundary(self, name: str) -> None:
        self.boundaries += 1
        fault = self.faults.pass_boundary(name)
        if fault is not None and self.life is not None:
            self._trace.note(self._schedule.now, f"FAULT {fault} (at {name!r})")
            self._strike(fault)

    # --- faults

    def _strike(self, fault: Fault) -> None:
        assert self.life is not None
        match fault.kind:
            case FaultKind.KILL | FaultKind.POWER_LOSS:
                self._kill(power=fault.kind is FaultKind.POWER_LOSS, down_ms=fault.down_ms)
            case FaultKind.STOP:
                self.ask_stop()
            case FaultKind.PAUSE:
                self.life.pause(fault.amount)
            case FaultKind.SLOW:
                self._hardware.slow_until = self._schedule.now + fault.amount
            case FaultKind.CLOCK_JUMP:
                self._hardware.clock_offset += fault.amount
                self.life.rewind_wake()

    def _kill(self, *, power: bool, down_ms: float) -> None:
        assert self.life is not None
        self._invariants.killed(self.life)
        self.life.die()
        if power:
            self.counters.meet("power loss")
            before = {path: file.size for path, file in self.disk.files.items()}
            self.disk.power_loss(self._random)
            if any(self.disk.files[path].size < size for path, size in before.items()):
                self.counters.meet("output shortened by power loss")
        else:
            self.disk.crash(self._random)
        self.life = None
        self._stores = None
        self.process += 1
        process = self.process
        self._schedule.after(down_ms, lambda: self.start() if process == self.process else None)
