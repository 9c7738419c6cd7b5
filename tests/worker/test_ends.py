"""Ends and starts of a machine, one event at a time: finished, asked to stop, gone on with, refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.application import Application
from holdfast.core.entities import canonical_of
from holdfast.core.errors import ApplicationError, CodeChangedError, DamagedError, HoldfastError
from holdfast.core.images import unpack
from holdfast.core.types import TypeRegistry
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.checkpoint import SINK_STEP, SOURCE_STEP
from holdfast.worker.record import Record
from tests.worker.bench import KIND, RECORDS, Bench, begun, build, count, finish
from tests.worker.drive import Driver

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
    def renamed(name: str | None = None, was: str | None = None) -> Application:
        app = Application("machine")
        keyed = app.source(hf.sources.Memory(RECORDS * 20)).key_by(lambda n: n % 97)
        keyed.stateful(count, state=list, name=name, was=was).sink(hf.sinks.Memory())
        return app

    expected = testing.run(renamed(), {"source": RECORDS * 20})["sink"]
    driver = Driver(renamed(), TypeRegistry(), replace(KIND, epoch_bytes_min=1))
    limited = replace(KIND, epoch_bytes_min=1, checkpoint_ms=10, entities_in_memory=4)
    driver.live(driver.settings, None, 12)
    lengths = [len(driver.disk.outputs[0])]
    for name, was in ((None, None), ("other", "count"), ("other", None)):
        driver.app = renamed(name, was)
        driver.stored_names = {} if name is None else {name: "count"}
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
    keyed = app.source(hf.sources.Memory([1])).key_by(lambda n: n)
    keyed.stateful(count, state=list, name=name).sink(hf.sinks.Memory())

    with pytest.raises(ApplicationError, match="rename it"):
        Bench(app)
