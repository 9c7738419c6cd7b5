"""Engine: an application inside somebody else's process, entered like any context manager.

    async with hf.Engine(app, data="data") as engine:   # asyncio or trio; plain `with` in a thread
        replies = await engine.ask("orders", order, id=("till-7", 41))

The work is done on the engine thread, as under `holdfast run`; here is how callers begin, end, and wait (fronts.py) for
what they share (session.py). Invariants: nothing global is changed, so any number of engines run in a process; when
the block is left, what was taken is worked off and a checkpoint is made; a call that raised may be made again with the
same id, whatever happened to it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from holdfast.core.application import Application
from holdfast.core.errors import UsageError
from holdfast.runtime.callers import Callers, Identity
from holdfast.runtime.fronts import AsyncFront, ThreadFront, front_here
from holdfast.runtime.mailbox import Letter
from holdfast.runtime.session import Session

TIMEOUT: Final = 60.0  # seconds


class Engine:
    """Runs an application in this process, for the callers in it.

    `data` is the data directory, `./holdfast-data/<application>` if not given. `accept_code` is for a start with
    changed code after a crash, as `holdfast run --accept-code`. With several `workers`, or with `backups`, the work is
    done by processes of their own, which import the application from where it is, or from `target`
    (`module:name` or `path/to/file.py:name`). With `coordinator` (`host:port`) the engine joins a cluster that runs;
    `secret` names the file with its secret. Calls in front of a cluster that answers nobody for `timeout` seconds
    raise `hf.UnreachableError`; None: they wait for as long as it takes.
    """

    def __init__(
        self,
        app: Application,
        *,
        data: str | Path | None = None,
        accept_code: bool = False,
        workers: int = 1,
        backups: int = 0,
        target: str | None = None,
        coordinator: str | None = None,
        secret: str | Path | None = None,
        timeout: float | None = TIMEOUT,
    ) -> None:
        if not isinstance(app, Application):
            raise UsageError(f"hf.Engine takes an hf.Application, not {type(app).__name__}")
        app.check()
        if timeout is not None and not (type(timeout) in (int, float) and timeout > 0):
            raise UsageError(f"timeout={timeout!r}: seconds, more than 0, or None")
        place = Path("holdfast-data") / app.name if data is None else Path(data)
        self._session: Callers
        if coordinator is not None:
            if data is not None or accept_code or (workers, backups, target) != (1, 0, None):
                raise UsageError("coordinator= joins a cluster, which has data, workers and code: leave the others out")
            self._session = clusters().joined(app, coordinator, secret, timeout)
        elif type(workers) is not int or type(backups) is not int or not 0 <= backups < workers:
            raise UsageError(f"workers={workers!r}, backups={backups!r}: one worker or more, and fewer backups")
        elif workers == 1:
            self._session = Session(app, place, accept_code)
        else:
            self._session = clusters().own(
                *(app, place, workers, backups), accept_code=accept_code, target=target, timeout=timeout
            )
        self._view: AsyncEngine | None = None

    # --- coroutines

    async def __aenter__(self) -> AsyncEngine:
        front = front_here()
        self._session.begin()
        try:
            failure = await front.wait(Letter(None, front, asks=False), self._session.ready.put)
        except BaseException:  # cancelled: what has begun ends by itself
            self._session.close()
            raise
        if failure is not None:
            raise failure
        self._view = AsyncEngine(self._session, front)
        return self._view

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._view is not None
        front = self._view.front
        self._session.close()
        await front.wait_shielded(Letter(None, front, asks=False), self._session.ended.put)
        self._session.leave(error)

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
        return BlockingEngine(self._session)

    def __enter__(self) -> BlockingEngine:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()
        self._session.join()
        self._session.leave(error)

    def open(self) -> BlockingEngine:
        """Begin, for those who can't use `with`, as in a notebook; end with `close`."""
        self._session.begin()
        front = ThreadFront()
        try:
            failure = front.wait(Letter(None, front, asks=False), self._session.ready.put)
        except BaseException:
            self._session.close()
            raise
        if failure is not None:
            raise failure
        return self.blocking

    def close(self) -> None:
        """What leaving the block does: work off what was taken, make a checkpoint, end."""
        self.__exit__(None, None, None)


class AsyncEngine:
    """An engine as coroutines see it."""

    def __init__(self, session: Callers, front: AsyncFront) -> None:
        self.front = front
        self._session = session
        self._wait = front.wait

    @property
    def blocking(self) -> BlockingEngine:
        """The same engine for other threads, whose calls block."""
        return BlockingEngine(self._session)

    async def send(self, source: str, message: object, *, id: Identity | None = None) -> None:
        """Return when the message is durable. A message with the `id` of an earlier one has no effect."""
        session = self._session
        letter = session.letter(source, message, id, self.front, asks=False)
        session.check(await self._wait(letter, session.puts[source]))

    async def ask(self, source: str, message: object, *, id: Identity | None = None) -> list[Any]:
        """Return what the message sent through `.reply()` steps, in order, once it is durable.

        A message with the `id` of an earlier one has no effect and gets the same answer.
        """
        session = self._session
        letter = session.letter(source, message, id, self.front, asks=True)
        return session.answer(await self._wait(letter, session.puts[source]))

    async def query(self, step: str, key: object) -> Any:
        """Return the state of a key in a stateful step, or None. It has seen all that was durable before the call."""
        session = self._session
        return session.state(await self._wait(session.question(step, key, self.front), session.put_question))


class BlockingEngine:
    """An engine as threads see it; any number of them may call at once."""

    def __init__(self, session: Callers) -> None:
        self._session = session
        self._front = ThreadFront()

    def send(self, source: str, message: object, *, id: Identity | None = None) -> None:
        """Return when the message is durable. A message with the `id` of an earlier one has no effect."""
        session = self._session
        session.refuse_own_thread()
        letter = session.letter(source, message, id, self._front, asks=False)
        session.check(self._front.wait(letter, session.puts[source]))

    def ask(self, source: str, message: object, *, id: Identity | None = None) -> list[Any]:
        """Return what the message sent through `.reply()` steps, in order, once it is durable.

        A message with the `id` of an earlier one has no effect and gets the same answer.
        """
        session = self._session
        session.refuse_own_thread()
        letter = session.letter(source, message, id, self._front, asks=True)
        return session.answer(self._front.wait(letter, session.puts[source]))

    def query(self, step: str, key: object) -> Any:
        """Return the state of a key in a stateful step, or None. It has seen all that was durable before the call."""
        session = self._session
        session.refuse_own_thread()
        return session.state(self._front.wait(session.question(step, key, self._front), session.put_question))


def clusters() -> ModuleType:
    """What makes sessions with clusters; who never asks for one is spared the import of all that belongs to them."""
    return importlib.import_module("holdfast.runtime.cluster_session")
