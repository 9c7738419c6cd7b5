"""What must hold of a coordinator after every event."""

from __future__ import annotations

from holdfast.recovery.coordinator import Coordinator, State
from holdfast.recovery.generation import ROUND_BITS
from holdfast.recovery.messages import Announce, Ask, Run


def check_invariants(coordinator: Coordinator) -> None:
    """Assert that nothing was said that is not durable."""
    kept = coordinator.shelf.kept
    formation, checkpoint = kept.formation, kept.checkpoint
    assert kept.drawn >= (formation.number if formation else 0), "a generation without a number drawn for it"
    assert kept.reserved >= (checkpoint.number if checkpoint else 0), "a checkpoint without a number reserved for it"
    assert coordinator.state is not State.RUN or formation is not None, "at work without a generation"
    for given in coordinator.orders.given.values():
        match given.order.order:
            case Ask(promise):
                assert promise <= kept.drawn, "asked with a number that is not durable"
            case Announce(announced):
                assert formation is not None, "announced without a record"
                assert announced.number <= formation.number, "announced before it is durable"
            case Run() as run:
                assert run.complete <= (checkpoint.number if checkpoint else 0), "complete before it is durable"
                assert run.checkpoint <= kept.reserved, "a checkpoint's number that another life may order"
                assert not run.checkpoint or run.checkpoint >> ROUND_BITS == run.generation, "of another generation"
