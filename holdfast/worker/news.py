"""News: what a member says of itself that its coordinator may be waiting for.

All else in a status is how far the member has got. That is told now and then only: under load it changes with every
epoch, and each status costs the coordinator's process as much as a message costs a member.
Invariant: whatever the coordinator decides by, other than numbers that go on rising by themselves, is in here.
"""

from __future__ import annotations

from holdfast.worker.running import Running


def news(running: Running) -> tuple[object, ...]:
    """Equal as long as there is no news."""
    formation, delivered = running.formation, running.delivery.delivered
    staging, last = running.staging, running.staging.last
    resting = running.is_resting
    ends = running.run.stopping or not running.parts.unended
    return (
        *(running.replay.has_cursors, not running.parts.unended, resting, running.caught_up),
        # All are told to end where all rest at one epoch, and at rest nothing happens that would have it told later.
        running.applied if resting and ends else None,
        # A generation proves itself, and a recovery is over.
        *(running.cuts.sealed > formation.cut, running.flow.closed > formation.cut),
        *(running.applied >= formation.level, delivered >= formation.level, running.changed),
        *(staging.prepared, staging.prepared_at, last.checkpoint if last is not None else 0),
        *(running.links.lost, running.careful, running.told_failure, running.fatal, running.output_lost),
    )
