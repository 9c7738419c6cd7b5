"""The decision, against histories of who logged and held what in which generation."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.recovery.decide import decide
from holdfast.recovery.generation import ROUND_BITS, Checkpoint, Formation
from holdfast.recovery.messages import Phase
from holdfast.recovery.rounds import held
from holdfast.recovery.testimony import Reporter, Shape, Wait, Wish
from tests.recovery.cluster_model import Cluster, Node

STEPS = 400


class History:
    """Lives, changes and checkpoints as chance has them, with no coordinator but the decision itself."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.live = random.random() < 0.5
        backups = random.choice((0, 1, 1, 1, 2))
        self.cluster = Cluster(
            "abcd"[: random.choice((2, 3, 3, 4))],
            ranges=4,
            partitions=random.choice((1, 2)),
            backups=backups,
            live=self.live,
        )
        self.shape = Shape(4, backups, self.cluster.partitions, 1, self.live, 1)
        self.record: Formation | None = None
        self.promise = 0
        self.silent: set[str] = set()
        self.born = 0
        self.number = 0
        # Each history has its own share of faults.
        self.weights = {
            self.work: 60,
            self.adopt: 12,
            self.change: random.choice((2, 5, 10)),
            self.kill: random.choice((0, 1, 3)),
            self.boot: 4,
            self.silence: random.choice((0, 1, 3)),
            self.wipe: random.choice((0, 0, 1)),
            self.checkpoint: random.choice((1, 4)),
        }
        for node in self.cluster.nodes.values():
            node.boot()

    def run(self, steps: int = STEPS) -> dict[str, int]:
        steps_taken = self.random.choices(list(self.weights), list(self.weights.values()), k=steps)
        for step in steps_taken:
            step()
        return self.cluster.counters

    def some_node(self) -> Node:
        return self.random.choice(list(self.cluster.nodes.values()))

    # --- faults

    def kill(self) -> None:
        for node in list(self.cluster.nodes.values()) if self.random.random() < 0.1 else [self.some_node()]:
            node.alive = False

    def boot(self) -> None:
        node = self.some_node()
        if not node.alive:
            node.boot()

    def silence(self) -> None:
        self.silent ^= {self.some_node().name}

    def wipe(self) -> None:
        node = self.some_node()
        del self.cluster.nodes[node.name]
        self.born += 1
        new = Node(f"{node.name[0]}{self.born}")
        self.cluster.nodes[new.name] = new
        new.boot()

    # --- work

    def work(self) -> None:
        numbers = sorted(self.cluster.generations)[-3:]
        if numbers:
            number = numbers[-1] if self.random.random() < 0.8 else self.random.choice(numbers)
            for _ in range(5):
                self.cluster.step(self.cluster.generations[number], self.random)

    def adopt(self) -> None:
        record = self.record
        if record is None:
            return
        for node in self.cluster.nodes.values():
            member = record.member(node.name)
            is_meant = node.alive and node.name not in self.silent and member and member.incarnation == node.incarnation
            if is_meant and self.random.random() < 0.7:
                if node.generation == record.number and node.phase is Phase.ADOPT:
                    self.cluster.run(node)
                elif node.promised <= record.number and node.generation < record.number:
                    self.cluster.adopt(node, record)

    def change(self) -> None:
        """Some are asked; what they report decides."""
        cluster, random = self.cluster, self.random
        self.promise += 1
        asked = [n for n in cluster.nodes.values() if n.alive and n.name not in self.silent and random.random() < 0.9]
        for node in asked:
            node.ask(self.promise)
        reporters = {
            node.name: Reporter(node.incarnation, node.report(with_memory=self.shape.backups > 0)) for node in asked
        }
        names = sorted(cluster.nodes)
        wish = Wish(
            self.promise,
            leaving=frozenset(random.sample(names, random.choice((0, 0, 1)))),
            shunned=frozenset(random.sample(names, random.choice((0, 0, 0, 1)))),
        )
        decision = decide(self.record, cluster.checkpoint, reporters, self.shape, wish)
        if isinstance(decision, Wait):
            cluster.count("waited")
            return
        cluster.check_decision(decision, [node.name for node in asked], self.record)
        cluster.count("decided")
        self.record = decision
        cluster.announce(decision)

    def checkpoint(self) -> None:
        """A round, or the next bit of one."""
        record, cluster = self.record, self.cluster
        if record is None or record.number != self.promise:
            return
        generation = cluster.generations[record.number]
        if not all(cluster.has_caught_up(generation, member.node) for member in record.members):
            return
        if generation.staging is None or self.random.random() < 0.1:
            self.number = max(self.number + 1, record.number << ROUND_BITS | 1)
            generation.staging = None
            cluster.stage(generation, self.number)
        for member in record.members:
            if self.random.random() < 0.8:
                cluster.prepare(generation, member.node)
        nodes = [cluster.member(generation, member.node) for member in record.members]
        number, cut = generation.staging or (0, 0)
        if all(node and node.prepared and node.prepared.number == number for node in nodes):
            cluster.checkpoint = Checkpoint(number, cut, None, held(record))
            cluster.count("checkpoints")
            generation.staging = None
        for node in nodes:
            if node and cluster.checkpoint and self.random.random() < 0.8:
                cluster.complete(node, cluster.checkpoint.number)


@given(st.integers(min_value=0, max_value=2**32))
@settings(max_examples=150, deadline=None)
def test_nothing_durable_is_lost_and_no_image_is_of_another_past(seed: int) -> None:
    History(seed).run()
