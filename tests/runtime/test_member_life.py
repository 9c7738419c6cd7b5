"""A member's shell: when it reads its sources, how long it waits for something to happen, and how it comes to rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

import holdfast as hf
from holdfast.core.context import TIMER_TIME_MAX
from holdfast.core.errors import SinkError
from holdfast.core.failures import Skipped
from holdfast.core.types import TypeRegistry
from holdfast.recovery.messages import Order, Restart
from holdfast.replication.messages import Beat, Envelope, Reached
from holdfast.runtime import member_life
from holdfast.runtime.clients import Clients
from holdfast.runtime.member_life import IDLE_SECONDS, TICK_SECONDS, MemberLife
from holdfast.runtime.points import Probe
from holdfast.runtime.state_writer import StateWriter
from holdfast.runtime.stranded import LineLost
from holdfast.runtime.transport.inbox import Inbox
from holdfast.storage.memory import MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker import effects, events
from holdfast.worker.cluster_effects import Quiesce, SendPeer
from holdfast.worker.cluster_events import Booted, LineMade, LinkLost, Ordered, Quiet

SECONDS_MAX = 60


class Script:
    """A machine that reads once and ends with what it got; it counts how often it hears the time before that."""

    busy = True
    running = None

    def __init__(self) -> None:
        self.alarm: int | None = None
        self.ticks = 0

    def handle_all(self, happened: Sequence[Any]) -> list[Any]:
        return [order for event in happened for order in self.handle(event)]

    def handle(self, event: Any) -> list[Any]:
        if isinstance(event, Booted):
            return [effects.OpenSource(0, None), effects.ReadSource(0, 64)]
        if isinstance(event, events.SourceRead):
            return [effects.Finish(None, ended=True)]
        self.ticks += 1
        return []


class Nobody:
    """Clients that never come."""

    def close(self) -> None:
        pass


class SyncedSink:
    """A sink whose sync ends when `gate` is open, and which must not be closed before."""

    def __init__(self, gate: threading.Event, error: Exception | None = None) -> None:
        self.gate = gate
        self.error = error
        self.syncing = threading.Event()
        self.end = threading.Event()
        self.is_written = False

    @property
    def closed(self) -> bool:
        return self.end.is_set()

    def paths(self) -> list[str]:
        return []

    def open(self, token: object, number: int, *, owned: bool) -> SyncedSink:
        return self

    def write(self, first: int, payload: object, count: int) -> None:
        assert not self.closed
        self.is_written = True

    def sync(self) -> None:
        self.syncing.set()
        assert self.gate.wait(SECONDS_MAX)
        assert not self.closed, "synced behind its end"
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.end.set()


class Fenced(Script):
    """A machine that is asked to promise while its sinks are being synced."""

    def __init__(self, sinks: list[SyncedSink]) -> None:
        super().__init__()
        self.sinks = sinks

    def handle(self, event: Any) -> list[Any]:
        if isinstance(event, Booted):
            return [*(effects.OpenSink(n, None, 0) for n in range(len(self.sinks))), effects.SyncSinks(1)]
        if isinstance(event, Quiet):
            return [effects.Finish(None, ended=True)]
        assert self.sinks[0].syncing.wait(SECONDS_MAX)
        return [Quiesce()]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


def life(
    inbox: Inbox,
    script: Any,
    is_crowded: Callable[[], bool] = lambda: False,
    sinks: Sequence[SyncedSink] = (),
    send: Callable[[str, Sequence[Envelope]], None] = lambda node, envelopes: None,
) -> MemberLife:
    disk, source = MemoryDisk(), hf.sources.Memory(["a"])
    source.bind(TypeRegistry())
    return MemberLife(
        script,
        node="n",
        log=MemoryPartitionLog(disk),
        state=MemoryState(disk),
        sources=[("source", source, source.partitions()[0])],
        sinks=cast(Any, list(sinks)),
        clients=cast(Clients, Nobody()),
        registry=TypeRegistry(),
        probe=Probe(),
        inbox=inbox,
        send=send,
        tell=lambda status: None,
        is_crowded=is_crowded,
    )


@pytest.mark.parametrize("slow_for", [0, 3])
def test_sources_are_read_once_no_peer_is_slow_any_more(inbox: Inbox, slow_for: int) -> None:
    script = Script()
    own = life(inbox, script, lambda: script.ticks < slow_for)

    end = own.run()
    own.close()

    assert isinstance(end, effects.Finish)
    assert script.ticks == slow_for


def test_the_wait_for_something_to_happen_ends_when_a_timer_is_due(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_life, "now", lambda: 1_000)
    script = Script()
    own = life(inbox, script)
    try:
        far = TIMER_TIME_MAX  # no thread can wait for so long
        alarms = (None, IDLE_SECONDS), (1_050, 0.05), (900, TICK_SECONDS), (10_000, IDLE_SECONDS), (far, IDLE_SECONDS)
        for alarm, seconds in alarms:
            script.alarm = alarm
            assert own._patience() == pytest.approx(seconds)
    finally:
        own.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Opens when the state's thread is asked to end."""
    gate = threading.Event()
    close = StateWriter.close

    def close_all(writer: StateWriter, *, hurried: bool = False) -> None:
        gate.set()  # only now: whoever has closed the sinks before has closed them under the state's thread
        close(writer, hurried=hurried)

    monkeypatch.setattr(StateWriter, "close", close_all)
    return gate


