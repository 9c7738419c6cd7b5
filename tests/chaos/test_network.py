"""The simulated network keeps what connections promise, and says what it has lost."""

from __future__ import annotations

from dataclasses import replace

from holdfast.chaos.counters import Counters
from holdfast.chaos.network import End, Network, NetworkOptions
from holdfast.chaos.schedule import Schedule, Streams

GOOD = NetworkOptions(
    latency_ms=5.0, tail=0.2, doubled=0.0, late=0.0, late_ms=50.0, notice_ms=100.0, levels_lost=0.0
)


class Pair:
    """Two processes and the network between them."""

    def __init__(self, options: NetworkOptions = GOOD, seed: int = 0) -> None:
        self.schedule = Schedule()
        self.network = Network(self.schedule, Streams(seed), options, Counters())
        self.heard: dict[str, list[object]] = {"a": [], "b": []}
        self.told: list[tuple[str, str, int]] = []
        for name, incarnation in (("a", 1), ("b", 7)):
            self.join(name, incarnation)

    def join(self, name: str, incarnation: int) -> None:
        def lost(peer: str, of: int) -> None:
            self.told.append((name, peer, of))

        self.network.join(name, End(incarnation, self.heard[name].append, lost, lambda peer: None))

    def run(self) -> None:
        while self.schedule.step():
            pass


def test_messages_of_a_connection_arrive_in_order_and_once() -> None:
    pair = Pair()
    for number in range(50):
        pair.network.send("a", "b", number)
        pair.network.send("b", "a", -number)
    pair.run()

    assert pair.heard == {"a": [-number for number in range(50)], "b": list(range(50))}
    assert pair.told == []


def test_a_reset_loses_the_end_of_what_was_under_way_and_tells_both_ends() -> None:
    lengths = set()
    for seed in range(30):
        pair = Pair(seed=seed)
        for number in range(10):
            pair.network.send("a", "b", number)
        pair.network.reset("a", "b")
        pair.run()
        lengths.add(len(pair.heard["b"]))

        assert pair.heard["b"] == list(range(len(pair.heard["b"])))
        assert sorted(pair.told) == [("a", "b", 7), ("b", "a", 1)]
    assert min(lengths) == 0
    assert max(lengths) > 0


def test_what_a_reset_has_lost_may_arrive_behind_what_newer_connections_carry() -> None:
    overtaken = 0
    for seed in range(30):
        pair = Pair(replace(GOOD, late=0.5, late_ms=500.0), seed)
        pair.network.send("a", "b", "old")
        pair.network.reset("a", "b")
        pair.network.send("a", "b", "new")
        pair.run()
        overtaken += "old" in pair.heard["b"] and pair.heard["b"].index("new") < pair.heard["b"].index("old")

    assert overtaken > 0


def test_a_path_that_is_blocked_for_a_moment_only_delays() -> None:
    pair = Pair()
    pair.network.send("a", "b", 0)
    pair.network.block("a", "b", 10.0)
    pair.network.send("a", "b", 1)
    pair.run()

    assert pair.heard["b"] == [0, 1]
    assert pair.told == []


def test_a_path_that_is_blocked_for_long_breaks_the_connection() -> None:
    pair = Pair()
    pair.network.block("a", "b", 1_000.0)
    pair.network.send("a", "b", 0)
    pair.run()

    assert pair.heard["b"] == []
    assert {name for name, _, _ in pair.told} == {"a", "b"}


def test_a_process_that_stands_still_notices_nothing_until_it_goes_on() -> None:
    pair = Pair()
    pair.network.send("a", "b", 0)
    pair.network.freeze("b", 2_000.0)
    while pair.schedule.now < 1_900.0 and pair.schedule.step():
        pass
    before = list(pair.told)
    pair.run()

    assert {name for name, _, _ in before} == {"a"}
    assert {name for name, _, _ in pair.told} == {"a", "b"}


def test_who_speaks_to_nobody_is_told() -> None:
    pair = Pair()
    pair.network.leave("b", silently=False)
    pair.network.send("a", "b", 0)
    pair.run()

    assert pair.told == [("a", "b", 0)]


def test_what_is_said_again_anyway_may_be_lost_and_doubled_and_nobody_is_told() -> None:
    pair = Pair(replace(GOOD, levels_lost=0.5))
    for number in range(100):
        pair.network.send_level("a", "b", number)
    pair.run()

    assert 0 < len(set(map(int, map(str, pair.heard["b"])))) < 100
    assert len(pair.heard["b"]) > len(set(map(str, pair.heard["b"])))
    assert pair.told == []


def test_a_healed_network_loses_doubles_and_delays_nothing() -> None:
    pair = Pair(NetworkOptions(5.0, 0.2, doubled=0.5, late=0.5, late_ms=50.0, notice_ms=100.0, levels_lost=0.5))
    pair.network.block("a", "b", 1_000.0)
    pair.network.heal()
    for number in range(50):
        pair.network.send("a", "b", number)
        pair.network.send_level("b", "a", number)
    pair.run()

    assert pair.heard["b"] == list(range(50))
    assert sorted(map(str, pair.heard["a"])) == sorted(map(str, range(50)))
