"""Timers of entities that wait on disk: they fire as if all were in memory, also after kills."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.images import unpack_row
from holdfast.core.types import TypeRegistry
from holdfast.worker import effects as do
from holdfast.worker import events as has
from holdfast.worker.settings import Settings
from tests.worker.bench import Bench
from tests.worker.drive import Driver, Live

SMALL = Settings(checkpoint_ms=40, epoch_bytes_min=200, epoch_bytes_max=400, slice_records=16, rows_per_slice=7)
RECORDS = [(10 * number, number) for number in range(900)]
KEYS = 211


@dataclass
class Account:
    seen: list[int] = field(default_factory=list)


def number_of(record: tuple[int, int]) -> int:
    return record[1]


def time_of(record: Any) -> int:
    return int(record[0])


def account(number: int) -> int:
    return number * 7 % KEYS


def book(number: int, state: Account, ctx: hf.Context) -> tuple[int, int] | None:
    """Sets, replaces and cancels timers, near ones and far ones; deletes accounts, and makes some of them anew."""
    state.seen = [*state.seen[-2:], number]
    ctx.set_timer(ctx.time + 500 + number * 37 % 3000, "far")
    if number % 3 == 0:
        ctx.set_timer(ctx.time + 40, "near")
    if number % 5 == 0:
        ctx.cancel_timer("far")
    if number % 13 == 0:
        ctx.delete()
        if number % 26 == 0:
            ctx.state = Account([-number])
            ctx.set_timer(ctx.time + 900, "renewed")
        return None
    return number, len(state.seen)


def remind(name: str, state: Account, ctx: hf.Context) -> tuple[str, int, list[int], int]:
    """Now and then sets one that is due already, which waits for the next round, or deletes the account."""
    if name == "far" and state.seen[-1] % 4 == 0:
        ctx.set_timer(ctx.time - 100, "at once")
    if name == "at once":
        ctx.delete()
    return name, ctx.key, state.seen, ctx.time


def lane(reminder: Any) -> tuple[str, int]:
    return reminder[0], reminder[1] % 30


def is_reminder(output: tuple[object, ...]) -> bool:
    return len(output) == 4


def note(reminder: Any, state: Account, ctx: hf.Context) -> None:
    state.seen.append(reminder[1])
    ctx.set_timer(ctx.time + 1000)


def report(name: str, state: Account, ctx: hf.Context) -> tuple[object, list[int], int]:
    ctx.delete()
    return ctx.key, state.seen, ctx.time


def application() -> hf.Application:
    app = hf.Application("reminders")
    booked = app.source(hf.sources.Memory(RECORDS, time=time_of)).map(number_of).key_by(account)
    said = booked.stateful(book, state=Account, on_timer=remind)
    said.sink(hf.sinks.Memory())
    said.filter(is_reminder).key_by(lane).stateful(note, state=Account, on_timer=report).sink(hf.sinks.Memory())
    return app


def reference() -> list[list[object]]:
    records = [testing.At(record[0], record) for record in RECORDS]
    return list(testing.run(application(), {"source": records}).values())


def outputs_of(driver: Driver) -> list[list[object]]:
    return [driver.disk.outputs[0], driver.disk.outputs[1]]


@pytest.mark.parametrize("limit", [1, 16, 200])
def test_timers_of_a_state_larger_than_memory_fire_as_if_it_were_not(limit: int) -> None:
    driver = Driver(application(), TypeRegistry(), replace(SMALL, entities_in_memory=limit))

    assert driver.run() == (None, True)

    assert outputs_of(driver) == reference()


def test_killed_after_any_event_timers_on_disk_fire_all_the_same() -> None:
    expected = reference()
    for first in range(1, 110, 18):
        driver = Driver(application(), TypeRegistry(), replace(SMALL, entities_in_memory=16))
        driver.kills = [first, first // 2 + 1, 5, first + 9]

        assert driver.run() == (None, True)

        assert outputs_of(driver) == expected


def test_a_live_worker_wakes_for_the_timer_of_an_entity_on_disk() -> None:
    """Having heard of the timer from the rows alone; before, it may wake to look closer."""
    app = hf.Application("sleeper")
    source = app.source(hf.sources.Memory(list(range(10_000))))
    source.key_by(str).stateful(set_for_later, state=list, on_timer=wake_up).sink(hf.sinks.Memory())
    app.check()
    app.sources[0].source = Live(app.sources[0].source)
    driver = Driver(app, TypeRegistry(), replace(SMALL, entities_in_memory=4))
    assert driver.live(driver.settings, None, 12) is not None
    dues = [min(unpack_row(row)[1].values()) for row in driver.disk.entities.values() if row is not None]

    bench = Bench(app, replace(SMALL, entities_in_memory=4), disk=driver)
    bench.start(driver)
    while isinstance(order := bench.new[-1], do.FoldRows):
        bench.give(has.RowsFolded(bench.now, order.checkpoint, order.chunk))
    rows = [(key, row) for (_, key), row in driver.disk.entities.items() if row is not None]
    assert isinstance(bench.new[-1], do.ReadRows)
    bench.give(has.RowsRead(bench.now, tuple(rows), last=True))
    bench.tick()
    for _ in range(5):
        wake = bench.last(do.WakeAt).time
        assert wake is not None
        assert bench.now < wake <= min(dues)
        bench.now = wake
        assert not bench.of(do.AppendLog)
        bench.tick()
        if wake == min(dues):
            break

    assert bench.last(do.AppendLog).epoch.chunks == ()
    bench.synced()
    bench.tick()
    (loaded,) = bench.of(do.LoadRows)
    assert len(loaded.keys) == dues.count(min(dues))


def set_for_later(number: int, state: list[int], ctx: hf.Context) -> None:
    ctx.set_timer(ctx.time + 1000 + number)


def wake_up(name: str, state: list[int], ctx: hf.Context) -> object:
    return ctx.key
