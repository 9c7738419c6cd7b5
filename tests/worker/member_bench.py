"""One member by itself: brought to where a test wants it, with the answers of a disk that does at once what it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.epochs import Cursor
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.recovery.generation import Checkpoint, Formation, Holders, Layout, Member
from holdfast.recovery.messages import Announce, Ask, Order, Restart, Run, Status
from holdfast.replication.messages import Envelope, Message, Reached
from holdfast.worker import cluster_effects as cdo
from holdfast.worker import cluster_events as chas
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker import member as machine
from holdfast.worker.settings import Settings

NOTHING = chas.Found(0, (), None, None)
RANGES = 2


def count(word: str, total: list[int]) -> tuple[str, int]:
    total.append(1)
    return word, len(total)


def word_count(words: list[str] | None = None) -> Application:
    app = Application("words")
    source = app.source(sources.Memory(words if words is not None else ["a", "b", "a"]))
    source.key_by(str).stateful(count, state=list).sink(sinks.Memory())
    return app


class Bench:
    """Member "a", incarnation 1."""

    def __init__(self, app: Application | None = None, *, backups: int = 1, found: chas.Found = NOTHING) -> None:
        self.app = app or word_count()
        self.registry = TypeRegistry()
        for step in self.app.sources:
            step.source.bind(self.registry)
        partitions = [(step.index, name) for step in self.app.sources for name in step.source.partitions()]
        self.member = machine.Member(Plan(self.app), partitions, Settings(backups=backups, cut_ms=1), self.registry)
        self.partitions = len(partitions)
        self.now = 0
        self.number = 0  # of orders
        self.sent: dict[str, int] = {}  # messages that a peer has sent in this generation
        self.done: list[Any] = []  # all that it ordered
        self.hear(chas.Booted(0, "a", 1, found))

    # --- events

    def hear(self, event: Any) -> list[Any]:
        orders = self.member.handle(event)
        self.member.check_invariants()
        self.done += orders
        return orders

    def order(self, body: Ask | Announce | Run | Restart, *, incarnation: int = 1) -> list[Any]:
        self.number += 1
        return self.hear(chas.Ordered(self.now, Order(incarnation, self.number, body)))

    def peer(self, sender: str, message: Message, *, generation: int | None = None, reached: Any = None) -> list[Any]:
        running = self.member.running
        number = generation if generation is not None else running.formation.number if running is not None else 0
        self.sent[sender] = self.sent.get(sender, 0) + 1
        at = reached or Reached(0, 0, 0, 0, None)
        return self.hear(chas.PeerSent(self.now, Envelope(number, sender, 1, self.sent[sender], at, message)))

    def tick(self) -> list[Any]:
        self.now += 1
        return self.hear(has.Ticked(self.now))

    # --- phases

    def fence(self, promise: int, found: chas.Found = NOTHING) -> list[Any]:
        orders = self.order(Ask(promise))
        if any(isinstance(order, cdo.Quiesce) for order in orders):
            orders += self.hear(chas.Quiet(self.now, found))
        return orders

    def adopt(self, formation: Formation) -> list[Any]:
        """Until it runs."""
        self.sent.clear()
        orders = self.order(Announce(formation))
        if any(isinstance(order, cdo.AdoptFormation) for order in orders):
            orders += self.hear(chas.Adopted(self.now, formation.number))
        return orders

    def answer_cursors(self, cursor: Cursor | None = None) -> list[Any]:
        orders: list[Any] = []
        for partition in range(self.partitions):
            orders += self.hear(chas.CursorRead(self.now, partition, cursor or Cursor()))
        return orders

    @property
    def status(self) -> Status:
        """The last one told."""
        found: Status = [order.status for order in self.done if isinstance(order, cdo.SendStatus)][-1]
        return found

    def messages(self, orders: list[Any], to: str | None = None) -> list[Message]:
        return [o.envelope.message for o in orders if isinstance(o, cdo.SendPeer) and to in (None, o.to)]


def formation(
    number: int,
    *,
    nodes: tuple[str, ...] = ("a", "b"),
    cut: int = 0,
    since: dict[str, int] | None = None,
    in_memory: bool = False,
    checkpoint: Checkpoint | None = None,
    lacking: tuple[tuple[str, tuple[int, ...]], ...] = (),
    sink: str = "a",
    partitions: int = 1,
    **more: Any,
) -> Formation:
    """Everything at the first node, backed by the others; a single sink."""
    holders = Holders(nodes[0], nodes[1:])
    members = tuple(Member(node, 1, (since or {}).get(node, 1)) for node in nodes)
    layout = Layout((holders,) * RANGES, (holders,) * partitions, (sink,))
    logs, spans = ((0, 0),) * partitions, ((),) * partitions
    made = Formation(number, members, layout, cut, in_memory, checkpoint, cut, logs, spans, lacking)
    return replace(made, **more)


def opened(orders: list[Any]) -> list[int]:
    return [order.sink for order in orders if isinstance(order, do.OpenSink)]
