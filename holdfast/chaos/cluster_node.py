"""One machine of a cluster with a worker's process on it: a disk that lasts, lives that end, and how it speaks.

Invariant: what a process leaves behind goes through the disk alone; a lost disk makes another node, under another name.
When something strikes is the world's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from holdfast.chaos.channel import Work
from holdfast.chaos.coordinator_node import NAME as COORDINATOR
from holdfast.chaos.counters import Counters
from holdfast.chaos.hardware import Hardware
from holdfast.chaos.inputs import Input
from holdfast.chaos.machine_life import Pulse
from holdfast.chaos.member_life import MemberLife, MemberSurroundings
from holdfast.chaos.network import End, Network
from holdfast.chaos.outputs import Output
from holdfast.chaos.parcels import Parcel
from holdfast.chaos.schedule import Schedule, Streams
from holdfast.chaos.trace import Trace
from holdfast.recovery.messages import Status
from holdfast.replication.messages import Envelope
from holdfast.storage.memory import MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker import cluster_effects, cluster_events, effects, events
from holdfast.worker.member import Member

RETRY_MS = 20.0  # until a worker tries again to reach the coordinator
FULL_DISK_DOWN_MS = 50.0  # between two starts of a process that can't write


class Standing(Enum):
    """What a machine is for the cluster."""

    UP = "up"
    DOWN = "down"  # and will start again
    LEFT = "left"  # it was asked to leave, and has
    FINISHED = "finished"  # its process came to its end


class Company(Protocol):
    """The world as a node sees it. It may end the process from within any of the first three calls."""

    def ordered(self, node: ClusterNode, effect: Any) -> None:
        """A member gave this order and it was passed on."""

    def told(self, node: ClusterNode, effect: effects.TellSource) -> None:
        """A member tells a source what is durable. No boundary."""

    def done(self, node: ClusterNode, work: Work[Any]) -> None:
        """A work is done; its answer has not arrived."""

    def handled(self, node: ClusterNode, event: Any, given: Sequence[Any]) -> None:
        """A member handled an event, and all its orders are passed on."""

    def started(self, node: ClusterNode) -> None:
        """A process has opened its stores."""

    def lost_disk(self, node: ClusterNode) -> None:
        """A disk is about to be forgotten."""

    def is_relieved(self, node: ClusterNode) -> bool:
        """Whether it was told to end because it is needed no more."""


class ClusterNode:
    """One worker's machine, through all lives of its process."""

    def __init__(
        self,
        number: int,
        schedule: Schedule,
        streams: Streams,
        network: Network,
        hardware: Hardware,
        *,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        at_once: int,
        tick_ms: float,
        status_ms: float,
        beat_ms: float,
        make_member: Callable[[], Member],
        trace: Trace,
        counters: Counters,
        company: Company,
    ) -> None:
        self.number = number
        self.name = f"n{number}"
        self.standing = Standing.DOWN
        self.leaving = False
        self.disk = MemoryDisk()
        self.life: MemberLife | None = None
        self.log: MemoryPartitionLog | None = None  # the open stores
        self.state: MemoryState | None = None
        self.finish: effects.Finish | None = None
        self.hardware = hardware
        self.full_until = 0.0  # nothing can be written to the disk
        self.sync_fails = False  # the next commit ends with an error
        self.damaged = False  # whoever reads the disk finds out, and it is of no use any more
        self.process = 0  # number of the process; what was meant for an earlier one is void
        self._disks = 1
        self._schedule = schedule
        self._random = streams[f"node {number}"]
        self._network = network
        self._inputs = inputs
        self._outputs = outputs
        self._at_once = at_once
        self._tick_ms = tick_ms
        self._status_ms = status_ms
        self._beat_ms = beat_ms
        self._make_member = make_member
        self._trace = trace
        self._counters = counters
        self._company = company
        self._status: Status | None = None  # the newest
        self._status_waits = False

    @property
    def member(self) -> Member | None:
        """The machine of the process, while there is one."""
        return self.life.member if self.life is not None else None

    # --- lives

    def start(self) -> None:
        """Start a process from what the disk holds."""
        if self.life is not None or self.standing is Standing.LEFT:
            return
        if self.damaged:
            self.wipe(0.0)
            return
        self.process += 1
        self.standing, self.finish, self._status = Standing.UP, None, None
        self._status_waits = False
        self.log = MemoryPartitionLog(self.disk)
        self.state = MemoryState(self.disk, self.name)
        pulse = Pulse(
            *(self._schedule, self._random, self.hardware.clock, self.hardware.latency, self._counters),
            *(self._tick_ms, self),
        )
        surroundings = MemberSurroundings(
            *(self.name, self.log, self.state, self.disk, self._at_once, self._inputs, self._outputs, self)
        )
        self._trace.note(self._schedule.now, f"{self.name} starts, generation {self.log.adopted()[0]}")
        self.life = MemberLife(self._make_member(), pulse, surroundings)
        self._network.join(self.name, End(self.life.incarnation, self._received, self._lost, self._made))
        self._company.started(self)
        self._beat_later(self.process)

    def die(self, *, power: bool, down_ms: float | None) -> None:
        """The process ends here and now, and is started again unless `down_ms` is None."""
        if self.life is not None:
            self.life.die()
            self.life = None
            self._network.leave(self.name, silently=power)
        self.log = self.state = None
        if power:
            self._counters.meet("power loss")
            self.disk.power_loss(self._random)
        else:
            self.disk.crash(self._random)
        if self.standing is Standing.UP:
            self.standing = Standing.DOWN
        self.process += 1
        if down_ms is not None:
            self.start_later(down_ms)

    def start_later(self, milliseconds: float) -> None:
        """Start a process after a while, unless one is there by then."""
        process = self.process
        self._schedule.after(milliseconds, lambda: self.start() if process == self.process else None)

    def wipe(self, down_ms: float) -> None:
        """The machine loses its disk, and comes back as somebody else."""
        self._company.lost_disk(self)
        if self.damaged:
            self._counters.meet("damage found")
        self.damaged = False
        self.die(power=True, down_ms=None)
        self._disks += 1
        self.disk = MemoryDisk()
        self.name = f"n{self.number}.{self._disks}"
        self.leaving = False
        self.start_later(down_ms)

    def pause(self, milliseconds: float) -> None:
        """The process stands still."""
        if self.life is not None:
            self.life.pause(milliseconds)
            self._network.freeze(self.name, milliseconds)

    def resume(self) -> None:
        """The process goes on before its pause is over, and says at once that it is there."""
        if self.life is not None:
            self._network.thaw(self.name)
            self.life.resume()
            self._tell_again()

    def _end(self, standing: Standing) -> None:
        """The process ends by itself: what runs is done first, nothing more is heard."""
        life, process = self.life, self.process
        assert life is not None

        def ended() -> None:
            if process != self.process:
                return
            self.process += 1
            self.life = self.log = self.state = None
            self.standing = standing
            self._network.leave(self.name, silently=False)
            if standing is Standing.DOWN:
                self.start_later(self._random.choice((0.0, 1.0, 30.0)))

        life.wind_up(ended)

    # --- speaking

    def send_peer(self, to: str, envelope: Envelope) -> None:
        parcel = Parcel.pack(envelope)
        self._trace.sent(parcel.packed)
        self._network.send(self.name, to, parcel)

    def send_status(self, status: Status) -> None:
        self._status = status
        if not self._status_waits:
            self._status_waits, process = True, self.process
            self._schedule.after(self._status_ms, lambda: self._leave_status() if process == self.process else None)

    def _leave_status(self) -> None:
        self._status_waits = False
        self._tell_again()

    def _received(self, payload: object) -> None:
        assert isinstance(payload, Parcel)
        message = payload.unpack()
        if self.life is None:
            return
        if payload.kind is Envelope:
            self.life.arrive(lambda now: cluster_events.PeerSent(now, message))
        else:
            self.life.arrive(lambda now: cluster_events.Ordered(now, message))

    def _lost(self, peer: str, _: int) -> None:
        if self.life is None:
            return
        if peer == COORDINATOR:
            process = self.process
            self._schedule.after(RETRY_MS, lambda: self._tell_again() if process == self.process else None)
        else:
            self.life.arrive(lambda now: cluster_events.LinkLost(now, peer))

    def _made(self, peer: str) -> None:
        if self.life is not None and peer == COORDINATOR:
            self.life.arrive(cluster_events.LineMade)

    def _tell_again(self) -> None:
        if self._status is not None:
            parcel = Parcel.pack(self._status)
            self._trace.sent(parcel.packed)
            self._network.send_level(self.name, COORDINATOR, parcel)

    def _beat_later(self, process: int) -> None:
        self._schedule.after(self._beat_ms * self._random.uniform(0.7, 1.3), lambda: self._beat(process))

    def _beat(self, process: int) -> None:
        """What the coordinator was told last it is told again; and time passes for the machine."""
        if process == self.process and self.life is not None:
            self._tell_again()
            self.life.arrive(events.Ticked)
            self._beat_later(process)

    # --- boundaries

    def ordered(self, effect: Any) -> None:
        self._trace.effect(effect, self.name)
        if isinstance(effect, WRITES) and (self.sync_fails or self._schedule.now < self.full_until):
            self._counters.meet("sync failed" if self.sync_fails else "disk full")
            self.sync_fails = False
            self.die(power=False, down_ms=FULL_DISK_DOWN_MS)
            return
        if isinstance(effect, READS) and self.damaged:
            self.wipe(FULL_DISK_DOWN_MS)
            return
        if isinstance(effect, cluster_effects.Restart):
            self._end(Standing.DOWN)
        elif isinstance(effect, effects.Finish):
            self.finish = effect
            self._end(Standing.LEFT if self._company.is_relieved(self) else Standing.FINISHED)
        self._company.ordered(self, effect)

    def told(self, effect: effects.TellSource) -> None:
        self._trace.effect(effect, self.name)
        self._company.told(self, effect)

    def done(self, work: Work[Any]) -> None:
        self._trace.done(self._schedule.now, work.order, self.name)
        self._company.done(self, work)

    def handled(self, event: Any, given: Sequence[Any]) -> None:
        if given or not isinstance(event, events.Ticked):  # a tick that moves nothing is no moment of its own
            self._trace.event(self._schedule.now, event, self.name)
            self._company.handled(self, event, given)

    def broke(self, event: Any) -> None:
        self._trace.event(self._schedule.now, event, self.name)


READS = (effects.ReadChunks, cluster_effects.ReadEntries, cluster_effects.ReadCursor)
WRITES = (
    cluster_effects.AdoptFormation,
    cluster_effects.InstallLog,
    cluster_effects.AppendEntries,
    cluster_effects.TrimEntries,
    cluster_effects.PrepareCheckpoint,
    effects.StageChunks,
    effects.CompleteCheckpoint,
)
