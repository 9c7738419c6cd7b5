"""Staging: a cut becomes this member's part of a checkpoint.

Order, each step durable before the next is ordered: chunks staged and sinks synced · the whole prepared · told to the
coordinator, which makes it count when every member has prepared it · completed here · logs trimmed. It begins only when
the cut is sealed: then all images and tokens of it are here, and all outputs up to it are delivered, so that none of
them would have to be made again from a log that is trimmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.core.entities import Rows
from holdfast.core.images import pack
from holdfast.core.types import TypeRegistry
from holdfast.recovery.generation import Limit
from holdfast.worker.checkpoint import SINK_STEP
from holdfast.worker.cluster_effects import ClusterEffect, PrepareCheckpoint
from holdfast.worker.cuts import Token
from holdfast.worker.effects import CompleteCheckpoint, Effect, StageChunks, SyncSinks
from holdfast.worker.holding import Holding, void_of
from holdfast.worker.member_record import MemberRecord

BYTES_FREE: Final = 4 * 1024 * 1024  # on disk before writing everything anew is worth a thought
GROWTH: Final = 2  # and so many times what was written when everything was written last

Orders = list[Effect | ClusterEffect]


@dataclass(slots=True)
class Pending:
    """The checkpoint under way."""

    number: int
    cut: int  # the epoch at whose end it stands
    epoch: int  # as the record has it: the same, or the one before where the cut lies inside an epoch
    limit: Limit | None
    time: int
    everything: tuple[bytes, ...] | None  # of the own books at the cut, where all is written anew
    record: MemberRecord | None = None
    drop_before: int = 0
    staged: bool = False
    synced: bool = False
    ordered: bool = False  # to be prepared
    prepared: bool = False
    completing: bool = False


class Staging:
    """Writes one checkpoint after the other."""

    def __init__(self, holding: Holding, sink_names: Sequence[str | bytes], registry: TypeRegistry) -> None:
        self.holding = holding
        self.sink_names = sink_names
        self.registry = registry
        self.pending: Pending | None = None
        self.last: MemberRecord | None = None  # the last complete one on this disk
        self.bytes_of_base = 0
        self.bytes_since = 0

    def returned(self, last: MemberRecord | None) -> None:
        """A generation begins; this is what the disk has."""
        self.pending = None
        self.last = last
        self.bytes_of_base = last.bytes_of_base if last is not None else 0
        self.bytes_since = last.bytes_since if last is not None else 0

    @property
    def prepared(self) -> int:
        """The number of the checkpoint that is whole on this disk and does not count yet, or did last."""
        if self.pending is not None and self.pending.prepared:
            return self.pending.number
        return self.last.checkpoint if self.last is not None else 0

    @property
    def prepared_at(self) -> int:
        """And its cut."""
        if self.pending is not None and self.pending.prepared:
            return self.pending.epoch
        return self.last.epoch if self.last is not None else 0

    def begin(self, number: int, cut: int, time: int, limit: Limit | None) -> None:
        """The cut just made is to become this checkpoint. Books stand at it, and may move on afterwards."""
        # A coordinator that was away does not know who has heard of the round that it had ordered: it orders another.
        assert self.pending is None or (self.pending.number < number and not self.pending.completing)
        everything = None
        if limit is None and self.bytes_since > GROWTH * self.bytes_of_base + BYTES_FREE:
            everything = self.holding.snapshot(self.holding.primaries)
        epoch = cut if limit is None else cut - 1
        self.pending = Pending(number, cut, epoch, limit, time, everything)

    def sealed(self, tokens: Mapping[int, Token], own_sinks: int, *, generation: int, ended: bool) -> Orders:
        """Its cut is sealed: write it. The shadow stands at the cut, or can."""
        pending = self.pending
        assert pending is not None
        assert pending.record is None
        drop = 0
        if pending.everything is None:
            chunks = [*self.holding.chunks_upto(pending.cut)]
            base, since = self.bytes_of_base, self.bytes_since + sum(map(len, chunks))
        else:
            void = void_of(self.holding.ranges, self.registry)
            chunks = [void, *pending.everything, *self.holding.shadow_at(pending.cut)]
            base, since, drop = sum(map(len, chunks)), 0, pending.number
        rows = Rows()
        for sink, token in sorted(tokens.items()):
            rows.keys.append(self.sink_names[sink])
            rows.states.append(token)
        chunks.append(pack(SINK_STEP, rows, self.registry))
        ranges = self.holding.ranges
        pending.record = MemberRecord(
            *(pending.number, pending.epoch, pending.limit, pending.time, generation, ended, ranges, base, since)
        )
        pending.drop_before = drop
        pending.synced = not own_sinks
        orders: Orders = [StageChunks(pending.number, tuple(chunks))]
        return orders if pending.synced else [*orders, SyncSinks(pending.cut)]

    # --- answers

    def chunks_staged(self, number: int) -> Orders:
        """The chunks are on disk."""
        if self.pending is None or self.pending.number != number:
            return []
        self.pending.staged = True
        return self._prepare()

    def sinks_synced(self, cut: int) -> Orders:
        """The own sinks have outputs up to the cut durably."""
        if self.pending is None or self.pending.cut != cut:
            return []
        self.pending.synced = True
        return self._prepare()

    def _prepare(self) -> Orders:
        pending = self.pending
        assert pending is not None
        if not (pending.staged and pending.synced) or pending.ordered:
            return []
        assert pending.record is not None
        pending.ordered = True
        return [PrepareCheckpoint(pending.number, pending.record.pack())]

    def checkpoint_prepared(self, number: int) -> None:
        """It is whole."""
        if self.pending is not None and self.pending.number == number:
            self.pending.prepared = True

    def complete(self, number: int) -> Orders:
        """The coordinator has made it count."""
        pending = self.pending
        if pending is None or pending.number != number or not pending.prepared or pending.completing:
            return []
        assert pending.record is not None
        pending.completing = True
        return [CompleteCheckpoint(number, pending.record.pack(), pending.drop_before)]

    def completed(self, number: int) -> MemberRecord | None:
        """It counts on this disk as well; what the logs hold up to it is not needed any more."""
        pending = self.pending
        if pending is None or pending.number != number:
            return None
        assert pending.record is not None
        self.pending, self.last = None, pending.record
        self.bytes_of_base, self.bytes_since = pending.record.bytes_of_base, pending.record.bytes_since
        self.holding.written(pending.cut)
        return self.last
