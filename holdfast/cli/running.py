"""`holdfast run`: from the arguments to a run and its exit code."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from holdfast.cli import loading
from holdfast.cli.options import check_later
from holdfast.cli.reports import Heard
from holdfast.cli.scratch import RunOutcome
from holdfast.cli.screen import Screen
from holdfast.connectors.send import Send
from holdfast.core.application import Application
from holdfast.core.connector import is_live
from holdfast.runtime.capture import capture
from holdfast.runtime.engine_thread import Options
from holdfast.runtime.fresh import start_anew
from holdfast.runtime.main_task import MainTask
from holdfast.runtime.metrics import serve
from holdfast.runtime.rehearsal import rehearsal
from holdfast.runtime.stage import is_under_way
from holdfast.runtime.transport.addresses import parse
from holdfast.worker.settings import Settings

SIGNALLED = 128
DEFECT = 3


def run(arguments: argparse.Namespace, given: Application | None) -> int:
    """Run an application to its end."""
    check_later(arguments)
    app = loading.load(arguments.app) if given is None else given
    app.check()
    if arguments.workers > 1 or is_cluster(arguments.data or Path("holdfast-data") / app.name):
        from holdfast.cli import cluster  # as much again as one worker needs, and loading it is most of a start

        return cluster.run(arguments, app)
    data: Path = arguments.data or Path("holdfast-data") / app.name
    scratch: Path | None = arguments.capture
    if scratch is not None:
        capture(app, scratch / "engine")
    notes = start_anew(data, app) if arguments.fresh else []
    notes += [
        f"note: source {step.name!r} takes what an hf.Engine sends; nothing comes to it here"
        for step in app.sources
        if isinstance(step.source, Send)
    ]
    rehearsed = rehearsal()
    live = any(is_live(step.source) for step in app.sources)
    options = Options(
        data,
        accept_code=arguments.accept_code,
        keep_log=scratch is not None and (live or any(step.intake is not None for step in app.sources)),
        settings=rehearsed.settings(Settings(entities_in_memory=app.entities_in_memory)),
        probe=rehearsed.probe,
        on_ready=gc.freeze if arguments.owns_process else lambda: None,
    )
    task = MainTask(app, options, arguments.seconds if live else None)
    arguments.reports.introduce(app.name)
    if arguments.metrics is not None:
        notes.append(serve(parse(arguments.metrics), task.engine.status))
    screen = Screen(app, data, task.engine, notes, arguments.reports)
    Heard.by(screen.report)
    task.run(screen.stopping, screen.progress if screen.tells else None)
    screen.summary()
    error = task.engine.outcome.error
    if scratch is not None:
        leave_outcome(scratch, error)
    if error is not None:
        raise error
    if task.signal is not None and not task.engine.outcome.ended:
        return SIGNALLED + task.signal
    return 0


def is_cluster(data: Path) -> bool:
    """Whether a cluster has written there: then it is one again, whatever its number of workers."""
    return (data / "coordinator").is_dir() or is_under_way(data)


def leave_outcome(scratch: Path, error: Exception | None) -> None:
    """Tell the parent, which compares outputs, how this run ended."""
    name, text = ("", "") if error is None else (type(error).__name__, str(error))
    code = getattr(error, "exit_code", DEFECT) if error is not None else 0
    RunOutcome(name, text, code).write(scratch / "outcome.json")
