"""The engine thread: opens a data directory, lets an application in, and lives one life after the other until the end.

Invariant: after an error of a store nothing touches a store again; what a failed commit has written is unknown, and
only a new process finds out. After any other error everything is closed in order.
Signals, progress and processes are the main task's business.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from holdfast.connectors.contract import as_sink, as_source
from holdfast.connectors.intake import with_intake
from holdfast.connectors.interface import OpenSink
from holdfast.connectors.send import Send
from holdfast.core.application import Application
from holdfast.core.connector import never_ends, remembered_by
from holdfast.core.errors import (
    ApplicationError,
    DiskFullError,
    NonDeterminismError,
    ProcessingError,
    StoppedError,
    StorageError,
    UsageError,
)
from holdfast.core.plan import Plan
from holdfast.core.steps import Step
from holdfast.core.types import TypeRegistry, collect
from holdfast.core.values import codec_of
from holdfast.recovery.generation import successor
from holdfast.runtime.clock import now
from holdfast.runtime.desk import Desk
from holdfast.runtime.fingerprint import functions_of
from holdfast.runtime.ledger import STARTED_FROM, Ledger, enter, refuse_missing_folders, refuse_outputs
from holdfast.runtime.life import Life
from holdfast.runtime.nondeterminism import BYTES_MAX, explained
from holdfast.runtime.one_worker_answers import OneWorkerAnswers
from holdfast.runtime.one_worker_status import NOTHING, status_of, told_of
from holdfast.runtime.points import FINISHING, STARTING, Probe
from holdfast.runtime.skips import Skips
from holdfast.runtime.state_writer import HINTS
from holdfast.runtime.window import answering
from holdfast.storage.directory import DataDirectory
from holdfast.storage.state import State
from holdfast.worker import effects
from holdfast.worker.checkpoint import Record
from holdfast.worker.events import StopAsked
from holdfast.worker.machine import Settings, Worker


@dataclass(frozen=True, slots=True)
class Options:
    """How to run an application."""

    data: Path
    accept_code: bool = False
    keep_log: bool = False  # never trim: the log then holds all input for a comparison afterwards
    settings: Settings = field(default_factory=Settings)
    probe: Probe = field(default_factory=Probe)
    on_ready: Callable[[], None] = lambda: None  # what was stored is in memory again, new input is read from now on
    desk: Desk = field(default_factory=lambda: Desk([]))  # where callers in this process meet the engine


@dataclass(slots=True)
class Outcome:
    """How a run ended, for those who report it."""

    error: Exception | None = None
    ended: bool = False  # all inputs are worked off
    finished_before: bool = False  # there was nothing to do
    lives: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


class EngineThread:
    """Runs an application; made and started by the main thread, which may look at `statistics` at any time."""

    def __init__(self, app: Application, options: Options, on_end: Callable[[], None]) -> None:
        self.outcome = Outcome()
        self._app = app
        self._options = options
        self._on_end = on_end
        self._skips = Skips()
        self.codec = codec_of(TypeRegistry())  # of the application's values, once it has been let in
        self._stopping = False
        self._life: Life | None = None
        self._lock = threading.Lock()  # for `_stopping` and `_life`, between a stop and a new life
        self.thread = threading.Thread(target=self._run, name="holdfast-engine", daemon=True)

    @property
    def worker(self) -> Worker | None:
        """The machine that is alive now, to look at its statistics; None before the first."""
        life = self._life
        return None if life is None else life.worker

    def status(self) -> dict[str, Any]:
        """How it is doing, for metrics. Any thread may call it."""
        life = self._life
        return NOTHING if life is None else status_of(life.worker, life.latencies, self._options.data)

    def _told(self) -> dict[str, Any]:
        """How it is doing, for people who ask (`holdfast status`)."""
        return told_of(self.worker, self._app.name, self._options.data)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def ask_stop(self) -> None:
        """End cleanly: what was read is worked off and a checkpoint is made. Any thread may call it."""
        with self._lock:
            self._stopping = True
            if self._life is not None:
                self._life.inbox.put(StopAsked(now()))

    def _run(self) -> None:
        started = time.monotonic()
        try:
            self._open_and_live()
        except Exception as error:  # noqa: BLE001 - the main thread reports it, whatever it is
            self.outcome.error = error
        except BaseException as error:  # noqa: BLE001 - a user's function must not end the process unheard
            self.outcome.error = ended_by(error)
        finally:
            self.outcome.seconds = time.monotonic() - started
            self._on_end()

    def _open_and_live(self) -> None:
        options = self._options
        options.probe.passed(STARTING)
        adapt(self._app)
        plan = Plan(self._app)
        known = known_types(plan)
        bind(plan, TypeRegistry(known))
        refuse_inside(options.data, plan.sinks)
        if not options.data.exists():
            refuse_outputs(plan.sources, plan.sinks)
            refuse_missing_folders(plan.sinks)
        directory = DataDirectory.open(options.data, create=True)
        try:
            options.probe.opened(directory.log)
            hints = cast("dict[str, str]", directory.state.get_meta(HINTS) or {})
            registry = TypeRegistry(known, hints)
            bind(plan, registry)
            self.codec = codec_of(registry)
            claim(plan, directory.state.identity().directory)
            answers = OneWorkerAnswers(self._told, lambda: self.worker, options.desk, self.codec)
            try:
                with answering(options.data, answers):
                    self._live(plan, registry, directory)
            except NonDeterminismError as error:
                raise explained(error, self._app, lambda: logged(plan, directory)) from error
        except (StorageError, DiskFullError):
            raise
        except BaseException:
            directory.close()
            raise
        directory.close()

    def _live(self, plan: Plan, registry: TypeRegistry, directory: DataDirectory) -> None:
        state, log, options = directory.state, directory.log, self._options
        packed = state.record()
        record = None if packed is None else Record.unpack(packed)
        entry = enter(
            self._app,
            state,
            sources=plan.sources,
            sinks=plan.sinks,
            stateful=plan.stateful,
            may_contradict=may_contradict(record, log.tail(), state.get_meta(STARTED_FROM)),
            accept_code=options.accept_code,
        )
        self.outcome.notes, plan.stored_names = entry.notes, entry.stored_names
        by_name = {step.name: step for step in plan.sources}
        partitions = [(by_name[source], partition) for source, partition in entry.partitions]
        settings = options.settings
        self._note_start(state, record)
        while True:
            settings = dataclasses.replace(settings, generation=form_generation(state))
            worker = Worker(plan, [(step.index, name) for step, name in partitions], settings, registry)
            life = Life(
                worker,
                log=log,
                state=state,
                sources=[(step.source, name) for step, name in partitions],
                sinks=open_sinks(plan),
                registry=registry,
                probe=options.probe,
                keep_log=options.keep_log,
                on_ready=options.on_ready,
                desk=options.desk,
                mailboxes={
                    number: options.desk.mailboxes[step.name]
                    for number, (step, _) in enumerate(partitions)
                    if step.name in options.desk.mailboxes
                },
                skips=self._skips,
            )
            end = self._one_life(life)
            if isinstance(end, effects.Finish):
                self.outcome.ended = end.ended
                self.outcome.finished_before = record is not None and record.ended and end.ended
                self.outcome.error = end.error or life.failure
                if isinstance(end.error, StoppedError):
                    life.check_inputs()
                return
            state.abandon()
            settings = dataclasses.replace(
                settings, careful=end.careful, stop_before=end.stop_before, stop_error=end.error
            )

    def _note_start(self, state: State, record: Record | None) -> None:
        """Before anything changes: from here on what lies behind the checkpoint may be delivered."""
        if record is None or (record.ended and not any(never_ends(step.source) for step in self._app.sources)):
            return
        if state.get_meta(STARTED_FROM) != record.checkpoint:
            state.put_meta(STARTED_FROM, record.checkpoint)

    def _one_life(self, life: Life) -> effects.Return | effects.Finish:
        with self._lock:
            self._life = life
            if self._stopping:
                life.inbox.put(StopAsked(now()))
        self.outcome.lives += 1
        try:
            end = life.run()
            if isinstance(end, effects.Finish) and end.error is None and end.ended:
                self._options.probe.passed(FINISHING)
                life.finish()
        except (StorageError, DiskFullError):
            raise
        except BaseException:
            life.close()
            raise
        life.close()
        life.raise_late()
        return end


def ended_by(error: BaseException) -> ProcessingError:
    """What a run ends with where a function would end the process, as sys.exit() does."""
    *_, last = traceback.extract_tb(error.__traceback__)
    place = f"{Path(last.filename).name}:{last.lineno}"
    what = f"{last.name} ({place}) raised {type(error).__name__}, which ends a process; raise an error instead"
    ended = ProcessingError(what)
    ended.__cause__ = error
    return ended


def refuse_inside(data: Path, sinks: Sequence[Step]) -> None:
    """Outputs don't belong into the data directory: it holds nothing that is not its own."""
    for step in sinks:
        for path in step.sink.paths():
            if Path(path).resolve().is_relative_to(data.resolve()):
                raise UsageError(f"sink {step.name!r} writes {path}, which lies inside the data directory {data}")


