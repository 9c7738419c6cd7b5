"""The public door to what users test with: the reference, and the checks of connectors of their own.

    assert testing.run(app, {"source": ["to be or", "not to be"]}) == {"sink": [("to", 1), ("be", 1), …]}

In `run` nothing is read from the sources or written to the sinks; records are given as the first step gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from holdfast.connectors.sink_check import SinkCheck
from holdfast.connectors.source_check import SourceCheck
from holdfast.core.application import Application
from holdfast.core.connector import Sent, Undecodable
from holdfast.core.epochs import EpochRow
from holdfast.core.reference import Outputs, Reference
from holdfast.core.serial_order import At, Inputs

__all__ = ["At", "EpochRow", "Sent", "Undecodable", "check_sink", "check_source", "run"]

# Of whatever a source or sink is asked for; it decides only how soon a hang is reported.
SECONDS_MAX = 10.0
OUTPUTS = tuple(f"output {number}" for number in range(1, 101))


def run(app: Application, inputs: Inputs, *, epochs: Sequence[EpochRow] | None = None) -> Outputs:
    """Outputs by the name of the sink.

    `inputs` holds records by the name of the source: a list for one partition, `{partition: list}` for
    several. `At(time, record)` gives a record a time, otherwise it is 0. `Sent(message, producer, sequence)` is
    a message with an id, for a source that remembers them. `epochs` is an epoch table, where
    the cuts of live sources, or the logged clock, matter. On a failure under `on_error="stop"` the
    StoppedError's `outputs` hold what came before the record, or timer, that failed.
    """
    return Reference(app).run(inputs, epochs)


def check_source(
    source_factory: Callable[[], object],
    *,
    records: int | None = None,
    types: Iterable[type] = (),
    seconds: float = SECONDS_MAX,
) -> None:
    """Check that a source keeps the contract, so that a run over it survives crashes; AssertionError says what fails.

    `source_factory` makes a new object of the source over the same data each time, as a new process does. A live
    source waits for more at its end: `records` says how many each partition gives before that. `types` are classes
    of records or offsets that `holdfast` can't know otherwise; `seconds` is how long a record may take.
    """
    SourceCheck(source_factory, records=records, types=types, seconds=seconds).run()


def check_sink(
    sink_factory: Callable[[], object],
    outputs: Sequence[Any] = OUTPUTS,
    *,
    read: Callable[[], Iterable[Any]] | None = None,
    kills: int = 5,
    types: Iterable[type] = (),
    seconds: float = SECONDS_MAX,
) -> None:
    """Check that a sink keeps the contract while it is killed (SIGKILL); AssertionError says what fails.

    `sink_factory` makes a new object of the sink over the same store, which is empty at first; it is called in forks
    of this process. `outputs` are what is written, at least 12; `read` gives what the store holds in the end, and
    that is compared: each output once and in order, or, where `resume` gives None, each at least once.
    """
    SinkCheck(sink_factory, outputs, read, kills=kills, types=types, seconds=seconds).run()
