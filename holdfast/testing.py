"""The public door to the reference: run an application on a few records and look at what comes out.

    assert testing.run(app, {"source": ["to be or", "not to be"]}) == {"sink": [("to", 1), ("be", 1), …]}

Nothing is read from the sources or written to the sinks; records are given as the first step gets them.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.application import Application
from holdfast.core.connector import Sent, Undecodable
from holdfast.core.epochs import EpochRow
from holdfast.core.reference import Outputs, Reference
from holdfast.core.serial_order import At, Inputs

__all__ = ["At", "EpochRow", "Sent", "Undecodable", "run"]


def run(app: Application, inputs: Inputs, *, epochs: Sequence[EpochRow] | None = None) -> Outputs:
    """Outputs by the name of the sink.

    `inputs` holds records by the name of the source: a list for one partition, `{partition: list}` for
    several. `At(time, record)` gives a record a time, otherwise it is 0. `Sent(message, producer, sequence)` is
    a message with an id, for a source that remembers them. `epochs` is an epoch table, where
    the cuts of live sources, or the logged clock, matter. On a failure under `on_error="stop"` the
    StoppedError's `outputs` hold what came before the record, or timer, that failed.
    """
    return Reference(app).run(inputs, epochs)
