"""Log copies: never durable too early, and durable as soon as it is true, against a model of all disks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.core.epochs import Chunk, LogEntry
from holdfast.replication.log_copies import LogCopies

BACKUPS = {0: ("b", "c"), 1: ("b",), 2: ()}


def entry(epoch: int, partition: int) -> LogEntry:
    return LogEntry(epoch, 1, 0, Chunk(partition, 0, 1, 0, None, False, b""))


class CopiesMachine(RuleBasedStateMachine):
    """One member with three partitions; the model knows which entry is on which disk."""

    @initialize(cut=st.integers(0, 5), beyond=st.tuples(*[st.integers(-2, 3)] * 3))
    def start(self, cut: int, beyond: tuple[int, ...]) -> None:
        self.cut = cut
        self.adopted = {p: max(0, cut + more) for p, more in enumerate(beyond)}
        self.copies = LogCopies(cut, BACKUPS, self.adopted)
        self.entries: dict[int, list[int]] = {p: [] for p in BACKUPS}
        self.tails = {(p, node): -1 for p, nodes in BACKUPS.items() for node in nodes}

    @rule(parts=st.sets(st.sampled_from(sorted(BACKUPS))))
    def close(self, parts: set[int]) -> None:
        epoch = self.copies.closed + 1
        parts = {p for p in parts if epoch <= self.adopted[p] or self.has_adopted()}
        for p in parts:
            self.entries[p].append(epoch)
        self.copies.closes(epoch, [entry(epoch, p) for p in sorted(parts)])

    def has_adopted(self) -> bool:
        return all(tail >= self.adopted[p] for (p, _), tail in self.tails.items())

    @rule()
    def sync(self) -> None:
        self.copies.synced = min(self.copies.synced + 1, self.copies.closed)

    @rule(
        place=st.sampled_from([(p, node) for p, nodes in BACKUPS.items() for node in nodes]), tail=st.integers(-1, 12)
    )
    def hold(self, place: tuple[int, str], tail: int) -> None:
        self.copies.heard(place[1], place[0], tail)
        self.tails[place] = max(self.tails[place], tail)

    @rule()
    def stranger(self) -> None:
        self.copies.heard("x", 0, 99)
        self.copies.heard("c", 1, 99)
        self.copies.heard("b", 7, 99)

    @invariant()
    def durable_is_what_is_on_all_disks(self) -> None:
        if not hasattr(self, "copies"):
            return
        expected = self.cut
        if self.has_adopted():
            for epoch in range(self.cut + 1, self.copies.synced + 1):
                held = [t for (p, _), t in self.tails.items() if epoch in self.entries[p]]
                if any(tail < epoch for tail in held):
                    break
                expected = epoch
        assert self.copies.durable == expected


TestCopies = CopiesMachine.TestCase
TestCopies.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.integers(0, 9))
def test_without_partitions_what_is_closed_and_synced_is_durable(epochs: int) -> None:
    copies = LogCopies(4, {}, {})
    no_entries: list[Any] = []
    for epoch in range(5, 5 + epochs):
        copies.closes(epoch, no_entries)
        copies.synced = epoch

    assert copies.durable == 4 + epochs
