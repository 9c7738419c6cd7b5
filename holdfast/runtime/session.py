"""Session: what the callers of one engine share, from its start to its end: its thread, its desk, and what calls mean.

Invariant: a call gets a value, or one of the errors of docs/embedding.md; nothing that a caller does wrong reaches the
engine thread. How callers wait is their front's business.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.connectors.calls import Calls
from holdfast.connectors.send import Send, checked_id
from holdfast.core.application import Application
from holdfast.core.errors import AnswerForgottenError, EngineStoppedError, UsageError, ValueTypeError
from holdfast.core.replies import images_of
from holdfast.core.senders import FORGOTTEN
from holdfast.runtime.desk import Desk
from holdfast.runtime.engine_thread import EngineThread, Options
from holdfast.runtime.lane import Lane
from holdfast.runtime.mailbox import Front, Letter
from holdfast.runtime.rehearsal import rehearsal
from holdfast.worker.settings import Settings

Identity = tuple[str, int]


class Moment:
    """Something that happens once, for which callers wait; with the exception that came instead, or None."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Letter] = []
        self._outcome: list[Exception | None] = []

    def put(self, letter: Letter) -> None:
        """Wake this caller when it happens, at once if it has."""
        with self._lock:
            if not self._outcome:
                self._waiting.append(letter)
                return
        letter.front.wake([(letter, self._outcome[0])])

    def happen(self, failure: Exception | None) -> None:
        """It happens; only the first time counts."""
        with self._lock:
            if self._outcome:
                return
            self._outcome.append(failure)
        for letter in self._waiting:
            letter.front.wake([(letter, failure)])


class Session:
    """One engine's thread with what its callers share."""

    def __init__(self, app: Application, data: Path, accept_code: bool) -> None:
        self.ready = Moment()
        self.ended = Moment()
        self._sources: dict[str, Send[Any]] = {
            step.name: step.source for step in app.sources if isinstance(step.source, Send)
        }
        self.desk = Desk(list(self._sources))
        for step in app.sources:
            if step.name in self._sources and step.intake is not None:
                calls = Calls(step.intake, step.intake_concurrency, f"holdfast-intake-{step.name}")
                self.desk.lanes[step.name] = Lane(self.desk.mailboxes[step.name], calls)
        rehearsed = rehearsal()
        options = Options(
            data,
            accept_code,
            settings=rehearsed.settings(Settings(entities_in_memory=app.entities_in_memory)),
            probe=rehearsed.probe,
            on_ready=lambda: self.ready.happen(None),
            desk=self.desk,
        )
        self.thread = EngineThread(app, options, self._on_end)
        self.puts = {source: self._put_of(source) for source in self._sources}  # where letters to a source are put
        self._begun = False

    def begin(self) -> None:
        """Start the engine thread."""
        if sys.flags.optimize:
            raise UsageError("python -O leaves out the assertions that guard the data; run without -O")
        if self._begun:
            raise UsageError("an engine is entered once; make another hf.Engine for another time")
        self._begun = True
        self.thread.start()

    def close(self) -> None:
        """Take nothing more, work off what was taken, end."""
        self.desk.close(self._stopped)

    def leave(self, error: BaseException | None) -> None:
        """The engine has ended; what stopped it is raised, unless something else is on its way."""
        self.thread.thread.join()
        reason = self.thread.outcome.error
        if reason is not None and (error is None or isinstance(error, EngineStoppedError)):
            raise reason

    def _on_end(self) -> None:
        self.desk.fail(self._stopped)
        error = self.thread.outcome.error
        self.ready.happen(error)
        self.ended.happen(error)

    def _stopped(self) -> EngineStoppedError:
        reason = self.thread.outcome.error
        if reason is None:
            return EngineStoppedError("the engine was closed")
        stopped = EngineStoppedError(f"the engine has stopped: {reason}")
        stopped.__cause__ = reason
        return stopped

    def _put_of(self, source: str) -> Callable[[Letter], None]:
        lane = self.desk.lanes.get(source)
        if lane is None:
            return self.desk.mailboxes[source].put

        def through_function(letter: Letter) -> None:
            message, identity = letter.payload
            lane.put(letter, message, lambda result: record_of(self._sources[source], source, result, identity))

        return through_function

    # --- calls

    def question(self, step: str, key: object, front: Front) -> Letter:
        """A question ready to be put."""
        self.check_begun()
        return Letter((step, key), front, asks=True)

    def refuse_own_thread(self) -> None:
        """A step that waited for its own engine would wait for ever."""
        if threading.get_ident() == self.thread.thread.ident:
            raise UsageError("a step can't call its own engine, which waits for it; let it use its message alone")

    def check_begun(self) -> None:
        """Nobody would ever answer."""
        if not self._begun:
            raise UsageError("the engine is not running yet: enter it with `async with` or `with`, or open() it")

    def letter(self, source: str, message: object, identity: object, front: Front, *, asks: bool) -> Letter:
        """A message ready to be put."""
        sender = self._sources.get(source)
        if sender is None or not self._begun:
            self.check_begun()
            known = ", ".join(map(repr, self._sources)) or "none"
            raise UsageError(f"there is no source {source!r} of hf.sources.Send to send to; there are: {known}")
        own = None if identity is None else checked_id(identity)
        if source in self.desk.lanes:
            return Letter((message, own), front, asks=asks)
        return Letter(record_of(sender, source, message, own), front, asks=asks)

    def check(self, outcome: Any) -> None:
        """Raise what the caller is to be told."""
        if isinstance(outcome, Exception):
            raise outcome

    def answer(self, outcome: Any) -> list[Any]:
        """The messages of an answer, fresh."""
        if type(outcome) is bytes:
            return [self.thread.codec.decode(outcome)]
        if outcome is FORGOTTEN:
            raise AnswerForgottenError(
                "this message was processed before, but its answer is not remembered any more "
                "(sources.Send(remembered=…) says how many are)"
            )
        self.check(outcome)
        return list(map(self.thread.codec.decode, images_of(outcome)))

    def state(self, outcome: Any) -> Any:
        """A state, fresh, or None."""
        self.check(outcome)
        return None if outcome is None else self.thread.codec.decode(outcome)


def record_of(sender: Send[Any], source: str, message: object, identity: Identity | None) -> bytes:
    """The record of a message; ValueTypeError for what is not a value."""
    try:
        return sender.record(message, identity)
    except ValueTypeError as error:
        complaint = sender.complaint(message, error)
        raise ValueTypeError(f"the message to {source!r} can't be sent: {complaint}") from None
