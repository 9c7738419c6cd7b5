"""The record of a checkpoint on one member's disk: what a start has to know before it reads the chunks.

It is the one thing that makes a prepared checkpoint whole; whether it counts is the coordinator's to say. The fields
are part of the data format, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from holdfast.recovery.generation import Limit
from holdfast.recovery.messages import OnDisk


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """What a member keeps of a checkpoint, beside its chunks."""

    checkpoint: int
    epoch: int  # everything up to it is applied …
    limit: Limit | None  # … and of the epoch after it what lies before this
    time: int  # of the last turn
    generation: int
    ended: bool  # the own partitions had ended
    ranges: tuple[int, ...]  # whose images the chunks hold
    bytes_of_base: int  # written by the last checkpoint that wrote everything
    bytes_since: int  # and by those after it

    @property
    def on_disk(self) -> OnDisk:
        """As the coordinator hears of it."""
        return OnDisk(self.checkpoint, self.epoch, self.limit, self.ranges, self.ended)

    def pack(self) -> bytes:
        """As stored."""
        limit = self.limit
        place = None if limit is None else [limit.epoch, limit.turn, limit.partition, limit.number]
        packed: bytes = msgpack.packb(
            [
                *(self.checkpoint, self.epoch, place, self.time, self.generation, self.ended),
                *(list(self.ranges), self.bytes_of_base, self.bytes_since),
            ]
        )
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> MemberRecord:
        """What `pack` packed."""
        checkpoint, epoch, place, time, generation, ended, ranges, base, since = msgpack.unpackb(packed)
        limit = None if place is None else Limit(*place)
        return cls(checkpoint, epoch, limit, time, generation, ended, tuple(ranges), base, since)