def test_a_sink_is_not_closed_while_it_is_synced(inbox: Inbox, gate: threading.Event) -> None:
    sinks = [SyncedSink(gate), SyncedSink(gate)]
    own = life(inbox, Fenced(sinks), sinks=sinks)

    end = own.run()
    own.close()

    assert isinstance(end, effects.Finish)
    assert all(sink.closed for sink in sinks)


def test_a_sync_that_fails_while_everything_comes_to_rest_ends_the_process(inbox: Inbox, gate: threading.Event) -> None:
    sinks = [SyncedSink(gate, SinkError("out.jsonl can't be written"))]
    own = life(inbox, Fenced(sinks), sinks=sinks)

    with pytest.raises(SinkError):
        own.run()
    own.close()


class Cut(Script):
    """A machine at work that loses what it is told it has lost, and when somebody says so writes and ends."""

    def __init__(self, awaited: SyncedSink | None) -> None:
        """It waits for the end of `awaited` before it writes."""
        super().__init__()
        self.awaited = awaited
        self.is_told = False
        self.busy = self.has_worked = False
        self.running: Any = None

    def handle(self, event: Any) -> list[Any]:
        match event:
            case Booted():
                stages = SimpleNamespace(pipeline=SimpleNamespace(skipped=Skipped()))
                self.running = SimpleNamespace(links=SimpleNamespace(lost=()), stages=stages)
                return [effects.OpenSink(0, None, 0)]
            case LinkLost(node=node):
                self.running.links.lost = (node,)
            case Ordered():
                self.is_told = True
            case events.Ticked() if self.is_told:
                assert self.awaited is None or self.awaited.end.wait(SECONDS_MAX)
                return [effects.Deliver(0, 1, 1, 1, (b"late",)), effects.Finish(None, ended=True)]
        return []


class Listener(Script):
    """A machine that notes what it is told together, and answers every loss with what the test wants."""

    def __init__(self, answers: Sequence[Any]) -> None:
        super().__init__()
        self.answers = answers
        self.together: list[list[type]] = []

    def handle_all(self, happened: Sequence[Any]) -> list[Any]:
        self.together.append([type(event) for event in happened])
        return super().handle_all(happened)

    def handle(self, event: Any) -> list[Any]:
        return [*self.answers] if isinstance(event, LinkLost) else []


def envelope(number: int) -> Envelope:
    return Envelope(1, "n", 1, number, Reached(0, 0, 0, 0, None), Beat())


def test_what_has_happened_is_told_together_up_to_what_is_not_for_the_machine(inbox: Inbox) -> None:
    script = Listener([effects.Finish(None, ended=True)])
    own = life(inbox, script)
    for event in (LineMade(0), LineMade(0), LineLost(), LineMade(0), LinkLost(0, "peer")):
        inbox.put(event)

    own.run()
    own.close()

    assert script.together == [[Booted, LineMade, LineMade], [LineMade, LinkLost]]


def test_what_went_wrong_behind_the_end_is_not_raised(inbox: Inbox) -> None:
    own = life(inbox, Listener([effects.Finish(None, ended=True)]))
    for event in (LinkLost(0, "peer"), SinkError("out.jsonl can't be written")):
        inbox.put(event)

    assert isinstance(own.run(), effects.Finish)
    own.close()


def test_what_goes_to_one_peer_between_two_other_orders_goes_together_and_in_order(inbox: Inbox) -> None:
    first, second, third, fourth = map(envelope, range(4))
    finish = effects.Finish(None, ended=True)
    sent: list[tuple[str, Sequence[Envelope]]] = []
    orders = [SendPeer("a", first), SendPeer("b", second), SendPeer("a", third), finish, SendPeer("a", fourth)]
    own = life(inbox, Listener(orders), send=lambda node, envelopes: sent.append((node, [*envelopes])))
    inbox.put(LinkLost(0, "peer"))

    own.run()
    own.close()

    assert sent == [("a", [first, third]), ("b", [second]), ("a", [fourth])]


LOSSES = [LineMade(0), LineLost(), LinkLost(0, "peer")]


@pytest.mark.parametrize(
    ("losses", "is_let_go"),
    [
        (LOSSES, True),
        ([LOSSES[0], LOSSES[2], LOSSES[1]], True),
        (LOSSES[:2], False),
        ([LOSSES[0], LOSSES[2]], False),
        ([LOSSES[1], LOSSES[0], LOSSES[2]], False),
    ],
)
def test_who_hears_of_nobody_lets_go_of_its_sinks(inbox: Inbox, losses: list[Any], is_let_go: bool) -> None:
    gate = threading.Event()
    gate.set()
    sink = SyncedSink(gate)
    own = life(inbox, Cut(sink if is_let_go else None), sinks=[sink])
    for event in (*losses, Ordered(0, Order(1, 1, Restart()))):
        own.inbox.put(event)

    own.run()
    own.close()

    assert sink.closed
    assert sink.is_written is not is_let_go
    assert sink.syncing.is_set() is is_let_go
