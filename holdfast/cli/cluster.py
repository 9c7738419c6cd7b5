"""`holdfast run --workers N`, `coordinator` and `worker`: from the arguments to a cluster's processes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.cli import interpreter, loading
from holdfast.cli.cluster_screen import ClusterScreen
from holdfast.cli.reports import Reports
from holdfast.cli.scratch import RunOutcome
from holdfast.core.application import Application
from holdfast.core.connector import is_live
from holdfast.core.errors import NonDeterminismError, ProcessingError, StoppedError
from holdfast.runtime.capture import capture
from holdfast.runtime.cluster_setup import refuse_unfit
from holdfast.runtime.coordinator_process import CoordinatorOptions, CoordinatorProcess
from holdfast.runtime.fresh import start_anew
from holdfast.runtime.leash import follow_leash
from holdfast.runtime.notice import LINKS, LINKS_OF_START, Notice
from holdfast.runtime.rehearsal import limits, rehearsal
from holdfast.runtime.supervisor import ADDRESS, Supervisor, SupervisorOptions
from holdfast.runtime.transport import secret
from holdfast.runtime.transport.addresses import Address, parse
from holdfast.runtime.worker_process import WorkerOptions, WorkerProcess
from holdfast.storage.files import write_whole
from holdfast.worker.settings import Settings

# Seconds until a coordinator says what it waits for. A supervisor tells of deaths and of what is waited for then: only
# what lasts is worth a line beside that.
PATIENCE = 2.0
SUPERVISED_PATIENCE = 10.0
# Of a slice: what it gives is gone over a dozen times until it is dealt out and packed, and must stay in the cache.
SLICE_RECORDS = 128


def run(arguments: argparse.Namespace, app: Application) -> int:
    """A whole cluster on this machine."""
    refuse_unfit(app)
    data: Path = arguments.data or Path("holdfast-data") / app.name
    reports: Reports = arguments.reports
    reports.introduce(app.name, "supervisor")
    for note in start_anew(data, app) if arguments.fresh else []:
        reports(note)
    screen = ClusterScreen(app.name, data, reports)
    options = SupervisorOptions(
        data,
        arguments.program,
        () if getattr(arguments, "app", None) is None else (arguments.app,),
        arguments.workers,
        arguments.backups,
        application=app.name,
        accept_code=arguments.accept_code,
        debug=arguments.debug,
        log=arguments.log,
        capture=arguments.capture,
        seconds=arguments.seconds if any(is_live(step.source) for step in app.sources) else None,
        secrets=secret.load(None, os.environ),
        metrics=arguments.metrics,
        report=screen.report,
        on_status=screen.progress if screen.tells else None,
    )
    supervisor = Supervisor(options)
    code = supervisor.run()
    screen.summary(code)
    if arguments.capture is not None and not (arguments.capture / "outcome.json").exists():
        error = ProcessingError.__name__ if code else ""
        RunOutcome(error, "the cluster stopped" if code else "", code).write(arguments.capture / "outcome.json")
    if supervisor.given_up:
        raise ProcessingError(supervisor.given_up)
    if code == 0 and supervisor.signal is not None:
        return 128 + supervisor.signal
    return code


def coordinator(arguments: argparse.Namespace, given: Application | None) -> int:
    """Be the coordinator of a cluster."""
    app = _load(arguments, given, "coordinator")
    data: Path = arguments.data or Path("holdfast-data") / app.name
    say = _say_of(arguments)

    def on_listening(address: Address) -> None:
        data.mkdir(parents=True, exist_ok=True)
        write_whole(data / ADDRESS, str(address).encode())
        say(Notice(f"listening on {address}", "listening", address=str(address)))

    options = CoordinatorOptions(
        data,
        parse(arguments.listen),
        arguments.workers,
        arguments.backups,
        secrets=secret.load(arguments.secret_file, os.environ),
        accept_code=arguments.accept_code,
        limits=limits(),
        metrics=parse(arguments.metrics) if arguments.metrics is not None else None,
        patience=SUPERVISED_PATIENCE if arguments.leashed else PATIENCE,
        hears_signals=not arguments.leashed,
        report=say,
        on_listening=on_listening,
    )
    with _outcome(arguments, ProcessingError, name=StoppedError.__name__):
        process = CoordinatorProcess(app, options)
        process.run()
    return 0 if process.signal is None else 128 + process.signal


def worker(arguments: argparse.Namespace, given: Application | None) -> int:
    """Be a worker of a cluster."""
    app = _load(arguments, given, "worker" if arguments.data is None else arguments.data.absolute().name)
    joined = parse(arguments.join)
    rehearsed = rehearsal()
    options = WorkerOptions(
        arguments.data or Path("holdfast-data") / f"{app.name}-worker",
        joined,
        parse(arguments.listen) if arguments.listen is not None else Address("127.0.0.1", 0),
        secrets=secret.load(arguments.secret_file, os.environ),
        report=_say_of(arguments),
        settings=rehearsed.settings(Settings(slice_records=SLICE_RECORDS)),
        probe=rehearsed.probe,
        keep_log=arguments.capture is not None and is_compared_by_log(app),
        limits=limits(),
    )
    process = WorkerProcess(app, options)
    if not arguments.leashed:
        interpreter.end_when_told_to()  # as a crash: the others go on
    with _outcome(arguments, NonDeterminismError, name=NonDeterminismError.__name__):
        process.run()
    if process.restart:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return 0


def is_compared_by_log(app: Application) -> bool:
    """Whether what a run was given stands nowhere but in its log."""
    return any(is_live(step.source) or step.intake is not None for step in app.sources)


@contextmanager
def _outcome(arguments: argparse.Namespace, kind: type[ProcessingError], *, name: str) -> Iterator[None]:
    """In a captured run, leave word of what ended it: a function that failed, or one that is not deterministic."""
    try:
        yield
    except kind as error:
        if arguments.capture is not None:
            RunOutcome(name, str(error), error.exit_code).write(arguments.capture / "outcome.json")
        raise


def _say_of(arguments: argparse.Namespace) -> Callable[[str], None]:
    """How a process says what happens. Of links that come and go a supervisor tells, once for all its processes."""
    reports: Reports = arguments.reports
    if not arguments.leashed or arguments.debug or reports.form != "people":
        return reports

    def say(line: str) -> None:
        if not isinstance(line, Notice) or line.event not in LINKS | LINKS_OF_START:
            reports(line)

    return say


def _load(arguments: argparse.Namespace, given: Application | None, member: str) -> Application:
    """The application, in a process that may be a supervisor's."""
    if arguments.leashed:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        follow_leash()
    app = loading.load(arguments.app) if given is None else given
    app.check()
    arguments.reports.introduce(app.name, member)
    if arguments.capture is not None:
        capture(app, arguments.capture / "engine")
    return app