def logged(plan: Plan, directory: DataDirectory) -> Iterator[tuple[Step, str, bytes]]:
    """What the log holds of every partition, up to some size: what is replayed is the beginning of it."""
    ledger = Ledger.read(directory.state)
    assert ledger is not None, "something was delivered, by an application that is known"
    by_name = {step.name: step for step in plan.sources}
    partitions = [(by_name[source], name) for source, name in ledger.partitions]
    for epoch in directory.log.read(directory.log.base(), BYTES_MAX):
        for chunk in epoch.chunks:
            yield (*partitions[chunk.partition], chunk.raw)


def form_generation(state: State) -> int:
    """Record the generation of the life that begins, and return its number."""
    identity, packed = state.identity(), state.record()
    cut = 0 if packed is None else Record.unpack(packed).epoch
    generation = successor(identity.generation, members=(identity.incarnation,), cut=cut)
    state.put_metas(generation.records())
    return generation.number


def adapt(app: Application) -> None:
    """Let sources and sinks of the user's own speak the connectors' language; their objects stay as they are."""
    app.check()
    for step in app.sources:
        source = as_source(step.source)
        if step.intake is not None and hasattr(source, "put_through"):  # calls it itself, to answer who sent
            source.put_through(step.intake, step.intake_concurrency)
        elif step.intake is not None and remembered_by(source) is not None and not isinstance(source, Send):
            raise ApplicationError(f"{app.place(step.name)}: {type(source).__name__} takes no intake function")
        elif not isinstance(source, Send):  # what callers send goes through the function on its way (lane.py)
            stops = step.on_error == "stop"
            source = with_intake(source, step.name, step.intake, step.intake_concurrency, stops=stops)
        step.source = source
    for step in app.sinks:
        step.sink = as_sink(step.sink)


