"""Running an application on the engine thread, over a real data directory, in the test's own process."""

from __future__ import annotations

from pathlib import Path

from holdfast.core.application import Application
from holdfast.runtime.engine_thread import EngineThread, Options, Outcome

END_SECONDS_MAX = 60.0


def started(app: Application, options: Options) -> EngineThread:
    engine = EngineThread(app, options, lambda: None)
    engine.start()
    return engine


def ended(engine: EngineThread) -> Outcome:
    engine.thread.join(END_SECONDS_MAX)
    assert not engine.thread.is_alive(), "the run did not end"
    return engine.outcome


def run(app: Application, data: Path, options: Options | None = None) -> Outcome:
    """Run to the end."""
    return ended(started(app, options if options is not None else Options(data)))


def outputs(app: Application) -> dict[str, list[object]]:
    """What the application's memory sinks hold."""
    return {step.name: step.sink.outputs for step in app.sinks}
