"""Session: the callers of an engine that works on a thread of this process: that thread, and the desk before it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from holdfast.core.application import Application
from holdfast.core.errors import EngineStoppedError, UsageError
from holdfast.runtime.callers import Callers
from holdfast.runtime.desk import Desk
from holdfast.runtime.engine_thread import EngineThread, Options
from holdfast.runtime.mailbox import Letter
from holdfast.runtime.rehearsal import rehearsal
from holdfast.worker.settings import Settings

# Of a checkpoint at a time: while they are encoded, some milliseconds at most, callers wait.
ROWS_PER_SLICE: Final = 1000


class Session(Callers):
    """One engine's thread with what its callers share."""

    def __init__(self, app: Application, data: Path, accept_code: bool) -> None:
        super().__init__(app)
        self.desk = Desk(list(self.sources))
        self.lead_to(self.desk.mailboxes)
        self.desk.lanes = self.lanes
        rehearsed = rehearsal()
        settings = Settings(entities_in_memory=app.entities_in_memory)
        if len(self.sources) == len(app.sources):
            # The interpreter is shared with the callers: a commit beside the work would wait for it again and again,
            # and so would they. One after the other is less to do, and takes whoever has asked meanwhile at once.
            settings = replace(settings, epochs_in_flight=1, rows_per_slice=ROWS_PER_SLICE)
        options = Options(
            data,
            accept_code,
            settings=rehearsed.settings(settings),
            probe=rehearsed.probe,
            on_ready=lambda: self.ready.happen(None),
            desk=self.desk,
        )
        self.thread = EngineThread(app, options, self._on_end)

    def begin(self) -> None:
        """Start the engine thread."""
        self.note_begun()
        self.thread.start()

    def close(self) -> None:
        """Take nothing more, work off what was taken, end."""
        self.desk.close(self._stopped)

    def join(self) -> None:
        """Wait, in this thread, until it has ended."""
        self.thread.thread.join()

    def leave(self, error: BaseException | None) -> None:
        """The engine has ended; what stopped it is raised, unless something else is on its way."""
        self.join()
        raise_reason(self.thread.outcome.error, error)

    def put_question(self, letter: Letter) -> None:
        """Ask; its payload is (step, key)."""
        self.desk.ask(letter)

    def refuse_own_thread(self) -> None:
        """A step that waited for its own engine would wait for ever."""
        if threading.get_ident() == self.thread.thread.ident:
            raise UsageError("a step can't call its own engine, which waits for it; let it use its message alone")

    def decode(self, image: bytes) -> Any:
        """A value of the application's."""
        return self.thread.codec.decode(image)

    def _on_end(self) -> None:
        self.desk.fail(self._stopped)
        error = self.thread.outcome.error
        self.ready.happen(error)
        self.ended.happen(error)

    def _stopped(self) -> EngineStoppedError:
        return stopped_by(self.thread.outcome.error)


def stopped_by(reason: Exception | None) -> EngineStoppedError:
    """What callers are told of an engine that has ended."""
    if reason is None:
        return EngineStoppedError("the engine was closed")
    stopped = EngineStoppedError(f"the engine has stopped: {reason}")
    stopped.__cause__ = reason
    return stopped


def raise_reason(reason: Exception | None, error: BaseException | None) -> None:
    """At the end of a block that `error` leaves: what the engine has stopped of, unless that is another story."""
    if reason is not None and (error is None or isinstance(error, EngineStoppedError)):
        raise reason
