"""The reference's side of `verify` and `chaos`, in a process of its own: what should have been written, compared.

It shares nothing with the run that it judges but the application: finite inputs are read again, live ones come from the
log, and the epoch table tells the times and the order of live records.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from holdfast.cli import loading
from holdfast.cli.comparison import compare
from holdfast.cli.scratch import Scratch
from holdfast.cli.tracing import TracedReference
from holdfast.core import values
from holdfast.core.application import Application
from holdfast.core.reference import Outputs, Reference, RunStoppedError
from holdfast.runtime.capture import capture
from holdfast.runtime.cluster_recorded import LOST
from holdfast.runtime.engine_thread import adapt
from holdfast.runtime.recorded import Recorded, recorded

SAME, DIFFERENT = 0, 1


def reference(arguments: argparse.Namespace, given: Application | None) -> int:
    """Compare what a captured run wrote; or only trace the calls that the reference makes."""
    made = Scratch(arguments.scratch, (), (), arguments.debug, 0.0)
    app = loading.load(arguments.app) if given is None else given
    adapt(app)
    files = capture(app, made.engine)
    run = recorded(made.data, app, sorted(made.folder.glob(LOST)))
    if arguments.trace is not None:
        trace(app, run, arguments.trace)
        return SAME
    outputs, stopped = expected(app, run)
    outcome = made.outcome()
    assert outcome is not None, "only a run that has ended is compared"
    if stopped != outcome.text:
        print(
            f"first difference: the reference {_ending(stopped)}, the engine {_ending(outcome.text)}",
            flush=True,
        )
        return DIFFERENT
    sinks = {step.name: step.sink for step in app.sinks}
    for file in files:
        sink, values_of = sinks[file.sink], outputs[file.sink]
        if file.partition is not None:
            values_of = [value for value in values_of if sink.partition_of(value) == file.partition]
        pieces = [sink.encode(value) for value in values_of]
        place = repr(file.sink) if file.partition is None else f"{file.sink!r}, partition {file.partition}"
        difference = compare(place, pieces, file.path)
        if difference is not None:
            print("\n".join(difference.lines()), flush=True)
            return DIFFERENT
        print(f"sink {place}: {len(pieces):,} outputs, {sum(map(len, pieces)):,} bytes, the same")
    print(f"{run.total:,} records in {len(run.epochs):,} epochs", flush=True)
    return SAME


def expected(app: Application, run: Recorded) -> tuple[Outputs, str]:
    """Return what the reference says, and the error that it stopped with, empty for none."""

    def reload(state: object) -> object:
        return values.decode(values.encode(state, run.registry), run.registry)

    try:
        return Reference(app, reload=reload).run(run.inputs, run.epochs), ""
    except RunStoppedError as stop:
        return stop.outputs, str(stop)


def trace(app: Application, run: Recorded, path: Path) -> None:
    """Write down every call that the reference makes."""
    with path.open("w", encoding="utf-8") as file:
        try:
            TracedReference(app, file).run(run.inputs, run.epochs)
        except RunStoppedError:
            pass


def _ending(error: str) -> str:
    return f"stopped: {error}" if error else "did not stop"
