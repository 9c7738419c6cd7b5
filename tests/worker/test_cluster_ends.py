"""Clusters that stop, before a call that fails or when asked to, and go on; and what keeps them from standing."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.reference import Reference, RunStoppedError
from holdfast.recovery.events import StopAsked
from tests.worker.cluster_trial import STEPS_MAX, Trial
from tests.zoo import identical
from tests.zoo.case import timed


def when(record: Any) -> int:
    """The time that a record carries."""
    return int(record[0])


class Fault:
    """Calls fail on these messages until they are mended."""

    def __init__(self, *messages: int) -> None:
        self.messages = set(messages)

    def check(self, message: Any) -> None:
        if message[1] in self.messages:
            raise ValueError(f"not {message[1]}")


def rounds_of(count: int, *, first: int) -> list[tuple[int, int]]:
    """Timed records, half a round of every time."""
    return [(10 * (number // 32), first + number) for number in range(count)]


INPUTS = {"one": rounds_of(300, first=0), "two": rounds_of(200, first=1000)}


def two_branches(fault: Fault) -> Application:
    """One sink is fed by the step that may fail, the other by one that never does, and both by timers."""

    def sound(message: Any, state: list[int], ctx: Any) -> Any:
        state.append(message[1])
        ctx.set_timer(message[0] + 15)
        return ("sound", message[1], len(state), ctx.time)

    def rung(name: str, state: list[int], ctx: Any) -> Any:
        return ("rung", ctx.key, ctx.time, len(state))

    def brittle(message: Any, state: list[int], ctx: Any) -> Any:
        fault.check(message)
        state.append(message[1])
        ctx.set_timer(message[0] + 25)
        return ("brittle", message[1], ctx.time, sum(state))

    app = Application("branches")
    one = app.source(sources.Memory(INPUTS["one"], time=when), name="one")
    two = app.source(sources.Memory(INPUTS["two"], time=when), name="two")
    stream = one.merge(two)
    stream.key_by(lambda m: m[1] % 5).stateful(sound, state=list, on_timer=rung).sink(sinks.Memory(), name="sound")
    stream.key_by(lambda m: m[1] % 7).stateful(brittle, state=list, on_timer=rung).sink(sinks.Memory(), name="brittle")
    return app


def expected_of(fault: Fault) -> dict[str, list[Any]]:
    reference = Reference(two_branches(fault))
    try:
        return reference.run({source: timed(records) for source, records in INPUTS.items()})
    except RunStoppedError as stop:
        return stop.outputs


def trial_of(fault: Fault, seed: int, *, nodes: int | None = None, **limits: int) -> Trial:
    """Of many small epochs."""
    random = Random(seed)
    backups = random.choice([0, 1, 2])
    limits = {"epoch_bytes_min": 16, "epoch_bytes_max": 64, **limits}
    return Trial(
        two_branches(fault), random, nodes=nodes or random.randint(2, 4), backups=backups, faults=False, **limits
    )


@pytest.mark.parametrize("seed", range(6))
def test_no_sink_gets_outputs_of_what_lies_behind_the_call_that_fails(seed: int) -> None:
    fault = Fault(170, 1150)
    trial = trial_of(fault, seed)

    assert "not 170" in (trial.run() or "")

    assert identical(trial.outputs(), expected_of(fault))


def test_no_timer_fires_in_a_turn_behind_the_call_that_fails() -> None:
    """All turns are in few epochs: behind the one that stops there are others, in which timers would be due."""
    fault = Fault(170)
    trial = trial_of(fault, 0, epoch_bytes_min=100_000, epoch_bytes_max=100_000)

    assert "not 170" in (trial.run() or "")

    assert identical(trial.outputs(), expected_of(fault))


@pytest.mark.parametrize("seed", range(10))
def test_once_it_is_mended_it_goes_on_as_if_nothing_had_failed(seed: int) -> None:
    fault = Fault(Random(seed).randrange(300), 1000 + Random(seed).randrange(200))
    trial = trial_of(fault, seed)
    while trial.run() is not None:
        assert identical(trial.outputs(), expected_of(fault))
        fault.messages.discard(min(fault.messages, key=lambda number: (number % 1000 // 64, number)))
        trial.cluster.start_again()

    assert identical(trial.outputs(), expected_of(Fault()))


@pytest.mark.parametrize("seed", range(6))
def test_a_cluster_that_is_asked_to_stop_ends_with_a_checkpoint_and_goes_on_from_there(seed: int) -> None:
    trial = trial_of(Fault(), seed)
    cluster, random = trial.cluster, Random(seed)
    stops = 0
    while True:
        moment = random.randrange(20, 220)
        for number in range(STEPS_MAX):
            if number == moment:
                cluster.tell_coordinator(StopAsked(cluster.now))
            if cluster.finish is not None:
                break
            cluster.step()
        assert cluster.finish is not None, "it stands"
        if cluster.finish.ended:
            break
        stops += 1
        assert cluster.kept.checkpoint is None or not cluster.kept.checkpoint.ended
        cluster.start_again()

    assert stops > 0
    assert identical(trial.outputs(), expected_of(Fault()))


@pytest.mark.parametrize("unsealed_max", [1, 2, 7])
def test_too_many_unsealed_epochs_ask_for_the_cut_that_seals_them(unsealed_max: int) -> None:
    trial = trial_of(Fault(), 3, cut_ms=10**9, unsealed_max=unsealed_max)

    assert trial.run() is None
    assert identical(trial.outputs(), expected_of(Fault()))


@pytest.mark.parametrize("seed", range(4))
def test_rounds_that_an_earlier_life_of_the_coordinator_ordered_are_replaced(seed: int) -> None:
    trial = trial_of(Fault(), seed)
    cluster = trial.cluster
    restarts = 0
    for _ in range(STEPS_MAX):
        if cluster.finish is not None:
            break
        cluster.step()
        processes = [process for process in cluster.processes.values() if process is not None]
        running = [process.member.running for process in processes]
        under_way = any(own is not None and own.staging.pending is not None for own in running)
        if restarts < 5 and under_way and cluster.random.random() < 0.05:
            restarts += 1
            cluster.start_coordinator()

    assert restarts > 0
    assert cluster.finish is not None, "it stands"
    assert identical(trial.outputs(), expected_of(Fault()))


@pytest.mark.parametrize("seed", range(4))
def test_members_that_join_without_backups_get_everything_on_their_way(seed: int) -> None:
    trial = trial_of(Fault(), seed, nodes=1)
    cluster = trial.cluster
    for number in range(STEPS_MAX):
        if number in (5, 40):
            cluster.add(f"m{number}")
        if cluster.finish is not None:
            break
        cluster.step()

    assert identical(trial.outputs(), expected_of(Fault()))
    reference = Reference(two_branches(Fault()))
    reference.run({source: timed(records) for source, records in INPUTS.items()})
    trial.check_disks(reference)
    assert cluster.kept.formation is not None
    assert len(cluster.kept.formation.members) > 1
