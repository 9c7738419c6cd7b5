"""One life of a member of a cluster: the real machine on its partition log, its state and its sinks.

Invariant: a Quiesce is answered when everything that ran has ended, and no answer to an order given before comes after
it. A life ends with its process. What its messages meet on the way is the network's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.chaos import cluster_works, works
from holdfast.chaos.channel import Work
from holdfast.chaos.inputs import Input, OpenInput
from holdfast.chaos.machine_life import Arrival, MachineLife, Pulse
from holdfast.chaos.outputs import Output
from holdfast.recovery.messages import Status
from holdfast.replication.messages import Envelope
from holdfast.storage.memory import MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker import cluster_effects, cluster_events, effects
from holdfast.worker.cluster_events import Found
from holdfast.worker.member import Member


class Speech(Protocol):
    """How a process speaks to others."""

    def send_peer(self, to: str, envelope: Envelope) -> None:
        """To another member."""

    def send_status(self, status: Status) -> None:
        """To the coordinator."""


@dataclass(frozen=True, slots=True)
class MemberSurroundings:
    """What a life finds: who it is, what its disk holds, the inputs and outputs of the cluster."""

    node: str
    log: MemoryPartitionLog
    state: MemoryState
    disk: MemoryDisk
    at_once: int  # as many events are handled together, if so many have come
    inputs: Sequence[Input]
    outputs: Sequence[Output]
    speech: Speech

    def found(self) -> Found:
        """What the disk holds by now."""
        record, prepared = self.state.record(), self.state.prepared()
        complete = None if record is None else (self.state.checkpoint(), record)
        return Found(self.log.adopted()[0], tuple(self.log.lineages().items()), complete, prepared)


class MemberLife(MachineLife):
    """One member's process."""

    def __init__(self, member: Member, pulse: Pulse, surroundings: MemberSurroundings) -> None:
        super().__init__(member, pulse)
        self.member = member
        self.quiescing = False
        self.incarnation = surroundings.state.identity().incarnation
        self._at = surroundings
        self._inputs: dict[int, OpenInput] = {}
        self._outputs: dict[int, Output] = {}
        self._era = 0  # between one Quiesce and the next
        found = surroundings.found()
        self.arrive(lambda now: cluster_events.Booted(now, surroundings.node, self.incarnation, found))

    def die(self) -> None:
        super().die()
        for output in self._outputs.values():
            output.let_go(self._pulse.random)

    def _heard(self) -> list[Any]:
        now = self._pulse.clock()
        return [self._inbox.popleft()(now) for _ in range(min(len(self._inbox), self._at.at_once))]

    def _decide(self, happened: Sequence[Any]) -> Sequence[Any]:
        return self.member.handle_all(happened)

    def _carry_out(self, effect: Any) -> None:
        at = self._at
        match effect:
            case cluster_effects.SendPeer():
                at.speech.send_peer(effect.to, effect.envelope)
            case cluster_effects.SendStatus():
                at.speech.send_status(effect.status)
            case cluster_effects.Quiesce():
                self._quiesce()
            case effects.WakeAt():
                self._wake_at(effect.time)
            case effects.ReadSource():
                self._give(f"source {effect.partition}", works.Read(effect, self._inputs[effect.partition]))
            case effects.OpenSource():
                schedule = self._pulse.schedule
                opened = OpenInput(at.inputs[effect.partition], effect.offset, lambda: schedule.now)
                self._inputs[effect.partition] = opened
            case effects.OpenSink():
                self._open_sink(effect)
            case effects.Deliver() | effects.TakeToken():
                output = self._outputs.get(effect.sink)
                if output is not None:  # else the machine is about to hear that it is not open
                    self._write(effect, output)
            case cluster_effects.Restart() | effects.Finish() | effects.Acknowledge() | effects.Answer():
                pass  # the watcher decides what follows, and checks what senders are told
            case _:
                self._change_disk(effect)

    def _open_sink(self, effect: effects.OpenSink) -> None:
        output = self._at.outputs[effect.sink].handle()
        if effect.synced or output.is_certain(effect.token):
            self._outputs[effect.sink] = output
            output.open(effect.token, effect.number)
            return
        self._pulse.counters.meet("output lost behind a cut in memory")
        self.arrive(lambda now: cluster_events.OutputLost(now, effect.sink))

    def _write(self, effect: effects.Deliver | effects.TakeToken, output: Output) -> None:
        if isinstance(effect, effects.Deliver):
            self._give(f"sink {effect.sink}", works.Write(effect, output))
        else:
            self._give(f"sink {effect.sink}", works.TakeToken(effect, output))

    def _change_disk(self, effect: Any) -> None:
        at, counters = self._at, self._pulse.counters
        work: Work[Any]
        match effect:
            case cluster_effects.AppendEntries():
                work = cluster_works.AppendEntries(effect, at.log, counters)
            case cluster_effects.ReadEntries():
                work = cluster_works.ReadEntries(effect, at.log, counters)
            case cluster_effects.ReadCursor():
                work = cluster_works.ReadCursor(effect, at.log, counters)
            case cluster_effects.TrimEntries():
                work = cluster_works.TrimEntries(effect, at.log, counters, lambda: self._change_disk(effect))
            case cluster_effects.InstallLog():
                work = cluster_works.Install(effect, at.log, counters)
            case cluster_effects.AdoptFormation():
                work = cluster_works.Adopt(effect, at.log, at.state, counters)
            case effects.SyncSinks():
                self._give("sync", works.SyncSinks(effect, list(self._outputs.values()), lambda: True))
                return
            case _:
                self._change_state(effect)
                return
        self._give("log", work)

    def _change_state(self, effect: Any) -> None:
        at, counters = self._at, self._pulse.counters
        work: Work[Any]
        match effect:
            case effects.ReadChunks():
                work = works.ReadChunks(effect, at.state, at.disk, counters, self._pulse.random)
            case effects.StageChunks():
                work = works.Stage(effect, at.state, at.disk, counters)
            case effects.CompleteCheckpoint():
                work = works.Complete(effect, at.state, at.disk, counters)
            case cluster_effects.PrepareCheckpoint():
                work = cluster_works.Prepare(effect, at.state, at.disk, counters)
            case _:
                raise AssertionError(f"{effect!r} is no order that a member's life knows")
        self._give("state", work)

    # --- between generations

    def _quiesce(self) -> None:
        self.quiescing = True
        for channel in self._channels.values():
            channel.forget()
        self._await_quiet()

    def _await_quiet(self) -> None:
        if self.ended:
            return
        if not all(channel.idle for channel in self._channels.values()):
            self._pulse.schedule.after(0.5, self._await_quiet)
            return
        self._era += 1
        self._channels.clear()
        self._inputs.clear()
        self._outputs.clear()
        self.quiescing = False
        found = self._at.found()
        self.arrive(lambda now: cluster_events.Quiet(now, found))

    def _answer_to(self) -> Any:
        """Where a channel's answers go: nowhere once everything it was for has ended."""
        era = self._era

        def answered(answer: Arrival) -> None:
            if era == self._era:
                self.arrive(answer)

        return answered
