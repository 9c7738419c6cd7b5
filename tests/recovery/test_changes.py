"""What a planned change waits for, who may go, and when a checkpoint is that of everything."""

from __future__ import annotations

from dataclasses import replace

from holdfast.recovery import rounds
from holdfast.recovery.changes import Circumstances, may_end, planned
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import ROUND_BITS, Checkpoint, Formation, Limit
from holdfast.recovery.messages import Status
from holdfast.recovery.roster import Roster
from tests.recovery.desk import ALL, working

NUMBER = 1 << ROUND_BITS | 1
NOTHING_WISHED = Circumstances(0, 50, frozenset(), frozenset())
Work = tuple[Formation, Roster, list[Status]]


def at_work(*, ended: bool = False) -> Work:
    """Generation 1 of a and b, which both have applied epoch 9."""
    desk = working()
    desk.run("a", "b", ended=ended)
    formation, roster = desk.kept.formation, desk.coordinator.roster
    assert formation is not None
    statuses = roster.running(formation)
    assert statuses is not None
    return formation, roster, statuses


def test_a_layout_on_its_way_is_changed_behind_a_checkpoint_of_its_own_generation() -> None:
    """Else old holders would be let go of whose disks alone have the last one."""
    formation, roster, statuses = at_work()
    kept = Kept(1, 1, replace(formation, target=formation.layout), None, NUMBER)
    older, own = Checkpoint(1, 4, None, ()), Checkpoint(NUMBER, 9, None, ())

    reasons = [planned(replace(kept, checkpoint=k), roster, statuses, NOTHING_WISHED) for k in (None, older, own)]

    assert reasons == [None, None, "whoever lacked something has got it"]


def test_who_is_let_go_has_no_part_in_the_count_of_disks_that_have_the_last_checkpoint() -> None:
    formation, _, _ = at_work()
    away = Checkpoint(1, 4, None, (("a", ALL), ("b", ALL), ("c", ALL)))

    kept = Kept(1, 1, formation, away, NUMBER)
    assert may_end(kept, "c")
    assert not may_end(kept, "a")
    assert not may_end(replace(kept, checkpoint=replace(away, holders=(("a", ALL), ("c", ALL)))), "c")


def test_a_checkpoint_covers_everything_if_nothing_was_applied_or_ended_or_failed_since() -> None:
    formation, _, running = at_work()
    _, _, ended = at_work(ended=True)
    limited = replace(formation, limit=Limit(10, 1, 0, 3))
    checkpoint = Checkpoint(NUMBER, 9, None, ())

    assert rounds.covers(checkpoint, formation, running)
    assert not rounds.covers(replace(checkpoint, epoch=8), formation, running)
    assert not rounds.covers(checkpoint, formation, ended)
    assert rounds.covers(replace(checkpoint, ended=True), formation, ended)
    assert not rounds.covers(checkpoint, limited, running)
    assert rounds.covers(replace(checkpoint, limit=limited.limit), limited, running)
