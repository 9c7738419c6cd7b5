"""A coordinator at its desk: what it wrote and what it said last, and short ways to have workers say something."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.epochs import Cursor, Lineage
from holdfast.recovery import effects, events
from holdfast.recovery.config import Config
from holdfast.recovery.coordinator import Coordinator, State
from holdfast.recovery.invariants import check_invariants
from holdfast.recovery.messages import Ask, Order, Phase, Remembered, Report, Status

CONFIG = Config(workers=2, partitions=1, sinks=1, live=True, ranges=4)
ALL = (0, 1, 2, 3)
WELL: dict[str, Any] = {"caught_up": True, "located": True, "sealed": 5, "closed": 9, "applied": 9}


@dataclass
class Desk:
    """A coordinator, what it wrote, and what it said last to whom."""

    config: Config = CONFIG
    kept: events.Kept = field(default_factory=lambda: events.Kept(life=1))
    now: int = 0
    said: dict[str, Order] = field(default_factory=dict)
    stores: list[effects.Store] = field(default_factory=list)
    waiting: str = ""
    finish: effects.Finish | None = None
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(self.config)
        self.give(events.Started(self.now, self.kept))

    def give(self, event: events.Event) -> None:
        for effect in self.coordinator.handle(event):
            match effect:
                case effects.Tell(node, order):
                    self.said[node] = order
                case effects.Store():
                    self.stores.append(effect)
                case effects.Waiting(reason):
                    self.waiting = reason
                case effects.Finish():
                    self.finish = effect
        check_invariants(self.coordinator)

    def store(self) -> None:
        store = self.stores.pop(0)
        self.kept = store.kept
        self.give(events.Stored(self.now, store.ticket))

    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.give(events.Ticked(self.now))

    def body(self, node: str) -> object:
        order = self.said.get(node)
        return order.order if order is not None else None

    def hear(self, node: str, incarnation: int = 1, phase: Phase = Phase.JOIN, **fields: Any) -> None:
        """A status that has heard all that was said, if nothing else is given."""
        life = f"{node}/{incarnation}"
        self.numbers[life] = fields.pop("number", self.numbers.get(life, 0) + 1)
        last = self.said.get(node)
        heard = last.number if last is not None and last.incarnation == incarnation else 0
        fields = {"generation": 0, "promised": 0, "heard": heard} | fields
        self.give(events.Heard(self.now, Status(node, incarnation, self.numbers[life], phase, **fields)))

    def report(self, node: str, incarnation: int = 1, report: Report | None = None) -> None:
        ask = self.body(node)
        assert isinstance(ask, Ask)
        report = replace(report or EMPTY, promise=ask.promise)
        self.hear(node, incarnation, Phase.FENCED, promised=ask.promise, report=report)

    def run(self, *nodes: str, incarnation: int = 1, **fields: Any) -> None:
        """Members work in the recorded generation."""
        assert self.kept.formation is not None
        number = self.kept.formation.number
        for node in nodes:
            self.hear(node, incarnation, Phase.RUN, generation=number, promised=number, **(WELL | fields))

    def form(self, *nodes: str, report: Report | None = None, incarnation: int = 1) -> None:
        """From the number drawn to all at work."""
        self.store()
        for node in nodes:
            self.report(node, incarnation, report)
        self.store()
        self.run(*nodes, incarnation=incarnation)

    def start(self, *nodes: str) -> None:
        for node in nodes:
            self.hear(node)
        self.form(*nodes)


EMPTY = Report(0, 0, 0, 0, (), (), None, None)


def memory(generation: int, sealed: int = 5) -> Report:
    """Of a member that took part."""
    log = Lineage(generation, Cursor(), 9, ((generation, 9),))
    return Report(0, generation, sealed, generation, (Remembered(ALL, 0, 9),), ((0, log),), None, None)


def working(nodes: str = "ab", config: Config = CONFIG) -> Desk:
    desk = Desk(config)
    desk.start(*nodes)
    return desk


def drawn(desk: Desk) -> str:
    """Why a number was drawn; fails if none was."""
    assert desk.coordinator.state is State.DRAW, list(desk.coordinator.journal.entries)[-3:]
    return desk.coordinator.why
