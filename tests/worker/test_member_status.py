"""What a member says of itself, where its coordinator goes by that: that it rests, that its backups have caught up."""

from __future__ import annotations

import holdfast as hf
from holdfast.core.plan import SOURCES
from holdfast.recovery.generation import Limit
from holdfast.recovery.messages import Run
from holdfast.replication.links import Link
from holdfast.replication.messages import Beat, ImagesHeld, LogHeld, Opening, Reached, Stage
from holdfast.worker import cluster_effects as cdo
from holdfast.worker import cluster_events as chas
from holdfast.worker import events as has
from holdfast.worker.member import NUMBERS_MS
from tests.worker.member_bench import Bench, count
from tests.worker.test_member import at_work


def test_who_has_yet_to_work_off_its_log_again_is_not_at_rest() -> None:
    """Else a stop that is heard meanwhile would end the cluster with epochs behind its last checkpoint."""
    bench = at_work(Bench(backups=0), nodes=("a",), level=2, logs=((1, 2),), spans=(((1, 2),),))
    bench.answer_cursors()
    bench.order(Run(1, stopping=True))
    bench.tick()
    assert not bench.status().resting

    bench.hear(chas.EntriesRead(bench.now, 0, "", ()))
    for _ in range(20):
        bench.tick()
    assert bench.status().resting


def test_a_backup_has_caught_up_when_it_has_both_the_logs_and_the_images() -> None:
    told = []
    for said in ((LogHeld(0, 0), ImagesHeld(0)), (ImagesHeld(0), LogHeld(0, 0))):
        bench = at_work(Bench(), lacking=(("b", (0, 1)),))
        for message in said:
            bench.peer("b", message)
            bench.tick()
            told.append(bench.status().caught_up)

    assert told == [False, True, False, True]


def running_alone() -> Bench:
    """A member that has just told how far it has got."""
    bench = at_work(Bench(backups=0), nodes=("a",), level=9)
    get_on(bench, 1_000)
    return bench


def get_on(bench: Bench, milliseconds: int) -> None:
    """It gets further, which nobody waits for."""
    assert bench.member.running is not None
    bench.member.running.cuts.sealed -= 1  # a number that is in the status and nothing else
    bench.now += milliseconds - 1
    bench.tick()


def test_how_far_a_member_has_got_is_told_now_and_then() -> None:
    bench = running_alone()
    for _ in range(10 * NUMBERS_MS):
        get_on(bench, 1)

    numbers = [order.status.sealed for order in bench.done if isinstance(order, cdo.SendStatus)]
    told = numbers[numbers.index(-1) :]
    assert told == list(range(-1, -1 - 10 * NUMBERS_MS - 1, -NUMBERS_MS))


def test_news_is_told_at_once_and_all_numbers_with_it() -> None:
    bench = running_alone()
    before = bench.status().sealed
    get_on(bench, 1)
    assert bench.status().sealed == before, "no news"
    assert bench.member.running is not None

    bench.member.running.links.peers["b"] = Link(1, broken=True)
    bench.tick()

    assert (bench.status().lost, bench.status().sealed) == (("b",), before - 1)


def test_a_clock_that_was_set_back_silences_nobody() -> None:
    bench = running_alone()
    bench.now = 0
    get_on(bench, 1)

    assert bench.member.running is not None
    assert bench.status().sealed == bench.member.running.cuts.sealed


def live() -> hf.Application:
    app = hf.Application("live")
    app.source(hf.sources.Generator(lambda: iter(()))).key_by(str).stateful(count, state=list).sink(hf.sinks.Memory())
    return app


def test_who_owes_others_its_part_of_an_epoch_is_not_at_rest() -> None:
    bench = at_work(Bench(live()))  # and closes none, for the log at its backup is not there yet
    bench.answer_cursors()
    bench.order(Run(1, stopping=True))
    bench.tick()
    assert bench.status().resting

    bench.peer("b", Beat(), reached=Reached(0, 0, 0, 1, None))
    bench.tick()
    assert not bench.status().resting


