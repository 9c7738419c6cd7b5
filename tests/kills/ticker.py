"""A live application that is killed: its outputs say when each record was logged, which only the log can repeat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import holdfast as hf
from holdfast import testing
from holdfast.storage.directory import DataDirectory

OUTPUT = "ticks.jsonl"
TICKS = 60_000
WORK = 3000  # additions a tick, so that the ticks outlast the kills on any machine


def ticks() -> Iterator[int]:
    yield from range(TICKS)


def last_digit(tick: int) -> int:
    return tick % 10


def stamped(tick: int, state: list[int], ctx: hf.Context) -> tuple[int, int, int]:
    state.append(tick)
    del state[:-3]
    sum(range(WORK))
    return tick, ctx.time, sum(state)


app = hf.Application("ticker")
app.source(hf.sources.Generator(ticks)).key_by(last_digit).stateful(stamped, state=list).sink(
    hf.sinks.JsonLines(OUTPUT)
)


def expected(data: Path) -> dict[str, bytes]:
    """What must have been written, by the epoch table that the run has left behind."""
    with DataDirectory.open(data, create=False) as directory:
        epochs = list(directory.log.rows())
    outputs = testing.run(app, {"source": list(ticks())}, epochs=epochs)
    sink = app.sinks[0].sink
    return {OUTPUT: b"".join(map(sink.encode, outputs["sink"]))}
