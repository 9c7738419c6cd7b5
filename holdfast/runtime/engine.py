"""Engine: an application inside somebody else's process, entered like any context manager.

    async with hf.Engine(app, data="data") as engine:   # asyncio or trio; plain `with` in a thread
        replies = await engine.ask("orders", order, id=("till-7", 41))

The work is done on the engine thread, as under `holdfast run`; here is only how callers hand things to it (desk.py,
mailbox.py) and wait (fronts.py). Invariants: nothing global is changed, so any number of engines run in a process; when
the block is left, what was taken is worked off and a checkpoint is made; a call that raised may be made again with the
same id, whatever happened to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from holdfast.connectors.calls import Calls
from holdfast.connectors.send import Send, checked_id
from holdfast.core.application import Application
from holdfast.core.errors import AnswerForgottenError, EngineStoppedError, UsageError, ValueTypeError
from holdfast.core.replies import images_of
from holdfast.core.senders import FORGOTTEN
from holdfast.runtime.desk import Desk
from holdfast.runtime.engine_thread import EngineThread, Options
from holdfast.runtime.fronts import AsyncFront, ThreadFront, front_here
from holdfast.runtime.lane import Lane
from holdfast.runtime.mailbox import Front, Letter
from holdfast.runtime.rehearsal import rehearsal
from holdfast.worker.settings import Settings

Identity = tuple[str, int]


class Engine:
    """Runs an application in this process, for the callers in it.

    `data` is the data directory, `./holdfast-data/<application>` if not given. `accept_code` is for a start with
    changed code after a crash, as `holdfast run --accept-code`. This release has one worker.
    """

    def __init__(
        self,
        app: Application,
        *,
        data: str | Path | None = None,
        accept_code: bool = False,
        workers: int = 1,
        coordinator: str | None = None,
    ) -> None:
        if not isinstance(app, Application):
            raise UsageError(f"hf.Engine takes an hf.Application, not {type(app).__name__}")
        if workers != 1 or coordinator is not None:
            raise UsageError("this release runs one worker in this process: leave workers= and coordinator= out")
        app.check()
        self._run = _Run(app, Path("holdfast-data") / app.name if data is None else Path(data), accept_code)
        self._view: AsyncEngine | None = None

    # --- coroutines

    async def __aenter__(self) -> AsyncEngine:
        front = front_here()
        self._run.begin()
        failure = await self._when(front, self._run.ready)
        if failure is not None:
            raise failure
        self._view = AsyncEngine(self._run, front)
        return self._view

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._view is not None
        self._run.close()
        await self._when(self._view.front, self._run.ended)
        self._run.leave(error)

    async def _when(self, front: AsyncFront, moment: _Moment) -> Exception | None:
        try:
            failure: Exception | None = await front.wait_shielded(Letter(None, front, asks=False), moment.put)
        except BaseException:
            self._run.close()
            raise
        return failure

    def send(self, source: str, message: object, *, id: Identity | None = None) -> Any:
        """As `AsyncEngine.send`, or `BlockingEngine.send` where the engine was entered with a plain `with`."""
        return self._entered.send(source, message, id=id)

    def ask(self, source: str, message: object, *, id: Identity | None = None) -> Any:
        """As `AsyncEngine.ask`, or `BlockingEngine.ask` where the engine was entered with a plain `with`."""
        return self._entered.ask(source, message, id=id)

    def query(self, step: str, key: object) -> Any:
        """As `AsyncEngine.query`, or `BlockingEngine.query` where the engine was entered with a plain `with`."""
        return self._entered.query(step, key)

    @property
    def _entered(self) -> AsyncEngine | BlockingEngine:
        return self.blocking if self._view is None else self._view

    # --- threads

    @property
    def blocking(self) -> BlockingEngine:
        """The same engine for other threads, whose calls block."""
        return BlockingEngine(self._run)

    def __enter__(self) -> BlockingEngine:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run.close()
        self._run.thread.thread.join()
        self._run.leave(error)

    def open(self) -> BlockingEngine:
        """Begin, for those who can't use `with`, as in a notebook; end with `close`."""
        self._run.begin()
        front = ThreadFront()
        try:
            failure = front.wait(Letter(None, front, asks=False), self._run.ready.put)
        except BaseException:
            self._run.close()
            raise
        if failure is not None:
            raise failure
        return self.blocking

    def close(self) -> None:
        """What leaving the block does: work off what was taken, make a checkpoint, end."""
        self.__exit__(None, None, None)


class AsyncEngine:
    """An engine as coroutines see it."""

    def __init__(self, run: _Run, front: AsyncFront) -> None:
        self.front = front
        self._run = run
        self._wait = front.wait

    @property
    def blocking(self) -> BlockingEngine:
        """The same engine for other threads, whose calls block."""
        return BlockingEngine(self._run)

    async def send(self, source: str, message: object, *, id: Identity | None = None) -> None:
        """Return when the message is durable. A message with the `id` of an earlier one has no effect."""
        run = self._run
        self._run.check(await self._wait(run.letter(source, message, id, self.front, asks=False), run.put(source)))

    async def ask(self, source: str, message: object, *, id: Identity | None = None) -> list[Any]:
        """Return what the message sent through `.reply()` steps, in order, once it is durable.

        A message with the `id` of an earlier one has no effect and gets the same answer.
        """
        run = self._run
        return run.answer(await self._wait(run.letter(source, message, id, self.front, asks=True), run.put(source)))

    async def query(self, step: str, key: object) -> Any:
        """Return the state of a key in a stateful step, or None. It has seen all that was durable before the call."""
        run = self._run
        return run.state(await self._wait(run.question(step, key, self.front), run.desk.ask))


class BlockingEngine:
    """An engine as threads see it; any number of them may call at once."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._front = ThreadFront()

    def send(self, source: str, message: object, *, id: Identity | None = None) -> None:
        """Return when the message is durable. A message with the `id` of an earlier one has no effect."""
        run = self._run
        run.check(self._front.wait(run.letter(source, message, id, self._front, asks=False), run.put(source)))

    def ask(self, source: str, message: object, *, id: Identity | None = None) -> list[Any]:
        """Return what the message sent through `.reply()` steps, in order, once it is durable.

        A message with the `id` of an earlier one has no effect and gets the same answer.
        """
        run = self._run
        return run.answer(self._front.wait(run.letter(source, message, id, self._front, asks=True), run.put(source)))

    def query(self, step: str, key: object) -> Any:
        """Return the state of a key in a stateful step, or None. It has seen all that was durable before the call."""
        run = self._run
        return run.state(self._front.wait(run.question(step, key, self._front), run.desk.ask))


class _Moment:
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


class _Run:
    """One engine's thread with what its callers share."""

    def __init__(self, app: Application, data: Path, accept_code: bool) -> None:
        self.ready = _Moment()
        self.ended = _Moment()
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
        self._begun = False

    def begin(self) -> None:
        """Start the engine thread."""
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

    # --- calls

    def question(self, step: str, key: object, front: Front) -> Letter:
        """A question ready to be put."""
        self.check_begun()
        return Letter((step, key), front, asks=True)

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

    def put(self, source: str) -> Callable[[Letter], None]:
        """Where letters to this source are put."""
        lane = self.desk.lanes.get(source)
        if lane is None:
            return self.desk.mailboxes[source].put

        def through_function(letter: Letter) -> None:
            message, identity = letter.payload
            lane.put(letter, message, lambda result: record_of(self._sources[source], source, result, identity))

        return through_function

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
