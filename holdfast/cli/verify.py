"""`holdfast verify`: the engine and the reference on the same input, byte by byte.

The engine runs as a child with captured sinks, as any run does; the reference runs in a second child (referee.py),
under another hash seed and with every entity encoded and decoded between messages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from holdfast.cli import interpreter
from holdfast.cli.colour import Colour, paint
from holdfast.cli.comparison import DIFFERS, IDENTICAL
from holdfast.cli.options import check_later
from holdfast.cli.scratch import RunOutcome, Scratch, child, scratch
from holdfast.cli.tracing import first_difference
from holdfast.core.application import Application
from holdfast.core.errors import NonDeterminismError, StoppedError

REFERENCE_SEED = 1  # any but the engine's
FOUND_DIFFERENCE = 1
STOPPED = 3


def verify(arguments: argparse.Namespace, app: Application | None) -> int:
    """Run the application and compare it with the reference."""
    check_later(arguments)
    with scratch(arguments) as made:
        with child(made.start_run()) as run:
            code = run.wait()
        outcome = made.outcome()
        if outcome is None:  # it has said why
            return code if code > 0 else STOPPED
        return verdict(made, outcome)


def verdict(made: Scratch, outcome: RunOutcome) -> int:
    """Compare a captured run that has ended with the reference, print the verdict and return the exit code."""
    if outcome.error == NonDeterminismError.__name__:
        print(f"first difference: {outcome.text}", flush=True)
        found = FOUND_DIFFERENCE
    elif outcome.error not in ("", StoppedError.__name__):
        return outcome.exit_code  # it has said why, and there is nothing to compare
    else:
        with child(made.start_reference(seed=REFERENCE_SEED)) as reference:
            found = reference.wait()
    if found == FOUND_DIFFERENCE:
        for line in _explain(made):
            print(line)
    if found == FOUND_DIFFERENCE or (found == 0 and not outcome.error):
        print(paint(DIFFERS if found else IDENTICAL, Colour.ERROR if found else Colour.GOOD, sys.stdout), flush=True)
    elif found == 0:
        print("the same up to where the application stopped", flush=True)
    return found or outcome.exit_code


def _explain(made: Scratch) -> Iterator[str]:
    """Look for a function that gives different results for the same arguments: the usual reason."""
    traces = []
    for seed in (int(interpreter.HASH_SEED), REFERENCE_SEED):
        trace = made.folder / f"trace-{seed}"
        with child(made.start_reference(seed=seed, trace=trace)) as reference:
            reference.wait()
        traces.append(trace)
    yield from first_difference(*traces)
