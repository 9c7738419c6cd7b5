"""One life of a worker machine that is alone: the real machine on its log and its state.

Invariant: trimming waits behind appends, rows are read and written beside the checkpoints: as in the real shell. A life
ends with its process, or in it when the machine orders its own return.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.chaos import works
from holdfast.chaos.inputs import Input, OpenInput
from holdfast.chaos.machine_life import MachineLife, Pulse
from holdfast.chaos.outputs import Output
from holdfast.storage.memory import MemoryLog, MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.worker import effects, events
from holdfast.worker.effects import Effect
from holdfast.worker.machine import Worker


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a life finds: what the disks hold, the inputs and outputs."""

    log: MemoryLog
    state: MemoryState
    disk: MemoryDisk
    inputs: Sequence[Input]
    outputs: Sequence[Output]


class Life(MachineLife):
    """One machine, from its first event until it is ended."""

    def __init__(self, worker: Worker, pulse: Pulse, surroundings: Surroundings) -> None:
        super().__init__(worker, pulse)
        self.worker = worker
        self.in_recovery = True  # until the log is worked off and its sources are read
        self._at = surroundings
        self._inputs: dict[int, OpenInput] = {}
        self._tokens: dict[int, int] = {}  # checkpoint -> tokens taken
        tail = surroundings.log.tail()
        record = surroundings.state.record()
        self.arrive(lambda now: events.Started(now, record, tail))

    def _carry_out(self, effect: Effect) -> None:
        at, counters = self._at, self._pulse.counters
        match effect:
            case effects.ReadSource():
                self.in_recovery = False
                self._give(f"source {effect.partition}", works.Read(effect, self._inputs[effect.partition]))
            case effects.OpenSource():
                opened, schedule = at.inputs[effect.partition], self._pulse.schedule
                self._inputs[effect.partition] = OpenInput(opened, effect.offset, lambda: schedule.now)
            case effects.AppendLog():
                self._give("log", works.Append(effect, at.log, counters))
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
        at, counters = self._at, self._pulse.counters
        match effect:
            case effects.ReadChunks():
                self._give("state", works.ReadChunks(effect, at.state, at.disk, counters, self._pulse.random))
            case effects.StageChunks():
                self._give("state", works.Stage(effect, at.state, at.disk, counters))
            case effects.SyncSinks():
                checkpoint = effect.checkpoint
                all_there = lambda: self._tokens.get(checkpoint, 0) == len(at.outputs)  # noqa: E731
                self._give("sync", works.SyncSinks(effect, at.outputs, all_there))
            case effects.CompleteCheckpoint():
                self._give("state", works.Complete(effect, at.state, at.disk, counters))
            case effects.LoadRows():
                self._give("rows", works.LoadRows(effect, at.state, at.disk, counters))
            case effects.ReadRows():
                self._give("rows", works.ReadRows(effect, at.state, at.disk, counters))
            case effects.FoldRows():
                self._give("rows", works.Fold(effect, at.state, at.disk, counters))
            case _:
                raise AssertionError(f"{effect!r} is no order that a life knows")

    def _trim(self, order: effects.TrimLog) -> None:
        self._give("log", works.TrimStep(order, self._at.log, lambda: self._trim(order)))

    def _took_token(self, order: effects.TakeToken) -> None:
        self._tokens[order.checkpoint] = self._tokens.get(order.checkpoint, 0) + 1

