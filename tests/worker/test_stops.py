"""Stops under on_error="stop": exactly before the record, or before all timers of the turn; and on from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.application import Application
from holdfast.core.errors import StoppedError
from holdfast.core.types import TypeRegistry
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver, outputs_of
from tests.zoo.case import is_not_pad, padded, time_of, timed

Record = tuple[int, Any]
CRUEL = Settings(checkpoint_ms=10, epoch_bytes_min=1, slice_records=1, rows_per_slice=1, replay_bytes=1)
FIXED: set[str] = set()  # causes that are gone


def fail(cause: str) -> None:
    if cause not in FIXED:
        raise ValueError(cause)


def watch(record: Record, state: list[Any], ctx: hf.Context) -> Any:
    state.append(record[1])
    if record[1] == "set":
        ctx.set_timer(record[0] + 5, "good")
    if record[1] == "set bad":
        ctx.set_timer(record[0] + 6, "bad timer")
    if record[1] == "bad":
        fail("bad")
    return record[1], len(state)


def ring(name: str, state: list[Any], ctx: hf.Context) -> tuple[str, int]:
    state.append(name)
    ctx.set_timer(ctx.time - 1, "again")  # due at once, and yet not in this turn
    if name == "bad timer":
        fail(name)
    return name, len(state)


def check(record: Record) -> Record:
    if record[1] == "bad map":
        fail("bad map")
    return record


INPUTS = {
    "first of its turn": padded([(0, "set")], [(10, "bad"), (10, "after")], [(20, "end")]),
    "first of its turn, before any key": padded([(0, "set")], [(10, "bad map"), (10, "after")], [(20, "end")]),
    "within its turn": padded([(0, "set")], [(10, "before"), (10, "bad"), (11, "after")], [(20, "end")]),
    "a timer": padded([(0, "set"), (0, "set bad")], [(10, "before"), (10, "after")], [(20, "end")]),
    "a timer and a record": padded([(0, "set"), (0, "set bad")], [(10, "bad"), (10, "bad map")], [(20, "end")]),
    "the very first": padded([(0, "bad"), (0, "set")], [(10, "after")]),
}


def build(records: list[Record]) -> Callable[[], Application]:
    def make() -> Application:
        app = Application("stops")
        source: hf.sources.Memory[Record] = hf.sources.Memory(records, time=time_of)
        stream = app.source(source).filter(is_not_pad).map(check)
        stream.key_by(lambda r: 0).stateful(watch, state=list, on_timer=ring).sink(hf.sinks.Memory())
        stream.key_by(lambda r: r[1]).stateful(watch, state=list, on_timer=ring, name="other").sink(hf.sinks.Memory())
        return app

    return make


@pytest.mark.parametrize("settings", [Settings(), CRUEL], ids=["kind", "cruel"])
@pytest.mark.parametrize("place", list(INPUTS))
def test_it_stops_where_the_reference_stops_and_goes_on_from_there(place: str, settings: Settings) -> None:
    make = build(INPUTS[place])
    inputs = {"source": timed(INPUTS[place])}
    driver = Driver(make(), TypeRegistry(), settings)
    causes = {"bad", "bad map", "bad timer"}
    try:
        while causes:
            with pytest.raises(StoppedError) as stopped:
                testing.run(make(), inputs)

            for _ in range(2):  # started again without a change it stops there again
                error, ended = driver.run()
                assert (str(error), ended) == (str(stopped.value), False)
                assert outputs_of(driver) == stopped.value.outputs  # type: ignore[attr-defined]

            FIXED.add(stopped.value.error.removeprefix("ValueError: "))
            causes -= FIXED
            causes &= {str(record[1]) for record in INPUTS[place]} | ({"bad timer"} if "timer" in place else set())

        driver.app = make()
        assert driver.run() == (None, True)
        assert outputs_of(driver) == testing.run(make(), inputs)
    finally:
        FIXED.clear()
