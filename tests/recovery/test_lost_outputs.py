"""The coordinator, when an output has lost what it had at the cut: back to the checkpoint."""

from __future__ import annotations

from holdfast.recovery import events
from holdfast.recovery.coordinator import State
from tests.recovery.desk import drawn, memory, working


def test_an_output_lost_at_a_cut_in_memory_leads_back_to_the_checkpoint_and_only_once() -> None:
    desk = working()
    desk.give(events.WorkerLost(0, "b"))
    desk.form("a", report=memory(1))
    assert desk.kept.formation is not None
    assert desk.kept.formation.in_memory

    desk.run("a", output_lost=True)
    assert "lost what it had at the cut" in drawn(desk)
    desk.form("a", report=memory(2))

    assert (desk.kept.formation.in_memory, desk.kept.formation.cut) == (False, 0)
    assert desk.coordinator.state is State.RUN
    desk.hear("a", 2)
    desk.form("a", report=memory(3), incarnation=2)
    assert desk.coordinator.state is State.RUN
