"""The command line: what can be asked for, and what an end means for the exit code.

Exit codes are those of `holdfast.core.errors`, see docs/running.md: 0 done, 1 a difference was found, 2 wrong call,
3 stopped while running, 4 data directory unusable, 128 + n ended by signal n. Stdout carries outputs, reports and
verdicts; everything else goes to stderr.
Commands import what they need when they run: starting a worker costs as little as it can. Its process begins anew with
a fixed hash seed, so nothing that the command line needs is imported before that.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from holdfast.cli import interpreter
from holdfast.core.errors import HoldfastError, UsageError

if TYPE_CHECKING:
    import argparse

    from holdfast.cli.reports import Reports
    from holdfast.core.application import Application

COMMANDS = {
    "run": ("holdfast.cli.running", "run"),
    "verify": ("holdfast.cli.verify", "verify"),
    "reference": ("holdfast.cli.referee", "reference"),
    "chaos": ("holdfast.cli.chaos", "chaos"),
    "inspect": ("holdfast.cli.inspecting", "inspect"),
    "coordinator": ("holdfast.cli.cluster", "coordinator"),
    "worker": ("holdfast.cli.cluster", "worker"),
    "status": ("holdfast.cli.status", "status"),
    "query": ("holdfast.cli.query", "query"),
    "new": ("holdfast.cli.new", "new"),
    "completion": ("holdfast.cli.completion", "completion"),
}
LATER = ("holdfast.cli.options", "refuse")

# A defect of holdfast itself: not one of the codes that a user can do something about, but "stopped while running".
DEFECT = 3
INTERRUPTED = 130


def run() -> NoReturn:
    """Be the `holdfast` command."""
    interpreter.end_when_interrupted()
    interpreter.begin()
    sys.exit(main())


def main(argv: Sequence[str] | None = None, app: Application | None = None) -> int:
    """Carry out a command line, of this process when none is given; return the exit code.

    With `app` that application is meant and APP is not given: `python app.py run`.
    """
    if argv is None:
        interpreter.have_streams()
    from holdfast.cli import options
    from holdfast.cli.reports import Heard, Reports

    reports = Reports(options.form_of(sys.argv[1:] if argv is None else argv))
    try:
        arguments = options.parse(argv, with_app=app is None)
    except SystemExit as end:  # argparse has shown the help that was asked for
        return int(end.code or 0)
    except UsageError as error:
        return _failed(reports, error, error.exit_code, debug=False)
    arguments.reports = reports
    Heard.by(reports)
    arguments.owns_process = argv is None
    arguments.program = interpreter.own_command(with_module=not arguments.owns_process)
    code = _carry_out(arguments, app)
    if _is_worker(arguments):
        if getattr(arguments, "leashed", False):
            importlib.import_module("holdfast.runtime.leash").say_farewell(code, reports.failure)
        interpreter.end(code)
    return code


def _carry_out(arguments: argparse.Namespace, app: Application | None) -> int:
    try:
        interpreter.check()
        command = _command(arguments.command)
        if _is_worker(arguments):  # and hears signals by itself as soon as there is something to end cleanly
            interpreter.fix_hash_seed()
            interpreter.tune()
        elif arguments.owns_process:
            interpreter.raise_when_told_to_end()
        return command(arguments, app)
    except BrokenPipeError:  # whoever read the report has gone
        interpreter.drop_stdout()
        return DEFECT
    except Exception as error:  # noqa: BLE001 - said in one line, with --debug in full
        cause = _cause(error)
        return _failed(arguments.reports, cause, getattr(cause, "exit_code", DEFECT), debug=arguments.debug)
    except (KeyboardInterrupt, BaseExceptionGroup):  # a nursery has wrapped it
        return INTERRUPTED


def _cause(error: Exception) -> Exception:
    """The error itself, or what a nursery has wrapped: best one that says what to do."""
    if not isinstance(error, ExceptionGroup):
        return error
    causes = [_cause(inner) for inner in error.exceptions]
    return next((cause for cause in causes if isinstance(cause, HoldfastError)), causes[0])


def _is_worker(arguments: argparse.Namespace) -> bool:
    """Whether this process is a worker's own: its interpreter is set up for that, and it ends at once."""
    return arguments.owns_process and arguments.command in interpreter.WORKERS


def _command(name: str) -> Callable[[argparse.Namespace, Application | None], int]:
    module, function = COMMANDS.get(name, LATER)
    command: Callable[[argparse.Namespace, Application | None], int]
    command = getattr(importlib.import_module(module), function)
    return command


def _failed(reports: Reports, error: Exception, code: int, *, debug: bool) -> int:
    reports.fail(error, code, debug=debug)
    return code
