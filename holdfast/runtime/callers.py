"""Callers: what the callers of one engine share, wherever its work is done: how a call becomes a letter, and a result.

Invariant: a call gets a value, or one of the errors of docs/embedding.md; nothing that a caller does wrong reaches the
engine. How callers wait is their front's business; where letters go is the session's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from holdfast.connectors.calls import Calls
from holdfast.connectors.send import Send, checked_id
from holdfast.core.application import Application
from holdfast.core.errors import AnswerForgottenError, UsageError, ValueTypeError
from holdfast.core.replies import answered_sources, images_of
from holdfast.core.senders import FORGOTTEN
from holdfast.core.steps import Kind
from holdfast.runtime.lane import Box, Lane
from holdfast.runtime.mailbox import Front, Letter
from holdfast.runtime.whereabouts import refuse_inside

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


class Callers:
    """What a session is for its callers."""

    def __init__(self, app: Application) -> None:
        self.ready = Moment()
        self.ended = Moment()
        self.sources: dict[str, Send[Any]] = {
            step.name: step.source for step in app.sources if isinstance(step.source, Send)
        }
        self._app = app
        self.answerable = answered_sources(app.steps) & self.sources.keys()  # those that it makes sense to ask
        self._functions = {
            step.name: (step.intake, step.intake_concurrency)
            for step in app.sources
            if step.name in self.sources and step.intake is not None
        }
        self.lanes: dict[str, Lane] = {}  # before the boxes of sources with an intake function
        self.puts: dict[str, Callable[[Letter], None]] = {}  # where letters to a source are put
        self.begun = False

    def lead_to(self, boxes: Mapping[str, Box]) -> None:
        """Letters to each source go into this box; through its intake function before, where it has one."""
        for source, box in boxes.items():
            self.puts[source] = box.put
            if source in self._functions:
                function, concurrency = self._functions[source]
                lane = Lane(box, Calls(function, concurrency, f"holdfast-intake-{source}"))
                self.lanes[source] = lane
                self.puts[source] = self._through(lane, source)

    def _through(self, lane: Lane, source: str) -> Callable[[Letter], None]:
        def put(letter: Letter) -> None:
            message, identity = letter.payload
            lane.put(letter, message, lambda result: self.record_of(source, result, identity))

        return put

    def note_begun(self) -> None:
        """It begins; UsageError where it can't."""
        if sys.flags.optimize:
            raise UsageError("python -O leaves out the assertions that guard the data; run without -O")
        if self.begun:
            raise UsageError("an engine is entered once; make another hf.Engine for another time")
        refuse_inside()
        self.begun = True

    # --- what a session adds

    def begin(self) -> None:
        """Start."""
        raise NotImplementedError

    def close(self) -> None:
        """Take nothing more, work off what was taken, end."""
        raise NotImplementedError

    def join(self) -> None:
        """Wait, in this thread, until it has ended."""
        raise NotImplementedError

    def leave(self, error: BaseException | None) -> None:
        """It has ended; what stopped it is raised, unless something else is on its way."""
        raise NotImplementedError

    def put_question(self, letter: Letter) -> None:
        """Ask; its payload is (step, key)."""
        raise NotImplementedError

    def refuse_own_thread(self) -> None:
        """A step that waited for its own engine would wait for ever."""

    def record_of(self, source: str, message: object, identity: Identity | None) -> bytes:
        """The record of a message; ValueTypeError for what is not a value."""
        sender = self.sources[source]
        try:
            return sender.record(message, identity)
        except ValueTypeError as error:
            complaint = sender.complaint(message, error)
            raise ValueTypeError(f"the message to {source!r} can't be sent: {complaint}") from None

    def decode(self, image: bytes) -> Any:
        """A value of the application's."""
        raise NotImplementedError

    # --- calls

    def question(self, step: str, key: object, front: Front) -> Letter:
        """A question ready to be put."""
        self.check_begun()
        return Letter((step, key), front, asks=True)

    def check_begun(self) -> None:
        """Nobody would ever answer."""
        if not self.begun:
            raise UsageError("the engine is not running yet: enter it with `async with` or `with`, or open() it")

    def letter(self, source: str, message: object, identity: object, front: Front, *, asks: bool) -> Letter:
        """A message ready to be put."""
        if source not in (self.answerable if asks else self.sources) or not self.begun:
            self._refuse_letter(source)
        own = None if identity is None else checked_id(identity)
        if source in self.lanes:
            return Letter((message, own), front, asks=asks)
        return Letter(self.record_of(source, message, own), front, asks=asks)

    def _refuse_letter(self, source: str) -> NoReturn:
        self.check_begun()
        if source not in self.sources:
            known = ", ".join(map(repr, self.sources)) or "none"
            raise UsageError(f"there is no source {source!r} of hf.sources.Send to send to; there are: {known}")
        if any(step.kind is Kind.REPLY for step in self._app.steps):
            why = f"no .reply() step of application {self._app.name!r} gets messages of source {source!r}"
        else:
            why = f"application {self._app.name!r} has no .reply() step"
        raise UsageError(f"nothing would answer: {why}; add one behind what is to be the answer, or use send()")

    def check(self, outcome: Any) -> None:
        """Raise what the caller is to be told."""
        if isinstance(outcome, Exception):
            raise outcome

    def answer(self, outcome: Any) -> list[Any]:
        """The messages of an answer, fresh."""
        if type(outcome) is bytes:
            return [self.decode(outcome)]
        if outcome is FORGOTTEN:
            raise AnswerForgottenError(
                "this message was processed before, but its answer is not remembered any more "
                "(sources.Send(remembered=…) says how many are)"
            )
        self.check(outcome)
        return list(map(self.decode, images_of(outcome)))

    def state(self, outcome: Any) -> Any:
        """A state, fresh, or None."""
        self.check(outcome)
        return None if outcome is None else self.decode(outcome)
