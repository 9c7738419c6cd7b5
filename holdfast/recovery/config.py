"""What a coordinator is told once: what is to be laid out, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.recovery.testimony import Shape


@dataclass(frozen=True, slots=True)
class Config:
    """Times are milliseconds; none of them is needed for safety."""

    workers: int  # that the first generation needs
    partitions: int  # source partitions of the application
    sinks: int
    live: bool = False  # whether any source is live
    ranges: int = 1024  # counts at the first start only
    backups: int = 1
    checkpoint_ms: int = 1000  # from one checkpoint to the next: work done again after a crash, against what one costs
    collect_ms: int = 5000  # a living worker that has not reported by then is left out, with all that it remembers
    waiting_ms: int = 2000  # recorded nodes that are away are waited for so long at a start
    join_ms: int = 50  # workers that start together join together
    shun_ms: int = 5000  # how long a node that others can't reach is left out

    @property
    def shape(self) -> Shape:
        """What decisions need of it."""
        return Shape(self.ranges, self.backups, self.partitions, self.sinks, self.live, self.workers)