def test_who_waits_for_others_to_deliver_is_not_at_rest() -> None:
    bench = at_work(Bench(live()))
    bench.answer_cursors()
    bench.peer("b", LogHeld(0, 0))
    bench.order(Run(1, stopping=True))
    (step,) = bench.member.plan.stateful
    bench.peer("b", Stage(1, SOURCES, (), Opening(False, 0, (), None, False, 0)))
    bench.peer("b", Stage(1, step.index, (), None))
    told: list[tuple[int, bool]] = []
    for reached in (Reached(0, 0, 0, 1, None), Reached(1, 0, 0, 1, None), Reached(1, 0, 1, 1, None)):
        bench.peer("b", Beat(), reached=reached)
        for _ in range(20):
            bench.tick()
        told.append((bench.status().applied, bench.status().resting))

    assert told == [(1, False), (1, False), (1, True)]


def test_nothing_is_closed_behind_an_epoch_that_ends_early_though_others_have() -> None:
    bench = at_work(Bench(live()), level=1, logs=((1, 1),), spans=(((1, 1),),), limit=Limit(1, 0, 0, 3))
    bench.answer_cursors()
    bench.peer("b", LogHeld(0, 1))
    bench.hear(chas.EntriesRead(bench.now, 0, "", ()))

    bench.peer("b", Beat(), reached=Reached(0, 0, 0, 2, None))
    bench.tick()

    assert bench.status().closed == 1


def give_epoch(bench: Bench, epoch: int, opening: Opening) -> None:
    """All that b has to say of it."""
    (step,) = bench.member.plan.stateful
    bench.peer("b", Stage(epoch, SOURCES, (), opening))
    bench.peer("b", Stage(epoch, step.index, (), None))
    for _ in range(20):
        bench.tick()


def test_what_was_changed_is_wanted_in_a_checkpoint_until_one_is_made_and_not_only_a_cut() -> None:
    bench = at_work(Bench(live()))
    bench.answer_cursors()
    bench.peer("b", LogHeld(0, 0))
    told = []
    for epoch, checkpoint in ((1, 0), (2, 9)):
        give_epoch(bench, epoch, Opening(True, 5, (), None, True, checkpoint))
        told.append((bench.status().applied, bench.status().changed))

    assert told == [(1, True), (2, False)]


def test_a_cut_is_made_where_one_member_has_asked_for_it() -> None:
    bench = at_work(Bench(live()))
    bench.answer_cursors()
    bench.peer("b", LogHeld(0, 0))
    for epoch, asks in ((1, False), (2, True)):
        give_epoch(bench, epoch, Opening(False, 0, (), None, asks, 0))

    running = bench.member.running
    assert running is not None
    assert (running.flow.applied, running.cuts.made) == (2, [0, 2])


def test_how_far_it_has_come_is_told_at_once_where_it_rests_again() -> None:
    """Nothing happens at rest: what was not said then would never be, and the coordinator would wait for it."""
    bench = at_work(Bench(live()))
    bench.answer_cursors()
    bench.peer("b", LogHeld(0, 0))
    bench.order(Run(1, stopping=True))
    give_epoch(bench, 1, Opening(False, 0, (), None, False, 0))
    bench.peer("b", Beat(), reached=Reached(1, 0, 1, 1, None))
    bench.now += 100
    bench.tick()
    bench.tick()
    assert (bench.status().applied, bench.status().resting) == (1, True)

    (step,) = bench.member.plan.stateful
    bench.peer("b", Stage(2, SOURCES, (), Opening(False, 0, (), None, False, 0)))
    bench.peer("b", Stage(2, step.index, (), None))
    while not bench.messages(bench.hear(has.Ticked(bench.now)), "b"):
        assert bench.member.busy
    bench.peer("b", Beat(), reached=Reached(2, 0, 2, 2, None))  # b has had this member's part, and was quick
    while bench.member.busy:
        bench.hear(has.Ticked(bench.now))

    assert (bench.status().applied, bench.status().resting) == (2, True)
