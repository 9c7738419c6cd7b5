"""Sources and sinks of the user's own through the engine: each in its thread, exactly once, errors in one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import holdfast as hf
from holdfast.core.errors import ProcessingError, SinkError
from holdfast.runtime.engine_thread import Options
from holdfast.worker.settings import Settings
from tests.runtime.engine import ended, run, started

RECORDS = 500


class Table:
    """A source of the user's own: two partitions of numbers."""

    def __init__(self, *, live: bool, error_at: int = -1) -> None:
        self.live = live
        self.error_at = error_at
        self.threads: set[int] = set()
        self.starts: list[tuple[str, Any]] = []

    def partitions(self) -> list[str]:
        return ["a", "b"]

    def read(self, partition: str, offset: int | None) -> Iterator[tuple[str, int]]:
        self.starts.append((partition, offset))
        for number in range(offset or 0, RECORDS):
            self.threads.add(threading.get_ident())
            if number == self.error_at:
                raise ConnectionError("no route to the table")
            yield f"{partition}{number}", number + 1


class Store:
    """A sink of the user's own: outputs and their number in one step."""

    def __init__(self, *, error_at: int = -1) -> None:
        self.outputs: list[str] = []
        self.error_at = error_at
        self.flushed = 0

    def resume(self, partition: str, token: Any) -> int:
        return len(self.outputs)

    def write(self, partition: str, first_number: int, outputs: Sequence[str]) -> None:
        assert first_number == len(self.outputs) + 1
        if first_number <= self.error_at < first_number + len(outputs):
            raise TimeoutError("the store does not answer")
        self.outputs += outputs

    def flush(self, partition: str) -> int:
        self.flushed += 1
        return len(self.outputs)


def build(source: Table, sink: Store) -> hf.Application:
    app = hf.Application("own")
    app.source(source).sink(sink)
    return app


@pytest.mark.parametrize("live", [False, True])
def test_a_users_connectors_are_read_and_written_in_threads_of_their_own(live: bool, tmp_path: Path) -> None:
    source, sink = Table(live=live), Store()

    engine = started(build(source, sink), Options(tmp_path / "data"))
    outcome = ended(engine)

    assert outcome.error is None
    assert sorted(sink.outputs) == sorted(f"{p}{n}" for p in "ab" for n in range(RECORDS))
    assert sink.flushed
    assert engine.thread.ident not in source.threads


def test_a_finite_source_of_the_users_own_is_read_in_rounds(tmp_path: Path) -> None:
    sink = Store()
    run(build(Table(live=False), sink), tmp_path / "data")

    rounds = [f"{p}{n}" for start in range(0, RECORDS, 64) for p in "ab" for n in range(RECORDS)[start : start + 64]]
    assert sink.outputs == rounds


@pytest.mark.parametrize("live", [False, True])
def test_a_source_that_fails_ends_the_run_cleanly_and_goes_on_where_it_was(live: bool, tmp_path: Path) -> None:
    source, sink = Table(live=live, error_at=300), Store()
    outcome = run(build(source, sink), tmp_path / "data")
    assert isinstance(outcome.error, ProcessingError)
    assert "no route to the table" in str(outcome.error)

    source.error_at = -1
    source.starts.clear()
    outcome = run(build(source, sink), tmp_path / "data")

    assert outcome.error is None
    assert sorted(sink.outputs) == sorted(f"{p}{n}" for p in "ab" for n in range(RECORDS))
    assert all(offset for _, offset in source.starts)


def test_a_sink_that_fails_stops_the_run_and_gets_the_rest_later(tmp_path: Path) -> None:
    source, sink = Table(live=False), Store(error_at=400)
    options = Options(tmp_path / "data", settings=Settings(epoch_bytes_min=512, epoch_bytes_max=512))
    outcome = run(build(source, sink), tmp_path / "data", options)
    assert isinstance(outcome.error, SinkError)
    assert "the store does not answer" in str(outcome.error)
    assert 0 < len(sink.outputs) < 400

    sink.error_at = -1
    outcome = run(build(source, sink), tmp_path / "data")

    assert outcome.error is None
    assert len(sink.outputs) == len(set(sink.outputs)) == 2 * RECORDS


def test_a_sink_is_told_whose_outputs_it_gets_the_same_in_every_life_on_a_directory(tmp_path: Path) -> None:
    owners = []

    class Claiming(Store):
        def claim(self, owner: str) -> None:
            owners.append(owner)

    sink = Claiming()
    for data in ("one", "one", "other"):
        run(build(Table(live=False), sink), tmp_path / data)

    assert owners[0] == owners[1] != owners[2]
    assert owners[0].endswith(" sink")


def test_a_value_that_a_users_sink_cannot_encode_is_an_error_of_its_step(tmp_path: Path) -> None:
    class Numbers(Store):
        def encode(self, value: str) -> int:
            return int(value)

    sink = Numbers()
    app = hf.Application("numbers", on_error="skip")
    app.source(hf.sources.Memory(["1", "two", "3"])).sink(sink)
    outcome = run(app, tmp_path / "data")

    assert outcome.error is None
    assert sink.outputs == [1, 3]  # type: ignore[comparison-overlap]