def known_types(plan: Plan) -> set[type]:
    """Return the classes that the application's functions and states name: those that images may be made of."""
    functions = [function for step in plan.steps for _, function in functions_of(step)]
    functions += [step.intake for step in plan.sources if step.intake is not None]
    return collect([f for f in functions if not isinstance(f, type)], [f for f in functions if isinstance(f, type)])


def bind(plan: Plan, registry: TypeRegistry) -> None:
    """Give the connectors the application's value types."""
    for step in plan.sources:
        step.source.bind(registry)
    for step in plan.sinks:
        step.sink.bind(registry)


def open_sinks(plan: Plan) -> list[OpenSink]:
    """Return what writes each partition of each sink, by number."""
    return [
        own.step.sink if own.partition is None else own.step.sink.part(own.partition) for own in plan.sink_partitions
    ]


def claim(plan: Plan, directory: str) -> None:
    """Tell the sinks that ask whose outputs they get: numbers of two data directories must not be mixed up."""
    for step in plan.sinks:
        if hasattr(step.sink, "claim"):
            step.sink.claim(f"{directory} {step.name}")


def may_contradict(record: Record | None, log_tail: int, started_from: object) -> bool:
    """Whether work lies behind the checkpoint whose outputs may have been delivered already.

    A clean stop leaves none: until the next start, which notes the checkpoint that it starts from.
    """
    if record is None:
        return log_tail > 0
    clean = record.clean and record.checkpoint != started_from
    return log_tail > record.epoch and not clean
