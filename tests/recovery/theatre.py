"""A coordinator among workers that are played by the model of a cluster (`cluster_model`).

Statuses and orders lie about until chance delivers them: late, twice, in any order, or never. What must hold at every
moment is asserted where it happens: what is ordered rests on what is durable, a number has one content, and everything
that `cluster_model` knows to be broken.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from holdfast.recovery import effects, events
from holdfast.recovery.config import Config
from holdfast.recovery.coordinator import Coordinator, State
from holdfast.recovery.generation import Formation
from holdfast.recovery.invariants import check_invariants
from holdfast.recovery.messages import Announce, Ask, Order, Phase, Report, Restart, Run, Status
from tests.recovery.cluster_model import Cluster, Generation, Node, expect

TICK_MS = 20
IN_FLIGHT_MAX = 30


@dataclass
class Part:
    """What a worker knows of the coordinator's orders."""

    sent: int = 0
    last: Status | None = None
    heard: int = 0
    run: Run | None = None
    report: Report | None = None
    over: bool = False


@dataclass
class Theatre:
    """Everything and everybody."""

    random: Random
    cluster: Cluster
    config: Config
    now: int = 0
    kept: events.Kept = field(default_factory=events.Kept)
    coordinator: Coordinator | None = None
    stores: list[effects.Store] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    orders: list[tuple[str, Order]] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=dict)
    blocked: set[frozenset[str]] = field(default_factory=set)
    contents: dict[int, Formation] = field(default_factory=dict)
    rounds: dict[int, tuple[int, int]] = field(default_factory=dict)  # checkpoint -> generation, life
    outcome: effects.Finish | None = None
    is_stopping: bool = False

    # --- the coordinator

    def start(self) -> None:
        if self.coordinator is None and self.outcome is None:
            self.kept = replace(self.kept, life=self.kept.life + 1)
            self.coordinator = Coordinator(self.config)
            self.give(events.Started(self.now, self.kept))
            if self.is_stopping:
                self.give(events.StopAsked(self.now))

    def crash(self) -> None:
        """The coordinator dies; a write under way has come through, or has not."""
        self.coordinator = None
        if self.stores and self.random.random() < 0.5:
            self.durable(self.stores[0].kept)
        self.stores = []

    def give(self, event: events.Event) -> None:
        if self.coordinator is None:
            return
        for effect in self.coordinator.handle(event):
            self.carry_out(effect)
        if self.coordinator is not None:
            check_invariants(self.coordinator)

    def carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Tell(node, order):
                self.check_order(order)
                self.orders.append((node, order))
                if len(self.orders) > IN_FLIGHT_MAX:
                    self.orders.pop(0)
            case effects.Store():
                expect(not self.stores, "two writes at a time")
                self.stores.append(effect)
                self.check_store(effect.kept)
            case effects.Finish():
                self.outcome = effect
                self.coordinator = None

    def check_order(self, order: Order) -> None:
        match order.order:
            case Ask(promise):
                expect(promise == self.kept.drawn, "a number was asked with that is not durable")
            case Announce(formation):
                expect(formation == self.kept.formation, "a formation was announced that is not durable")
            case Run() as run:
                checkpoint = self.kept.checkpoint
                expect(run.complete in (0, checkpoint.number if checkpoint else 0), "complete, but not durably")
                if run.checkpoint:
                    first = self.rounds.setdefault(run.checkpoint, (run.generation, self.kept.life))
                    expect(first == (run.generation, self.kept.life), "a checkpoint's number was ordered twice")

    def check_store(self, kept: events.Kept) -> None:
        formation = kept.formation
        if formation is not None and formation != self.kept.formation:
            first = self.contents.setdefault(formation.number, formation)
            expect(first == formation, f"two contents for generation {formation.number}")
            expect(formation.number > (self.kept.formation.number if self.kept.formation else 0), "a number goes back")
            assert self.coordinator is not None
            self.cluster.checkpoint = self.kept.checkpoint
            reporting = list(self.coordinator.roster.reporters(self.kept.drawn))
            self.cluster.check_decision(formation, reporting, self.kept.formation)
            self.cluster.count("formations")

    def durable(self, kept: events.Kept) -> None:
        expect(kept.drawn >= self.kept.drawn and kept.reserved >= self.kept.reserved, "a number is forgotten")
        if kept.formation is not None and kept.formation != self.kept.formation:
            self.cluster.announce(kept.formation)
        if kept.checkpoint != self.kept.checkpoint:
            self.cluster.checkpoint = kept.checkpoint
            self.cluster.count("checkpoints")
        self.kept = kept

    def store_done(self) -> None:
        if self.stores:
            store = self.stores.pop()
            self.durable(store.kept)
            self.give(events.Stored(self.now, store.ticket))

    def tick(self) -> None:
        self.now += TICK_MS
        self.give(events.Ticked(self.now))

    # --- workers

    def part(self, node: Node) -> Part:
        return self.parts.setdefault(f"{node.name}/{node.incarnation}", Part())

    def boot(self, node: Node) -> None:
        if not node.alive:
            node.boot()
            self.say(node)

    def kill(self, node: Node, *, noticed: bool) -> None:
        node.alive = False
        if noticed:
            self.give(events.WorkerLost(self.now, node.name, self.random.choice((0, node.incarnation))))

    def restart(self, node: Node) -> None:
        node.alive = False
        self.boot(node)

    def say(self, node: Node) -> None:
        """The worker sends its status."""
        part = self.part(node)
        if not node.alive:
            return
        status = self.status(node, part)
        if part.last is None or replace(part.last, number=0) != status:  # else it says the same again
            part.sent += 1
            part.last = replace(status, number=part.sent)
        self.statuses.append(part.last)
        if len(self.statuses) > IN_FLIGHT_MAX:
            self.statuses.pop(0)

    def status(self, node: Node, part: Part) -> Status:
        if node.phase is Phase.FENCED and (part.report is None or part.report.promise != node.promised):
            part.report = node.report(with_memory=self.config.backups > 0)
        works = node.phase in (Phase.ADOPT, Phase.RUN)
        generation = self.cluster.generations.get(node.generation) if node.phase is Phase.RUN else None
        staged = max((own.number, own.epoch) if own else (0, 0) for own in (node.complete, node.prepared))
        return Status(
            node=node.name,
            incarnation=node.incarnation,
            number=0,
            phase=Phase.OVER if part.over else node.phase,
            generation=node.generation if works else 0,
            promised=node.promised,
            heard=part.heard,
            report=part.report if node.phase is Phase.FENCED else None,
            sealed=node.sealed,
            closed=node.applied,
            applied=node.applied,
            changed=node.applied > staged[1],
            resting=generation is not None and self.is_resting(generation),
            located=generation is not None,
            caught_up=generation is not None and self.cluster.has_caught_up(generation, node.name),
            prepared=staged[0],
            prepared_at=staged[1],
            completed=node.complete.number if node.complete else 0,
            lost=self.lost(generation, node) if generation else (),
        )

    def is_resting(self, generation: Generation) -> bool:
        """At one epoch, everywhere, and durable."""
        nodes = [self.cluster.nodes.get(member.node) for member in generation.formation.members]
        if len(generation.closed) < self.cluster.partitions:
            return False
        places = set(generation.closed.values())
        places |= {own.applied if own and own.generation == generation.formation.number else -1 for own in nodes}
        return len(places) == 1 and self.cluster.durable(generation) in places

    def lost(self, generation: Generation, node: Node) -> tuple[str, ...]:
        return tuple(
            member.node
            for member in generation.formation.members
            if frozenset((member.node, node.name)) in self.blocked and member.node != node.name
        )

    # --- the post

    def deliver_status(self, index: int, *, again: bool = False) -> None:
        if self.statuses:
            index %= len(self.statuses)
            status = self.statuses[index] if again else self.statuses.pop(index)
            self.give(events.Heard(self.now, status))

    def deliver_order(self, index: int, *, again: bool = False) -> None:
        if self.orders:
            index %= len(self.orders)
            name, order = self.orders[index] if again else self.orders.pop(index)
            node = self.cluster.nodes.get(name)
            if node is not None and node.alive:
                self.obey(node, order)

    def obey(self, node: Node, order: Order) -> None:
        part = self.part(node)
        if order.incarnation != node.incarnation or order.number <= part.heard or part.over:
            return
        part.heard = order.number
        match order.order:
            case Ask(promise):
                node.ask(promise)
            case Announce(formation):
                self.hear_announced(node, formation)
            case Run() as run:
                if run.finish:
                    part.over = True
                elif node.phase is Phase.RUN and run.generation == node.generation:
                    part.run = run
                    self.cluster.complete(node, run.complete)
            case Restart():
                self.restart(node)
        self.say(node)

    def hear_announced(self, node: Node, formation: Formation) -> None:
        member = formation.member(node.name)
        if member is None or member.incarnation != node.incarnation:
            self.restart(node)
        elif formation.number >= node.promised and formation.number > node.generation:
            self.cluster.adopt(node, formation)

    # --- work

    def work(self) -> None:
        """A little happens in one of the latest generations."""
        numbers = sorted(self.cluster.generations)[-3:]
        if not numbers:
            return
        number = numbers[-1] if self.random.random() < 0.8 else self.random.choice(numbers)
        generation = self.cluster.generations[number]
        for _ in range(6):
            self.cluster.step(generation, self.random, blocked=self.blocked, stopped=self.stopped(generation))
        for member in generation.formation.members:
            node = self.cluster.nodes.get(member.node)
            if node is None or not node.alive:
                continue
            if node.phase is Phase.ADOPT and node.generation == number:
                self.cluster.run(node)
            part = self.part(node)
            if node.phase is Phase.RUN and part.run and part.run.checkpoint and part.run.generation == number:
                self.cluster.stage(generation, part.run.checkpoint, at_rest=self.is_resting(generation))
                self.cluster.prepare(generation, node.name)

    def stopped(self, generation: Generation) -> set[str]:
        """The members that open no epoch any more."""
        parts = [(m.node, self.parts.get(f"{m.node}/{m.incarnation}")) for m in generation.formation.members]
        return {name for name, part in parts if part is not None and part.run is not None and part.run.stopping}

    # --- the end of all faults

    def heal(self, rounds: int = 1500) -> None:
        """From now on everything arrives, once and in order; it must come to rest in the layout wanted."""
        for number in range(rounds):
            self.start()
            for node in list(self.cluster.nodes.values()):
                if not self.part(node).over:
                    self.boot(node)
            self.calm_round()
            if self.is_well() and number > 5:
                return
        raise AssertionError(f"not well after all that: {self.why_not()}")

    def calm_round(self) -> None:
        self.now += TICK_MS
        self.store_done()
        self.work()
        for node in list(self.cluster.nodes.values()):
            if node.alive:
                self.say(node)
            elif self.coordinator is not None:
                self.give(events.WorkerLost(self.now, node.name, node.incarnation))
        while self.statuses:
            self.deliver_status(0)
        self.store_done()
        self.tick()
        while self.orders:
            self.deliver_order(0)

    def is_well(self) -> bool:
        """All that are there work in one generation, and the layout is what it should be."""
        formation = self.kept.formation
        if self.coordinator is None or self.coordinator.state is not State.RUN or formation is None:
            return False
        at_work = {
            name for name in self.cluster.nodes if self.cluster.member(self.cluster.generations[formation.number], name)
        }
        return formation.target is None and at_work == self.wanted()

    def wanted(self) -> set[str]:
        assert self.coordinator is not None
        away = self.coordinator.leaving | self.coordinator.quarrels.shunned(self.now)
        there = {name for name, node in self.cluster.nodes.items() if not self.part(node).over}  # others were let go
        return there - away or there

    def stop(self, rounds: int = 1500) -> None:
        """Stopped, it ends with a checkpoint of everything."""
        self.is_stopping = True
        self.give(events.StopAsked(self.now))
        for _ in range(rounds):
            self.start()
            self.calm_round()
            if self.outcome is not None:
                return
        raise AssertionError(f"no end: {self.why_not()}")

    def why_not(self) -> object:
        return self.coordinator and (self.coordinator.state, list(self.coordinator.journal.entries)[-12:])
