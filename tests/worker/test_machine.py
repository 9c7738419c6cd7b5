"""The machine's protocol, one event at a time: what is ordered when, and what never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

import holdfast as hf
from holdfast.core.application import Application
from holdfast.core.types import TypeRegistry
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker import fold
from tests.worker.bench import KIND, RECORDS, Bench, begun, build, finish
from tests.worker.drive import Driver, Live


def set_alarm(message: int, state: list[int], ctx: hf.Context) -> None:
    ctx.set_timer(ctx.time + 50)


def ring(name: str, state: list[int], ctx: hf.Context) -> int:
    return ctx.time


def with_alarms() -> Application:
    app = Application("alarms")
    stream = app.source(hf.sources.Memory([1, 2, 3]))
    stream.key_by(lambda n: 0).stateful(set_alarm, state=list, on_timer=ring).sink(hf.sinks.Memory())
    app.check()
    app.sources[0].source = Live(app.sources[0].source)
    return app


# --- log before everything


def test_sinks_and_sources_are_opened_before_they_are_used() -> None:
    bench = begun()

    assert bench.kinds() == ["OpenSink", "OpenSource", "ReadSource"]


def test_no_message_touches_an_entity_before_its_epoch_is_logged() -> None:
    bench = begun()
    bench.read()
    bench.tick()
    assert bench.of(do.AppendLog)
    assert not bench.of(do.Deliver)
    assert bench.entities() == 0
    assert not bench.worker.busy

    bench.synced()
    bench.tick()

    assert bench.last(do.Deliver).first == 1
    assert bench.entities() == 7


def test_only_so_many_epochs_are_in_flight() -> None:
    bench = begun(settings=replace(KIND, epochs_in_flight=2, epoch_bytes_min=1))
    bench.read()
    bench.read()

    assert len(bench.epochs()) == 2
    assert not bench.kinds().count("ReadSource")

    bench.synced()
    bench.tick()
    assert "ReadSource" in bench.kinds()


def test_work_does_not_outrun_its_sinks() -> None:
    bench = begun(settings=replace(KIND, undelivered_max=0, epoch_bytes_min=1))
    bench.read()
    bench.read()
    bench.synced()
    bench.tick()
    bench.tick()
    assert [order.epoch for order in bench.of(do.Deliver)] == [1]
    assert not bench.worker.busy

    bench.delivered()
    bench.tick()

    assert [order.epoch for order in bench.of(do.Deliver)] == [1, 2]


def test_outputs_are_numbered_without_a_gap() -> None:
    bench = begun(settings=replace(KIND, epoch_bytes_min=1))
    for _ in range(4):
        bench.read()
        bench.synced()
        bench.tick()
        bench.delivered()

    numbers = [(order.first, order.count) for order in bench.of(do.Deliver)]
    assert [first for first, _ in numbers] == [1, *(first + count for first, count in numbers[:-1])]


def test_finite_partitions_enter_an_epoch_together() -> None:
    bench = begun(build({"a": RECORDS, "b": RECORDS}))
    bench.read(0)
    assert not bench.epochs()

    bench.read(1)

    (epoch,) = bench.epochs()
    assert [(chunk.partition, chunk.count) for chunk in epoch.chunks] == [(0, 64), (1, 64)]


# --- checkpoints


def at_checkpoint(app: Application | None = None) -> Bench:
    """A checkpoint has begun: its tokens and chunks are ordered."""
    bench = begun(app, settings=replace(KIND, checkpoint_ms=16, epoch_bytes_min=1))
    bench.read()
    bench.synced()
    bench.now += 100
    bench.tick()
    bench.tick()
    assert bench.of(do.TakeToken)
    return bench


def test_a_checkpoint_is_staged_then_synced_then_completed_then_trimmed() -> None:
    bench = at_checkpoint()
    while bench.worker.busy:
        bench.tick()
    staged = len(bench.of(do.StageChunks))
    assert staged
    bench.give(has.TokenTaken(bench.now, 0, 1, None))
    assert len(bench.of(do.StageChunks)) == staged + 1
    for order in bench.of(do.StageChunks)[:-1]:
        bench.give(has.ChunksStaged(bench.now, 1, len(order.chunks)))
    assert not bench.of(do.SyncSinks)
    bench.give(has.ChunksStaged(bench.now, 1, len(bench.last(do.StageChunks).chunks)))
    assert bench.of(do.SyncSinks)
    assert not bench.of(do.CompleteCheckpoint)
    bench.give(has.SinksSynced(bench.now, 1))
    assert bench.of(do.CompleteCheckpoint)
    assert not bench.of(do.TrimLog)
    bench.give(has.CheckpointCompleted(bench.now, 1))

    assert bench.last(do.TrimLog).upto == 1


def test_a_token_is_taken_behind_the_outputs_of_its_cut() -> None:
    bench = at_checkpoint()
    bench.read()
    bench.synced()
    bench.tick()

    kinds = [type(order).__name__ for order in bench.orders if isinstance(order, do.Deliver | do.TakeToken)]
    assert kinds[:3] == ["Deliver", "TakeToken", "Deliver"]


def test_answers_that_are_out_of_date_change_nothing() -> None:
    bench = at_checkpoint()
    bench.worker.checkpoints.writing.record = replace(bench.worker.checkpoints.writing.record, checkpoint=5)  # type: ignore[union-attr]
    while bench.worker.busy:
        bench.tick()
    before = len(bench.orders)
    for event in (
        has.TokenTaken(bench.now, 0, 4, None),
        has.ChunksStaged(bench.now, 4, 100),
        has.SinksSynced(bench.now, 4),
        has.CheckpointCompleted(bench.now, 4),
        has.RowsFolded(bench.now, 4, 7),
        has.LogSynced(bench.now, 0),
        has.Delivered(bench.now, 0, 0),
    ):
        bench.give(event)

    assert [o for o in bench.orders[before:] if not isinstance(o, do.ReadSource | do.WakeAt)] == []
    assert bench.worker.progress.durable == 1


def test_an_old_completion_does_not_begin_to_fold() -> None:
    bench = begun(settings=replace(KIND, checkpoint_ms=16, epoch_bytes_min=1, entities_in_memory=1000))
    bench.read()
    bench.synced()
    bench.now += 100
    bench.tick()
    bench.give(has.RowsLoaded(bench.now, (None,) * len(bench.last(do.LoadRows).keys)))
    while bench.worker.busy:
        bench.tick()
    assert bench.of(do.StageChunks)
    assert bench.worker.folding.rows

    bench.give(has.CheckpointCompleted(bench.now, 0))

    assert not bench.of(do.FoldRows)


def test_an_old_answer_does_not_hurry_the_folding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "FOLD_ROWS", 2)
    bench = begun(settings=replace(KIND, checkpoint_ms=16, epoch_bytes_min=1, entities_in_memory=1000))
    bench.read()
    bench.synced()
    bench.now += 100
    bench.tick()
    bench.give(has.RowsLoaded(bench.now, (None,) * len(bench.last(do.LoadRows).keys)))
    while bench.worker.busy:
        bench.tick()
    finish(bench)
    assert len(bench.of(do.FoldRows)) == 1
    assert not bench.worker.folding.is_over

    bench.give(has.RowsFolded(bench.now, 0, 2))
    bench.give(has.RowsFolded(bench.now, 1, 0))
    assert len(bench.of(do.FoldRows)) == 1

    for _ in range(3):
        order = bench.last(do.FoldRows)
        bench.give(has.RowsFolded(bench.now, order.checkpoint, order.chunk))
    assert sum(len(order.rows) for order in bench.of(do.FoldRows)) == 7


def test_a_checkpoint_that_is_due_begins_before_more_is_applied() -> None:
    bench = begun(settings=replace(KIND, checkpoint_ms=16, epoch_bytes_min=1))
    for _ in range(2):
        bench.read()
    bench.synced()
    bench.tick()
    bench.now += 100

    bench.give(has.Delivered(bench.now, 0, 0))

    assert "TakeToken" in bench.kinds()
    assert bench.worker.apply.applied == 1


# --- live sources


def test_live_records_wait_for_the_commit_under_way() -> None:
    bench = begun(build({"a": RECORDS, "b": RECORDS}, live=True))
    bench.read(0, 3)
    bench.read(1, 5)
    assert len(bench.epochs()) == 1

    bench.synced()

    assert [[chunk.count for chunk in epoch.chunks] for epoch in bench.epochs()] == [[3], [5]]


def test_what_comes_from_live_sources_waits_for_one_slice_of_a_checkpoint_and_no_more() -> None:
    settings = replace(KIND, checkpoint_ms=16, rows_per_slice=2)
    bench = begun(build({"a": RECORDS, "b": RECORDS}, live=True), settings=settings)
    bench.read(0, 20)
    bench.synced()
    bench.now += 100
    bench.tick()
    bench.delivered()

    bench.tick()

    assert len(bench.of(do.TakeToken)) == 1
    assert bench.entities() == 7
    assert bench.worker.checkpoints.has_slices
    assert bench.worker.busy


def test_a_due_timer_alone_opens_an_epoch() -> None:
    bench = begun(with_alarms())
    bench.read(0, 1)
    bench.synced()
    bench.tick()
    assert bench.last(do.WakeAt).time == 1050

    bench.now = 1050
    bench.tick()
    bench.synced()
    bench.tick()

    assert bench.epochs()[1].chunks == ()
    assert bench.last(do.Deliver).payload == (1050,)


def test_it_is_not_woken_for_what_waits_for_an_answer() -> None:
    bench = begun(with_alarms(), replace(KIND, checkpoint_ms=16))
    bench.read(0, 1)
    bench.synced()
    bench.tick()
    assert bench.last(do.WakeAt).time is not None

    bench.read(0, 1)
    bench.now += 10_000
    bench.tick()

    assert bench.last(do.WakeAt).time is None, "an answer of the log will come; waking would be spinning"


def test_it_is_not_woken_while_a_sink_is_waited_for_at_the_end() -> None:
    bench = begun(build(RECORDS[:64]), replace(KIND, checkpoint_ms=16))
    bench.read()
    bench.synced()
    bench.tick()
    bench.now += 10_000
    bench.tick()

    assert bench.of(do.Deliver)
    assert not bench.of(do.TakeToken)
    assert bench.worker.wake.time is None, "the checkpoint is due, but waits for the sink: waking would be spinning"


def test_a_clock_that_was_set_back_is_waited_for_again() -> None:
    bench = begun(with_alarms())
    bench.read(0, 1)
    bench.synced()
    bench.tick()
    due = bench.last(do.WakeAt).time
    bench.now = 10

    bench.tick()

    assert do.WakeAt(due) in bench.new


# --- state on disk


def test_an_epoch_waits_until_its_entities_are_loaded() -> None:
    bench = begun(settings=replace(KIND, entities_in_memory=1000))
    bench.read()
    bench.synced()
    bench.tick()
    assert bench.of(do.LoadRows)
    assert not bench.worker.busy
    bench.tick()
    assert not bench.of(do.Deliver)

    bench.give(has.RowsLoaded(bench.now, (None,) * len(bench.last(do.LoadRows).keys)))

    assert bench.of(do.Deliver)
    assert len(bench.of(do.LoadRows)) == 1


# --- failures


def test_a_return_is_the_last_order_of_a_machine() -> None:
    app = Application("failing", on_error="skip")
    stream = app.source(hf.sources.Memory([1, 0]))
    stream.key_by(str).stateful(lambda n, s: 1 // n, state=list, name="divide").sink(hf.sinks.Memory())
    bench = begun(app)
    bench.read()
    bench.synced()

    bench.tick()

    assert bench.new == [do.Return(frozenset({2}), None, None)]
    assert bench.tick() == []


@pytest.mark.parametrize("limit", [None, 2])
def test_the_error_is_that_of_the_call_which_fails_first(limit: int | None) -> None:
    app = Application("failing")
    stream = app.source(hf.sources.Memory([5, 1, 0, 3]))
    sink = hf.sinks.Memory()
    stream.key_by(str).stateful(lambda n, s: 1 // n, state=list, name="first").sink(sink)
    stream.map(lambda n: 2 // n).sink(sink)
    driver = Driver(app, TypeRegistry(), replace(KIND, entities_in_memory=limit))

    error, _ = driver.run()

    assert getattr(error, "step", None) == "first", "the map is met first, but one thread would come to it later"
    assert driver.disk.outputs[0] == [0, 0, 1, 2]
