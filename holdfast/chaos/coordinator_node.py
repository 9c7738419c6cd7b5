"""The machine with the coordinator's process: a store that lasts, lives that end, ticks.

Invariant: what a process leaves behind goes through the store alone; an order is on the network no earlier than the
machine gave it. Faults are the world's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from holdfast.chaos.counters import Counters
from holdfast.chaos.hardware import Hardware
from holdfast.chaos.network import End, Network
from holdfast.chaos.parcels import Parcel
from holdfast.chaos.schedule import Schedule, Streams
from holdfast.chaos.trace import Trace
from holdfast.recovery import effects, events
from holdfast.recovery.coordinator import Coordinator
from holdfast.recovery.events import Kept
from holdfast.recovery.wire import pack_kept, unpack_kept
from holdfast.storage.memory_coordinator_store import MemoryCoordinatorStore
from holdfast.storage.memory_disk import MemoryDisk

NAME = "coordinator"
FINISHED_AT_DEATH = 0.4  # a record under way is found whole afterwards


class CoordinatorWatcher(Protocol):
    """Who is told of what a coordinator does. It may end its process from within any of these calls."""

    def coordinator_ordered(self, effect: effects.Effect) -> None:
        """An order was given and carried out."""

    def coordinator_stored(self, kept: Kept) -> None:
        """A record is durable; the answer has not arrived."""

    def coordinator_handled(self, event: Any) -> None:
        """An event was handled, and all orders are carried out."""


class CoordinatorNode:
    """One coordinator, through all lives of its process."""

    def __init__(
        self,
        schedule: Schedule,
        streams: Streams,
        network: Network,
        hardware: Hardware,
        *,
        tick_ms: float,
        make: Callable[[], Coordinator],
        trace: Trace,
        counters: Counters,
        watcher: CoordinatorWatcher,
    ) -> None:
        self.machine: Coordinator | None = None
        self.finish: effects.Finish | None = None  # how it ended, while it is not running
        self.started_at = 0.0
        self.waiting = ""  # what it says it waits for
        self.make = make
        self.life = 0  # number of the process; what was meant for an earlier one is void
        self.wished: set[str] = set()  # nodes that were asked to leave
        self._disk = MemoryDisk()
        self._store: MemoryCoordinatorStore | None = None
        self._schedule = schedule
        self._random = streams["coordinator"]
        self._network = network
        self._hardware = hardware
        self._tick_ms = tick_ms
        self._trace = trace
        self._counters = counters
        self._watcher = watcher

    # --- lives

    @property
    def kept(self) -> Kept:
        """What its store holds durably."""
        record = self._disk.store("coordinator").contents.get(("record",))
        return unpack_kept(record) if isinstance(record, bytes) else Kept()

    def start(self) -> None:
        """Start a process from what the store holds."""
        self.life += 1
        self.finish = None
        self.started_at = self._schedule.now
        self.waiting = ""
        store = self._store = MemoryCoordinatorStore(self._disk)
        packed = store.record()
        kept = unpack_kept(packed) if packed is not None else Kept()
        self.machine = self.make()
        self._trace.note(self._schedule.now, f"coordinator starts, life {store.life()}")
        self._network.join(NAME, End(store.life(), self._received, self._lost, lambda peer: None))
        self._handle(lambda now: events.Started(now, _in_life(kept, store.life())))
        self._tick_later(self.life)

    def die(self, *, power: bool) -> None:
        """The process ends here and now."""
        if self.machine is None:
            return
        self.machine = None
        self.life += 1
        if self._store is not None and self._store.busy and self._random.random() < FINISHED_AT_DEATH:
            self._store.finish_sync()
        if power:
            self._disk.power_loss(self._random)
        else:
            self._disk.crash(self._random)
        self._store = None
        self._network.leave(NAME, silently=power)

    def ask_stop(self) -> None:
        """Ask for a clean end."""
        self._hear_soon(events.StopAsked)

    def ask_leave(self, nodes: tuple[str, ...]) -> None:
        """Ask for nodes to be relieved of everything."""
        self._hear_soon(lambda now: events.LeaveAsked(now, nodes))

    def _hear_soon(self, made: Callable[[int], events.Event]) -> None:
        """After what the machine is at: it may be in the middle of its orders."""
        self._schedule.after(0.0, lambda: self._handle(made))

    # --- the network

    def _received(self, payload: object) -> None:
        """A status has come."""
        assert isinstance(payload, Parcel)
        status = payload.unpack()
        self._handle(lambda now: events.Heard(now, status))

    def _lost(self, peer: str, incarnation: int) -> None:
        """The connection with a worker is gone."""
        self._handle(lambda now: events.WorkerLost(now, peer, incarnation))

    # --- events in, effects out

    def _tick_later(self, life: int) -> None:
        self._schedule.after(self._tick_ms * self._random.uniform(0.7, 1.3), lambda: self._tick(life))

    def _tick(self, life: int) -> None:
        if life == self.life and self.machine is not None:
            self._tick_later(life)
            self._handle(events.Ticked)

    def _handle(self, made: Callable[[int], events.Event]) -> None:
        life = self.life
        if self.machine is None:
            return
        event = made(self._hardware.clock())
        given = self.machine.handle(event)
        getattr(self.machine, "check_invariants", lambda: None)()
        if given or not isinstance(event, events.Ticked):
            self._trace.event(self._schedule.now, event, NAME)
        for effect in given:
            self._trace.effect(effect, NAME)
            self._carry_out(effect)
            self._watcher.coordinator_ordered(effect)
            if life != self.life:
                return
        self._watcher.coordinator_handled(event)

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Tell(node, order):
                parcel = Parcel.pack(order)
                self._trace.sent(parcel.packed)
                self._network.send_level(NAME, node, parcel)
            case effects.Store(ticket, kept):
                self._put(ticket, kept)
            case effects.Waiting(reason):
                self.waiting = reason
                if reason:
                    self._counters.meet("cluster waited")
            case effects.Finish():
                self._end(effect)

    def _put(self, ticket: int, kept: Kept) -> None:
        store, life = self._store, self.life
        assert store is not None
        store.begin_put(pack_kept(kept))

        def finish() -> None:
            if life != self.life:
                return
            store.finish_sync()
            self._watcher.coordinator_stored(kept)
            if life == self.life:
                self._schedule.after(self._hardware.latency("store") / 4, answer)

        def answer() -> None:
            if life == self.life:
                self._handle(lambda now: events.Stored(now, ticket))

        self._schedule.after(self._hardware.latency("store"), finish)

    def _end(self, effect: effects.Finish) -> None:
        self.finish = effect
        self.machine = None
        self.life += 1
        self._store = None
        self._network.leave(NAME, silently=False)


def _in_life(kept: Kept, life: int) -> Kept:
    return Kept(kept.drawn, life, kept.formation, kept.checkpoint, kept.reserved)
