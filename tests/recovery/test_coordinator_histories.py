"""The coordinator under everything that may befall it and its workers, against the model of a cluster.

What is asserted at every step stands in `theatre` and `cluster_model`; at the end all faults stop, and it must come to
rest in the layout that is wanted, and then end when it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from holdfast.recovery import events
from holdfast.recovery.config import Config
from tests.recovery.cluster_model import Cluster, Node
from tests.recovery.theatre import Theatre

PLACES = st.integers(min_value=0, max_value=7)
STEPS = 500


def staged(random: Random) -> Theatre:
    """A cluster of some size, and a coordinator of some patience."""
    count = random.choice((1, 2, 3, 3, 4))
    backups = random.choice((0, 1, 1, 1, 2))
    partitions = random.choice((1, 2))
    live = random.random() < 0.5
    cluster = Cluster("abcd"[:count], ranges=4, partitions=partitions, backups=backups, live=live)
    config = Config(
        workers=random.choice((1, count)),
        partitions=partitions,
        sinks=1,
        live=live,
        ranges=4,
        backups=backups,
        checkpoint_ms=random.choice((100, 500)),
        collect_ms=200,
        waiting_ms=random.choice((0, 200)),
        join_ms=random.choice((0, 50)),
        shun_ms=400,
    )
    theatre = Theatre(random, cluster, config)
    theatre.start()
    for node in cluster.nodes.values():
        theatre.boot(node)
    return theatre


class Coordination(RuleBasedStateMachine):
    """Hypothesis chooses what happens; the details are chance from a seed."""

    @initialize(seed=st.integers(min_value=0, max_value=2**32))
    def set_up(self, seed: int) -> None:
        self.theatre = staged(Random(seed))

    def node(self, place: int) -> Node:
        nodes = list(self.theatre.cluster.nodes.values())
        return nodes[place % len(nodes)]

    @rule()
    def time_passes(self) -> None:
        self.theatre.tick()

    @rule(place=PLACES, again=st.booleans())
    def a_status_arrives(self, place: int, again: bool) -> None:
        self.theatre.deliver_status(place, again=again)

    @rule(place=PLACES, again=st.booleans())
    def an_order_arrives(self, place: int, again: bool) -> None:
        self.theatre.deliver_order(place, again=again)

    @rule(place=PLACES)
    def something_is_lost_on_the_way(self, place: int) -> None:
        for post in (self.theatre.statuses, self.theatre.orders):
            if post and place % 2:
                post.pop(place % len(post))

    @rule()
    def a_write_is_durable(self) -> None:
        self.theatre.store_done()

    @rule()
    def everything_goes_well_for_a_while(self) -> None:
        self.theatre.start()
        for _ in range(5):
            self.theatre.calm_round()

    @rule()
    def the_workers_work(self) -> None:
        self.theatre.work()

    @rule(place=PLACES)
    def a_worker_tells_its_status(self, place: int) -> None:
        self.theatre.say(self.node(place))

    @rule(place=PLACES, noticed=st.booleans())
    def a_worker_is_killed(self, place: int, noticed: bool) -> None:
        self.theatre.kill(self.node(place), noticed=noticed)

    @rule(place=PLACES)
    def a_worker_starts(self, place: int) -> None:
        self.theatre.boot(self.node(place))

    @rule(place=PLACES)
    def a_worker_is_suspected(self, place: int) -> None:
        self.theatre.give(events.WorkerLost(self.theatre.now, self.node(place).name))

    @rule()
    def the_coordinator_is_killed(self) -> None:
        self.theatre.crash()

    @rule()
    def the_coordinator_starts(self) -> None:
        self.theatre.start()

    @rule(first=PLACES, second=PLACES)
    def two_workers_lose_each_other(self, first: int, second: int) -> None:
        if self.node(first) is not self.node(second):
            self.theatre.blocked.add(frozenset((self.node(first).name, self.node(second).name)))

    @rule()
    def all_find_each_other_again(self) -> None:
        self.theatre.blocked.clear()

    @precondition(lambda self: self.theatre.kept.formation is not None)
    @rule(place=PLACES)
    def a_worker_is_asked_to_leave(self, place: int) -> None:
        self.theatre.give(events.LeaveAsked(self.theatre.now, (self.node(place).name,)))

    def teardown(self) -> None:
        if hasattr(self, "theatre"):
            come_to_rest(self.theatre)


TestCoordination = Coordination.TestCase
TestCoordination.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def come_to_rest(theatre: Theatre) -> None:
    theatre.blocked.clear()
    if theatre.outcome is None:
        theatre.heal()
        theatre.stop()


def play(seed: int, steps: int = STEPS) -> Theatre:
    """A longer history, in which each seed has its own share of faults."""
    random = Random(seed)
    theatre = staged(random)

    def some() -> Node:
        return random.choice(list(theatre.cluster.nodes.values()))

    def place() -> int:
        return random.randrange(30) if random.random() < 0.3 else 0

    def lose_a_message() -> None:
        post: list[object] = random.choice((theatre.statuses, theatre.orders))  # type: ignore[arg-type]
        if post:
            post.pop(random.randrange(len(post)))

    def block() -> None:
        pair = frozenset((some().name, some().name))
        if len(pair) == 2:
            theatre.blocked.add(pair)

    def leave() -> None:
        if theatre.kept.formation is not None:
            theatre.give(events.LeaveAsked(theatre.now, (some().name,)))

    acts: dict[Callable[[], object], float] = {
        theatre.tick: 10,
        lambda: theatre.deliver_status(place()): 20,
        lambda: theatre.deliver_order(place()): 20,
        lambda: theatre.deliver_status(place(), again=True): random.choice((0, 3)),
        lambda: theatre.deliver_order(place(), again=True): random.choice((0, 3)),
        lose_a_message: random.choice((0, 5)),
        theatre.store_done: 10,
        theatre.work: 30,
        lambda: theatre.say(some()): 10,
        lambda: theatre.kill(some(), noticed=random.random() < 0.7): random.choice((0, 1, 2)),
        lambda: theatre.boot(some()): 3,
        lambda: theatre.give(events.WorkerLost(theatre.now, some().name)): random.choice((0, 1)),
        theatre.crash: random.choice((0, 1)),
        theatre.start: 4,
        theatre.calm_round: random.choice((0, 5)),
        block: random.choice((0, 0, 1)),
        theatre.blocked.clear: 1,
        leave: random.choice((0, 0, 0.2)),
    }
    for act in random.choices(list(acts), list(acts.values()), k=steps):
        if theatre.outcome is not None:
            break
        act()
    come_to_rest(theatre)
    return theatre


@pytest.mark.parametrize("seed", range(12))
def test_a_long_history_breaks_nothing_and_ends(seed: int) -> None:
    play(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, 2000, 100))
def test_many_long_histories_break_nothing_and_end(first: int) -> None:
    for seed in range(first, first + 100):
        play(seed)
