"""What a member says of itself, where its coordinator goes by that: that it rests, that its backups have caught up."""

from __future__ import annotations

from holdfast.recovery.messages import Run
from holdfast.replication.messages import ImagesHeld, LogHeld
from holdfast.worker import cluster_events as chas
from tests.worker.member_bench import Bench
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
