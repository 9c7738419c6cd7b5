"""What is told of a recovery: when each of its phases was over, and what becomes of those that overlap."""

from __future__ import annotations

from holdfast.recovery import events
from holdfast.recovery.recoveries import KEPT, REASONS_KEPT, Kind, Recoveries, Recovery
from tests.recovery.desk import memory, working


def test_a_lost_worker_is_followed_from_its_detection_until_outputs_flow_again() -> None:
    desk = working()
    desk.run("a", "b", delivered=9)
    desk.pass_time(100)
    desk.give(events.WorkerLost(desk.now, "b"))
    desk.pass_time(7)
    desk.store()
    desk.report("a", report=memory(1))
    desk.pass_time(5)
    desk.store()
    desk.pass_time(11)
    desk.run("a", applied=5, delivered=5)
    desk.pass_time(13)
    desk.run("a", applied=9, delivered=5)
    desk.pass_time(17)
    desk.run("a", applied=9, delivered=9)

    last = desk.coordinator.recoveries.latest[-1]

    assert (last.kind, last.why, last.generation) == (Kind.FAILURE, ["node b is lost"], 2)
    assert last.phases == {"chosen": 12, "returned": 23, "replayed": 36, "flowing": 53}
    assert desk.coordinator.recoveries.counts == {Kind.START: 1, Kind.PLANNED: 0, Kind.FAILURE: 1}


def test_a_loss_while_one_recovers_makes_the_recovery_longer_and_counts_once() -> None:
    found = Recoveries()
    found.begin(100, "node b is lost", Kind.FAILURE)
    found.choose(110, 2)
    found.begin(150, "node c is lost", Kind.FAILURE)
    found.choose(170, 3)

    (last,) = found.latest
    assert (last.detected, last.generation, last.chosen) == (100, 3, 170)
    assert last.why == ["node b is lost", "node c is lost"]
    assert found.counts[Kind.FAILURE] == 1


def test_a_loss_in_the_middle_of_a_planned_change_makes_it_a_failure() -> None:
    found = Recoveries()
    found.begin(100, "node c is to join", Kind.PLANNED)
    found.begin(150, "node b is lost", Kind.FAILURE)

    assert found.latest[-1].kind is Kind.FAILURE
    assert found.counts == {Kind.START: 0, Kind.PLANNED: 0, Kind.FAILURE: 1}


def test_reasons_and_recoveries_are_bounded() -> None:
    found = Recoveries()
    for number in range(2 * REASONS_KEPT):
        found.begin(number, f"reason {number}", Kind.FAILURE)
    assert len(found.latest[-1].why) == REASONS_KEPT
    for number in range(2 * KEPT):
        found.latest[-1].flowing = number
        found.begin(number, "again", Kind.FAILURE)

    assert len(found.latest) == KEPT


def test_recoveries_of_earlier_lives_are_told_and_not_counted() -> None:
    earlier = Recovery(["node b is lost"], Kind.FAILURE, 1, 2, 3, 4, 5, 6)
    found = Recoveries()
    found.resume([earlier])
    found.begin(100, "node c is lost", Kind.FAILURE)

    assert [own.detected for own in found.latest] == [1, 100]
    assert found.counts[Kind.FAILURE] == 1
    assert found.over == 0
