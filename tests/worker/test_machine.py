"""The machine's protocol, one event at a time: what is ordered when, and what never is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.application import Application
from holdfast.core.entities import canonical_of
from holdfast.core.epochs import Epoch
from holdfast.core.errors import ApplicationError, CodeChangedError, DamagedError, HoldfastError
from holdfast.core.images import unpack
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker import fold
from holdfast.worker.checkpoint import SINK_STEP, SOURCE_STEP
from holdfast.worker.machine import Worker
from holdfast.worker.record import Record
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver, Live

T = TypeVar("T")
KIND = Settings(epochs_in_flight=2)
RECORDS = list(range(200))


def count(message: int, state: list[int]) -> tuple[int, int]:
    state.append(message)
    return message % 7, len(state)


def build(records: Any = RECORDS, *, live: bool = False, **options: Any) -> Application:
    app = Application("machine", **options)
    stream = app.source(hf.sources.Memory(records))
    stream.key_by(lambda n: n % 7).stateful(count, state=list).sink(hf.sinks.Memory())
    app.check()
    if live:
        for step in app.sources:
            step.source = Live(step.source)
    return app


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


class Bench:
    """One machine; every answer is given by hand."""

    def __init__(self, app: Application, settings: Settings = KIND, *, disk: Driver | None = None) -> None:
        self.app = app
        self.registry = TypeRegistry() if disk is None else disk.registry
        partitions = []
        for step in app.sources:
            step.source.bind(self.registry)
            partitions += [(step.index, name) for name in step.source.partitions()]
        self.readers = [app.steps[index].source.open(name, None) for index, name in partitions]
        self.given = [0] * len(partitions)
        self.worker = Worker(Plan(app), partitions, settings, self.registry)
        self.now = 1000
        self.orders: list[do.Effect] = []  # all of them
        self.new: list[do.Effect] = []  # of the last event

    def give(self, event: Any) -> list[do.Effect]:
        self.new = self.worker.handle(event)
        self.worker.check_invariants()
        self.orders += self.new
        return self.new

    def start(self, disk: Driver | None = None, tail: int = 0) -> list[do.Effect]:
        if disk is None:
            return self.give(has.Started(self.now, None, tail))
        self.give(has.Started(self.now, disk.disk.record, disk.disk.tail))
        return self.give(has.ChunksRead(self.now, tuple(chunk for _, chunk in disk.disk.chunks), last=True))

    def tick(self) -> list[do.Effect]:
        return self.give(has.Ticked(self.now))

    def read(self, partition: int = 0, most: int = 64) -> list[do.Effect]:
        block = self.readers[partition].read(most, 1 << 20)
        raw, records, ended = (b"", 0, True) if block is None else (block.raw, block.count, block.ended)
        self.given[partition] += records
        offset = self.readers[partition].offset_after(self.given[partition])
        return self.give(has.SourceRead(self.now, partition, raw, records, offset, ended))

    def synced(self) -> list[do.Effect]:
        return self.give(has.LogSynced(self.now, self.last(do.AppendLog).epoch.number))

    def delivered(self) -> list[do.Effect]:
        order = self.last(do.Deliver)
        return self.give(has.Delivered(self.now, order.sink, order.first + order.count - 1))

    def of(self, kind: type[T]) -> list[T]:
        return [order for order in self.orders if isinstance(order, kind)]

    def last(self, kind: type[T]) -> T:
        return self.of(kind)[-1]

    def kinds(self) -> list[str]:
        """Of the orders of the last event."""
        return [type(order).__name__ for order in self.new]

    def epochs(self) -> list[Epoch]:
        return [order.epoch for order in self.of(do.AppendLog)]


def begun(app: Application | None = None, settings: Settings = KIND) -> Bench:
    bench = Bench(app if app is not None else build(), settings)
    bench.start()
    return bench


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
    assert not bench.worker.pipeline.books[2].entities
    assert not bench.worker.busy

    bench.synced()
    assert bench.worker.busy
    bench.tick()

    assert bench.last(do.Deliver).first == 1
    assert bench.worker.pipeline.books[2].entities


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


# --- ends


def finished() -> Driver:
    driver = Driver(build(), TypeRegistry(), replace(KIND, checkpoint_ms=10))
    assert driver.run() == (None, True)
    return driver


def test_nothing_comes_after_the_end() -> None:
    driver = finished()
    bench = Bench(build(), disk=driver)

    bench.start(driver)
    assert bench.kinds() == ["Finish"]

    for event in (has.Ticked(1), has.StopAsked(1), has.LogSynced(1, 3), has.SourceRead(1, 0, b"", 0, None, True)):
        assert bench.give(event) == []
    assert not bench.worker.busy


def test_an_ended_application_ends_again_without_touching_anything() -> None:
    driver = finished()
    before = list(driver.disk.outputs[0])

    assert driver.run() == (None, True)

    assert [type(order) for order in driver.orders] == [do.ReadChunks, do.Finish]
    assert driver.disk.outputs[0] == before


@pytest.mark.parametrize("records", [[], {"a": [], "b": [1, 2], "c": []}, {"a": list(range(64)), "b": []}])
@pytest.mark.parametrize("live", [False, True], ids=["finite", "live"])
def test_empty_partitions_end_at_once(records: Any, live: bool) -> None:
    driver = Driver(build(records, live=live), TypeRegistry())

    assert driver.run() == (None, True)

    given = records if isinstance(records, dict) else {"0": records}
    assert len(driver.disk.outputs[0]) == sum(map(len, given.values()))


def test_a_stop_with_nothing_done_makes_a_checkpoint_and_ends() -> None:
    bench = begun()
    bench.give(has.StopAsked(bench.now))

    assert bench.kinds()[:1] == ["TakeToken"]
    finish(bench)

    assert bench.last(do.Finish) == do.Finish(None, ended=False)


def finish(bench: Bench) -> None:
    """Answer all that belongs to the last checkpoint."""
    checkpoint = bench.last(do.TakeToken).checkpoint
    bench.give(has.TokenTaken(bench.now, 0, checkpoint, None))
    for order in bench.of(do.StageChunks):
        if order.checkpoint == checkpoint:
            bench.give(has.ChunksStaged(bench.now, checkpoint, len(order.chunks)))
    bench.give(has.SinksSynced(bench.now, checkpoint))
    bench.give(has.CheckpointCompleted(bench.now, checkpoint))


def test_a_stop_during_the_replay_works_off_the_log_and_opens_no_source() -> None:
    records = RECORDS * 10
    driver = Driver(build(records), TypeRegistry(), replace(KIND, checkpoint_ms=10**6, epoch_bytes_min=1))
    assert driver.live(driver.settings, 16) is None
    assert driver.disk.tail >= 2
    bench = Bench(build(records), disk=driver)

    bench.give(has.Started(bench.now, None, driver.disk.tail))
    bench.give(has.StopAsked(bench.now))
    bench.give(has.LogRead(bench.now, tuple(driver.disk.log)))
    while bench.worker.busy:
        bench.tick()
    bench.delivered()
    finish(bench)

    assert bench.last(do.Finish) == do.Finish(None, ended=False)
    assert Record.unpack(bench.last(do.CompleteCheckpoint).record).epoch == driver.disk.tail
    assert not bench.of(do.OpenSource)


@pytest.mark.parametrize("live", [False, True], ids=["finite", "live"])
def test_what_is_read_after_the_last_cut_is_not_logged(live: bool) -> None:
    bench = begun(build(live=live))
    bench.give(has.StopAsked(bench.now))
    assert bench.of(do.TakeToken)

    bench.read()
    finish(bench)

    assert not bench.of(do.AppendLog)
    assert Record.unpack(bench.last(do.CompleteCheckpoint).record).clean
    assert bench.last(do.Finish) == do.Finish(None, ended=False)


def test_a_stop_gives_up_rounds_of_which_a_part_is_missing() -> None:
    bench = begun(build({"a": RECORDS, "b": RECORDS}))
    bench.read(0)

    bench.give(has.StopAsked(bench.now))
    assert bench.of(do.TakeToken), "it must not wait for the other partition"
    bench.read(1)
    finish(bench)

    assert not bench.of(do.AppendLog)
    assert bench.of(do.Finish)


def test_a_stop_works_off_live_records_that_wait_for_the_commit() -> None:
    bench = begun(build({"a": RECORDS, "b": RECORDS}, live=True))
    bench.read(0)
    bench.read(1)
    assert [chunk.partition for chunk in bench.epochs()[0].chunks] == [0]

    bench.give(has.StopAsked(bench.now))
    bench.synced()
    bench.synced()
    while bench.worker.busy:
        bench.tick()

    assert [[chunk.partition for chunk in epoch.chunks] for epoch in bench.epochs()] == [[0], [1]]


def test_a_stop_can_be_asked_for_twice() -> None:
    bench = begun()
    bench.give(has.StopAsked(bench.now))
    bench.give(has.StopAsked(bench.now))
    finish(bench)

    assert len(bench.of(do.TakeToken)) == 1
    assert len(bench.of(do.Finish)) == 1


# --- starts that are refused


def error_of(bench: Bench) -> HoldfastError | None:
    return bench.last(do.Finish).error


def test_a_log_that_ends_before_the_checkpoint_is_damage() -> None:
    driver = finished()
    bench = Bench(build(), disk=driver)

    bench.give(has.Started(1, driver.disk.record, driver.disk.tail - 1))

    assert isinstance(error_of(bench), DamagedError)


@pytest.mark.parametrize(("skip", "fired"), [(3, True), (0, True)])
def test_a_checkpoint_within_an_epoch_needs_that_epoch(skip: int, fired: bool) -> None:
    driver = finished()
    record = replace(Record.unpack(driver.disk.record or b""), skip=skip, fired=fired)
    bench = Bench(build(), disk=driver)

    bench.give(has.Started(1, record.pack(), driver.disk.tail))

    assert isinstance(error_of(bench), DamagedError)


def test_entities_stored_to_be_loaded_need_their_limit_again() -> None:
    driver = Driver(build(), TypeRegistry(), replace(KIND, entities_in_memory=8))
    driver.stops = [30]
    driver.live(driver.settings, None, 30)
    bench = Bench(build(), disk=driver)

    bench.give(has.Started(1, driver.disk.record, driver.disk.tail))

    assert isinstance(error_of(bench), CodeChangedError)
    assert "entities_in_memory" in str(error_of(bench))


def test_a_limit_can_be_set_later_and_steps_renamed_under_it() -> None:
    def renamed(**names: str) -> Application:
        app = Application("machine")
        stream = app.source(hf.sources.Memory(RECORDS * 20))
        stream.key_by(lambda n: n % 97).stateful(count, state=list, **names).sink(hf.sinks.Memory())  # type: ignore[arg-type]
        return app

    expected = testing.run(renamed(), {"source": RECORDS * 20})["sink"]
    driver = Driver(renamed(), TypeRegistry(), replace(KIND, epoch_bytes_min=1))
    limited = replace(KIND, epoch_bytes_min=1, checkpoint_ms=10, entities_in_memory=4)
    driver.live(driver.settings, None, 12)
    lengths = [len(driver.disk.outputs[0])]
    for names in ({}, {"name": "other", "was": "count"}, {"name": "other"}):
        driver.app = renamed(**names)
        take_back_the_folding(driver)
        driver.live(limited, 100)  # killed
        driver.live(limited, None, 40)
        lengths.append(len(driver.disk.outputs[0]))
        assert lengths[-1] > lengths[-2]
    assert lengths[-1] < len(expected)

    driver.settings = limited
    assert driver.run() == (None, True)

    assert driver.disk.outputs[0] == expected


def take_back_the_folding(driver: Driver) -> None:
    """As if the last life had been killed before it folded its last checkpoint."""
    for _, chunk in driver.disk.chunks:
        keys = set(map(canonical_of, unpack(chunk, driver.registry).keys))
        driver.disk.entities = {row: image for row, image in driver.disk.entities.items() if row[1] not in keys}


@pytest.mark.parametrize("name", [SOURCE_STEP, SINK_STEP])
def test_a_step_cannot_take_the_name_of_the_systems_own(name: str) -> None:
    app = Application("names")
    app.source(hf.sources.Memory([1])).key_by(lambda n: n).stateful(count, state=list, name=name).sink(hf.sinks.Memory())

    with pytest.raises(ApplicationError, match="rename it"):
        Bench(app)


# --- live sources


def test_live_records_wait_for_the_commit_under_way() -> None:
    bench = begun(build({"a": RECORDS, "b": RECORDS}, live=True))
    bench.read(0, 3)
    bench.read(1, 5)
    assert len(bench.epochs()) == 1

    bench.synced()

    assert [[chunk.count for chunk in epoch.chunks] for epoch in bench.epochs()] == [[3], [5]]


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
