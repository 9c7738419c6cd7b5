"""A channel carries out works one after the other, and a process that dies leaves what runs to chance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from holdfast.chaos.channel import Answer, Channel, Work
from holdfast.chaos.schedule import Schedule
from holdfast.worker import events


class Note(Work[int]):
    """A work that writes down what becomes of it."""

    def __init__(
        self, name: int, history: list[str], *, ready: float | None = 0.0, group: bool = False
    ) -> None:
        super().__init__(name)
        self.name = name
        self.history = history
        self.ready_at = ready
        self.group = group

    def ready(self) -> float | None:
        return self.ready_at

    def joins(self, first: Work[Any]) -> bool:
        return self.group

    def begin(self) -> None:
        self.history.append(f"begin {self.name}")

    def finish(self) -> Sequence[Answer]:
        self.history.append(f"finish {self.name}")
        return [lambda now: events.LogSynced(now, self.name)]

    def tear(self, random: Random) -> None:
        self.history.append(f"tear {self.name}")


class Bench:
    """A channel whose works take the times given, one after the other."""

    def __init__(self, *latencies: float) -> None:
        self.schedule = Schedule()
        self.history: list[str] = []
        left = list(latencies)
        self.channel = Channel(self.schedule, lambda: left.pop(0) if left else 1.0, self.done, self.answered)

    def done(self, work: Work[Any]) -> None:
        self.history.append(f"done {work.order}")

    def answered(self, answer: Answer) -> None:
        event = answer(0)
        assert isinstance(event, events.LogSynced)
        self.history.append(f"answer {event.epoch}")

    def run(self) -> list[str]:
        while self.schedule.step():
            pass
        return self.history


def test_works_finish_and_answer_in_the_order_given_however_long_they_take() -> None:
    bench = Bench(5.0, 400.0, 0.1, 0.1)
    for name in (1, 2, 3):
        bench.channel.give(Note(name, bench.history))
    told = bench.run()

    assert [line for line in told if line.startswith("answer")] == ["answer 1", "answer 2", "answer 3"]
    assert told.index("finish 1") < told.index("begin 2") < told.index("finish 2") < told.index("begin 3")


def test_what_waits_may_join_the_work_that_begins() -> None:
    bench = Bench()
    bench.channel.give(Note(1, bench.history))
    bench.channel.give(Note(2, bench.history))
    bench.channel.give(Note(3, bench.history, group=True))

    assert "begin 3" not in bench.run()
    assert "finish 2" in bench.history


def test_a_work_waits_until_it_is_ready() -> None:
    bench = Bench()
    note = Note(1, bench.history, ready=None)
    bench.channel.give(note)
    bench.run()
    assert bench.history == []

    note.ready_at = 50.0
    bench.channel.kick()
    bench.run()
    assert bench.history[0] == "begin 1"
    assert bench.schedule.now >= 50.0


def test_what_runs_at_a_death_is_whole_torn_or_never_was_and_nobody_hears_of_it() -> None:
    fates = set()
    for seed in range(40):
        bench = Bench()
        bench.channel.give(Note(1, bench.history))
        bench.channel.give(Note(2, bench.history))
        bench.channel.die(Random(seed))
        bench.channel.give(Note(3, bench.history))
        fates.add(tuple(bench.run()))

    assert fates == {("begin 1", "finish 1"), ("begin 1", "tear 1"), ("begin 1",)}


def test_a_return_lets_what_runs_finish_and_forgets_what_waits() -> None:
    bench = Bench()
    bench.channel.give(Note(1, bench.history))
    bench.channel.give(Note(2, bench.history))
    bench.channel.forget()

    assert "finish 1" in bench.run()
    assert "begin 2" not in bench.history
    assert bench.channel.idle
