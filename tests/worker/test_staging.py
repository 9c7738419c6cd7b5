"""Staging: each step of a checkpoint is durable before the next is ordered, and what it writes is all that it needs."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.images import unpack
from holdfast.recovery.generation import Holders, Limit
from holdfast.worker import staging as module
from holdfast.worker.checkpoint import SINK_STEP
from holdfast.worker.cluster_effects import PrepareCheckpoint
from holdfast.worker.effects import CompleteCheckpoint, StageChunks, SyncSinks
from holdfast.worker.holding import VOID_STEP, Holding
from holdfast.worker.member_record import MemberRecord
from holdfast.worker.staging import Staging
from tests.worker.test_holding import RANGES, a_formation, a_holding, both, in_shadow, touched

TOKENS = {0: (7, "token")}


def alone() -> tuple[Holding, Staging]:
    holding = a_holding()
    holding.begin(a_formation(1, 0, [Holders("a")] * RANGES), "a")
    staging = Staging(holding, ["out"], holding.registry)
    staging.returned(None)
    return holding, staging


def change(holding: Holding, key: int, value: int) -> None:
    touched(holding.books["plain"], key).state.append(value)


def steps_of(orders: list[Any], holding: Holding) -> list[str]:
    return [unpack(chunk, holding.registry).step for chunk in orders[0].chunks]


def sealed(staging: Staging, own_sinks: int = 1) -> list[Any]:
    return list(staging.sealed(TOKENS, own_sinks, generation=1, ended=False))


def test_each_step_waits_for_the_one_before() -> None:
    holding, staging = alone()
    change(holding, 1, 1)
    holding.cut(4)
    staging.begin(9, 4, 55, None)

    orders = sealed(staging)
    assert [type(order) for order in orders] == [StageChunks, SyncSinks]
    assert orders[1] == SyncSinks(4)
    assert steps_of(orders, holding) == ["plain", SINK_STEP]
    assert staging.sinks_synced(4) == []
    (prepare,) = staging.chunks_staged(9)
    assert isinstance(prepare, PrepareCheckpoint)
    assert staging.prepared == 0
    assert staging.complete(9) == [], "not before it is whole here"
    staging.checkpoint_prepared(9)
    assert (staging.prepared, staging.prepared_at) == (9, 4)
    assert staging.complete(8) == []
    assert staging.complete(9) == [CompleteCheckpoint(9, prepare.record, 0)]
    assert staging.complete(9) == [], "once"
    assert holding.chunks_upto(4) != (), "kept until it counts"
    record = staging.completed(9)
    assert record == MemberRecord.unpack(prepare.record)
    assert record is not None
    assert (record.epoch, record.limit, record.time, record.ranges) == (4, None, 55, tuple(range(RANGES)))
    assert holding.chunks_upto(4) == ()
    assert (staging.pending, staging.prepared) == (None, 9)


def test_it_is_prepared_when_the_last_of_chunks_and_sinks_is_durable() -> None:
    _, staging = alone()
    staging.begin(9, 4, 0, None)
    sealed(staging)

    assert staging.chunks_staged(9) == []
    assert [type(order) for order in staging.sinks_synced(4)] == [PrepareCheckpoint]
    assert staging.sinks_synced(4) == [], "once"


def test_without_own_sinks_there_is_nothing_to_sync() -> None:
    _, staging = alone()
    staging.begin(9, 4, 0, None)

    assert [type(order) for order in sealed(staging, 0)] == [StageChunks]
    assert [type(order) for order in staging.chunks_staged(9)] == [PrepareCheckpoint]


def test_answers_to_a_round_that_was_given_up_count_for_nothing() -> None:
    _, staging = alone()
    staging.begin(9, 4, 0, None)
    sealed(staging)

    staging.begin(10, 6, 0, None)
    assert staging.chunks_staged(9) == []
    assert staging.sinks_synced(4) == []
    staging.checkpoint_prepared(9)
    assert staging.prepared == 0
    assert staging.completed(9) is None
    sealed(staging)
    assert staging.chunks_staged(10) == []
    assert [type(order) for order in staging.sinks_synced(6)] == [PrepareCheckpoint]


@pytest.mark.parametrize("late", ["chunks", "sinks"])
def test_what_a_round_that_was_given_up_has_on_disk_is_not_what_the_next_one_waits_for(late: str) -> None:
    _, staging = alone()
    staging.begin(9, 4, 0, None)
    sealed(staging)
    staging.begin(10, 6, 0, None)
    sealed(staging)

    if late == "chunks":
        assert [*staging.chunks_staged(9), *staging.sinks_synced(6)] == []
        assert [type(order) for order in staging.chunks_staged(10)] == [PrepareCheckpoint]
    else:
        assert [*staging.sinks_synced(4), *staging.chunks_staged(10)] == []
        assert [type(order) for order in staging.sinks_synced(6)] == [PrepareCheckpoint]


def test_a_round_that_counts_already_is_not_given_up() -> None:
    _, staging = alone()
    staging.begin(9, 4, 0, None)
    sealed(staging, 0)
    staging.chunks_staged(9)
    staging.checkpoint_prepared(9)
    staging.complete(9)

    with pytest.raises(AssertionError):
        staging.begin(10, 6, 0, None)


def test_a_checkpoint_inside_an_epoch_says_so() -> None:
    holding, staging = alone()
    holding.cut(4)
    limit = Limit(4, 0, 1, 3)
    staging.begin(9, 4, 0, limit)
    sealed(staging, 0)
    (prepare,) = staging.chunks_staged(9)

    assert isinstance(prepare, PrepareCheckpoint)
    record = MemberRecord.unpack(prepare.record)
    assert (record.epoch, record.limit) == (3, limit)


def test_all_is_written_anew_when_much_was_written_since(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES_FREE", 0)
    first, second = both()
    for holding, own_chunks in ((first, 1), (second, 0)):
        staging = Staging(holding, ["out"], holding.registry)
        staging.returned(MemberRecord(1, 0, None, 0, 1, False, (), 10, 30))
        if holding is first:
            change(holding, 1, 1)
        chunks = holding.cut(4)
        if holding is first:
            second.take("a", 4, chunks.by_backup["b"])
        staging.begin(9, 4, 0, None)
        if holding is first:
            change(holding, 1, 2)  # books move on
        orders = sealed(staging, 0)
        (stage,) = orders
        assert steps_of(orders, holding) == [VOID_STEP, "plain", SINK_STEP]
        again = a_holding()
        for chunk in stage.chunks:
            again.restore(chunk)
        assert in_shadow(again) == {("plain", 1): ([1], {})}
        staging.chunks_staged(9)
        staging.checkpoint_prepared(9)
        (complete,) = staging.complete(9)
        assert isinstance(complete, CompleteCheckpoint)
        assert complete.drop_before == 9
        record = staging.completed(9)
        assert record is not None
        assert record.bytes_of_base > 0
        assert record.bytes_since == 0
        assert own_chunks == len(chunks.all)


def test_little_is_written_behind_what_was_written() -> None:
    holding, staging = alone()
    change(holding, 1, 1)
    holding.cut(4)
    staging.begin(9, 4, 0, None)
    sealed(staging, 0)
    staging.chunks_staged(9)
    staging.checkpoint_prepared(9)
    (complete,) = staging.complete(9)

    assert isinstance(complete, CompleteCheckpoint)
    assert complete.drop_before == 0
    record = staging.completed(9)
    assert record is not None
    assert record.bytes_since > 0


def test_a_checkpoint_inside_an_epoch_leaves_memory_where_it_can_be_returned_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is sealed there: what was sent up to it must not become the base, however much was written before."""
    monkeypatch.setattr(module, "BYTES_FREE", 0)
    first, second = both()
    change(first, 1, 1)
    second.take("a", 4, first.cut(4).by_backup["b"])
    staging = Staging(second, ["out"], second.registry)
    staging.returned(MemberRecord(1, 0, None, 0, 1, False, (), 10, 30))
    staging.begin(9, 4, 0, Limit(4, 0, 1, 3))

    assert steps_of(sealed(staging, 0), second) == ["plain", SINK_STEP]
    assert [(own.base, own.top) for own in second.remembered if own.ranges] == [(0, 4)]
