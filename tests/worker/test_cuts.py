"""Cuts: never replicated or sealed too early, never forgotten before a later one is known to be sealed."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.replication.progress import Progress
from holdfast.worker.cuts import Cuts

BACKUPS = ("b", "c")
SINKS = 2


class CutsMachine(RuleBasedStateMachine):
    """One member with two backups, one of which lacks images at first, and two sinks; others lag at will."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts = Cuts(10, SINKS, {0: (0, None), 1: (0, None)}, 5)
        self.cuts.expect(BACKUPS, ["c"])
        self.progress = Progress(["a", "x"], 10)
        self.made = [10]
        self.held = {"b": 10, "c": 9}
        self.noted = {(10, 0), (10, 1)}
        self.sealed = 10

    @rule(gap=st.integers(1, 3))
    def make(self, gap: int) -> None:
        self.made.append(self.made[-1] + gap)
        self.cuts.make(self.made[-1], self.made[-1])

    @rule(node=st.sampled_from((*BACKUPS, "stranger")), data=st.data())
    def hold(self, node: str, data: st.DataObject) -> None:
        cut = data.draw(st.sampled_from(self.made))
        self.cuts.hold(node, cut)
        if node in self.held:
            self.held[node] = max(self.held[node], cut)

    @rule(sink=st.integers(0, 1), data=st.data())
    def note(self, sink: int, data: st.DataObject) -> None:
        """A sink tells its tokens in the order of cuts."""
        following = [cut for cut in self.made if (cut, sink) not in self.noted]
        if following:
            self.cuts.note(following[0], sink, (1, "t"))
            self.noted.add((following[0], sink))

    @rule(data=st.data(), before=st.one_of(st.none(), st.integers(11, 30)))
    def seal(self, data: st.DataObject, before: int | None) -> None:
        self.progress.advance("a", durable=99, replicated=self.cuts.replicated, delivered=99)
        name = data.draw(st.sampled_from(["durable", "replicated", "delivered"]))
        lags = dict.fromkeys(["durable", "replicated", "delivered"], 99) | {name: data.draw(st.integers(10, 30))}
        self.progress.advance("x", **lags)
        moved = self.cuts.seal(self.progress, before)
        possible = [c for c in self.made if c <= self.progress.sealed and (before is None or c < before)]
        expected = max([self.sealed, *possible])
        assert moved == (expected > self.sealed)
        self.sealed = expected

    @invariant()
    def it_tells_the_truth(self) -> None:
        held = min(self.held.values())
        true = [c for c in self.made if c <= held and all((c, sink) in self.noted for sink in range(SINKS))]
        assert self.cuts.replicated == max([self.sealed, *true])
        assert self.cuts.caught_up == (held >= 10)
        assert self.cuts.sealed == self.sealed

    @invariant()
    def what_may_be_returned_to_is_known(self) -> None:
        """Every cut from the sealed one on, with its time and what was told of the sinks."""
        later = [cut for cut in self.made if cut >= self.sealed]
        assert self.cuts.made == later
        assert sorted(self.cuts.times) == later
        assert {(c, s) for c, own in self.cuts.tokens.items() for s in own} == {n for n in self.noted if n[0] in later}


TestCuts = CutsMachine.TestCase
TestCuts.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, database=None)


def test_what_lies_inside_an_epoch_is_never_sealed() -> None:
    cuts = Cuts(10, 0, {}, 0)
    progress = Progress(["a"], 10)
    for cut in (12, 15):
        cuts.make(cut, 0)
    progress.advance("a", durable=15, replicated=15, delivered=15)

    assert cuts.seal(progress, 15)
    assert cuts.sealed == 12


def test_what_is_told_of_a_cut_behind_the_sealed_one_is_dropped() -> None:
    cuts = Cuts(10, 1, {}, 0)
    cuts.note(9, 0, (1, None))

    assert cuts.tokens == {10: {}}


def test_a_new_backup_holds_nothing_before_it_has_the_snapshot() -> None:
    cuts = Cuts(10, 0, {}, 5)
    cuts.expect(["b"], ["b"])
    assert not cuts.caught_up

    cuts.hold("b", 10)

    assert cuts.caught_up
