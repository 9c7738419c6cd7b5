"""Comparing logs: how far what one disk holds is known to equal the log that a generation adopted.

It rests on two facts. Entries are appended only behind the entry that precedes them in the generation's log, so two
logs that both have entries of a generation are equal up to the lesser of their last ones of it. And a log is trimmed
only up to a complete checkpoint, everything before which was durable: what lies before a base never changes any more.
Not here: which logs count, and which is adopted (`logs`).
"""

from __future__ import annotations

from typing import Final

from holdfast.core.epochs import Cursor, Lineage
from holdfast.recovery.generation import Formation

EMPTY: Final = Lineage(0, Cursor(), 0, ())  # of a disk that was never told to hold this log
NOTHING: Final = -1  # not even the base can be kept

Spans = tuple[tuple[int, int], ...]


def agreement(own: Lineage, spans: Spans) -> int:
    """The epoch up to which a log is known to equal the one of these spans."""
    theirs = dict(spans)
    for generation, last in reversed(own.spans):
        if generation in theirs:
            return max(own.base.epoch, min(last, theirs[generation]))
    return own.base.epoch


def cut_off(spans: Spans, epoch: int) -> Spans:
    """The spans of what a log holds up to this epoch."""
    kept = []
    for generation, last in spans:
        kept.append((generation, min(last, epoch)))
        if last >= epoch:
            break
    return tuple(kept)


def kept(formation: Formation, node: str, partition: int, own: Lineage) -> int:
    """Up to which epoch a holder keeps its log when it adopts a formation; NOTHING: it is dropped, base and all."""
    if own.base.epoch > formation.cut:
        return NOTHING  # it can't say where the partition stood at the cut, nor give what came since
    known = agreement(own, formation.spans[partition])
    if partition not in formation.lacks_logs(node):
        # A counted copy has all that was durable, also where trimming took away the spans that would show it.
        known = max(known, formation.cut)
    _, tail = formation.logs[partition]
    return max(own.base.epoch, min(known, max(tail, formation.cut)))
