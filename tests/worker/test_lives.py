"""A worker that is killed, whose state is larger than its memory, or whose chunks are compacted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.types import TypeRegistry
from holdfast.worker import checkpoint
from holdfast.worker.effects import CompleteCheckpoint
from holdfast.worker.settings import Settings
from tests.worker.drive import Driver

SMALL = Settings(checkpoint_ms=40, epoch_bytes_min=200, epoch_bytes_max=400, slice_records=16, rows_per_slice=7)


@dataclass
class Seen:
    count: int = 0
    last: str = ""


def words(number: int) -> list[str]:
    return [f"w{number * step % 97}" for step in range(number % 5)]


def count(word: str, seen: Seen) -> tuple[str, int, str]:
    seen.count += 1
    before, seen.last = seen.last, f"{word}{seen.count}"
    return word, seen.count, before


def forget_sometimes(item: tuple[str, int, str], seen: Seen, ctx: hf.Context) -> tuple[str, int] | None:
    seen.count += item[1]
    if seen.count % 7 == 0:
        ctx.delete()
        return None
    return item[0], seen.count


RECORDS = list(range(600))


def application(records: list[int] = RECORDS) -> hf.Application:
    app = hf.Application("lives")
    counted = (
        app.source(hf.sources.Memory(records)).flat_map(words).key_by(str).stateful(count, state=Seen)
    )
    counted.sink(hf.sinks.Memory())
    (
        counted.key_by(lambda item: (item[1] % 11, item[0][-1]))
        .stateful(forget_sometimes, state=Seen)
        .sink(hf.sinks.Memory())
    )
    return app


def reference(records: list[int] = RECORDS) -> list[list[object]]:
    return list(testing.run(application(records), {"source": records}).values())


def outputs_of(driver: Driver) -> list[list[object]]:
    return [driver.disk.outputs[0], driver.disk.outputs[1]]


@pytest.mark.parametrize("limit", [4, 40, 400])
def test_state_larger_than_memory_gives_the_same_outputs(limit: int) -> None:
    driver = Driver(application(), TypeRegistry(), replace(SMALL, entities_in_memory=limit))

    assert driver.run() == (None, True)

    assert outputs_of(driver) == reference()
    assert driver.disk.entities


@pytest.mark.parametrize("limit", [None, 30])
def test_killed_after_any_event_it_goes_on_with_identical_outputs(limit: int | None) -> None:
    settings = replace(SMALL, entities_in_memory=limit)
    expected = reference()
    for first in range(1, 110, 6):
        driver = Driver(application(), TypeRegistry(), settings)
        driver.kills = [first, first // 2 + 1, 5, first + 9]

        assert driver.run() == (None, True)

        assert outputs_of(driver) == expected


def brittle(number: int) -> int:
    if number % 509 == 508:
        raise ValueError(number)
    return number


@pytest.mark.parametrize("slice_records", [7, 128, 1000])
def test_long_epochs_are_decoded_in_pieces_with_failures_in_them(slice_records: int) -> None:
    def build() -> hf.Application:
        app = hf.Application("long", on_error=hf.sinks.Memory())
        stream = app.source(hf.sources.Memory(range(3000))).map(brittle)
        stream.key_by(lambda n: n % 10).stateful(total, state=Seen).sink(hf.sinks.Memory())
        return app

    driver = Driver(build(), TypeRegistry(), Settings(epoch_bytes_min=1 << 20, slice_records=slice_records))

    assert driver.run() == (None, True)

    assert len(driver.disk.rows) <= 2
    assert outputs_of(driver) == list(testing.run(build(), {"source": range(3000)}).values())


def total(number: int, seen: Seen) -> tuple[int, int]:
    seen.count += 1
    if number % 701 == 700:
        raise ValueError(number)
    return number, seen.count


def test_chunks_are_compacted_and_still_hold_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "ROWS_FREE", 20)
    records = RECORDS * 8
    driver = Driver(application(records), TypeRegistry(), SMALL)
    driver.kills = [300] * 3

    assert driver.run() == (None, True)

    drops = [order.drop_before for order in driver.orders if isinstance(order, CompleteCheckpoint)]
    assert max(drops) > 0
    assert min(number for number, _ in driver.disk.chunks) >= max(drops)
    assert outputs_of(driver) == reference(records)
