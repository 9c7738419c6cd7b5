"""The callers of an engine that is the front of a cluster: lines to its members, and perhaps the cluster itself.

With `workers` the coordinator and the workers are processes of this one (supervisor), which end with it, however it
ends; with a coordinator's address it joins a cluster that others run. Letters go over a line for each source
(front_line); every letter has an id, its caller's or one of this engine's own, so that sending it again after a failure
changes nothing. All of it lives in one thread with a trio run of its own: no signal handler, no loop of another's.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from holdfast.core import keys
from holdfast.core.application import Application
from holdfast.core.entities import canonical_of
from holdfast.core.errors import (
    DataDirectoryError,
    EngineStoppedError,
    HoldfastError,
    ProcessingError,
    UnreachableError,
    UsageError,
)
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.core.values import codec_of
from holdfast.runtime.callers import Callers, Identity
from holdfast.runtime.cluster_setup import ClusterSetup, refuse_unfit
from holdfast.runtime.coordinator_process import ENDED, STOP
from holdfast.runtime.engine_thread import adapt, bind, known_types
from holdfast.runtime.front_line import FrontLine
from holdfast.runtime.mailbox import Letter, settle
from holdfast.runtime.query import QUERY, Answer, Question, pack, unpack_answer
from holdfast.runtime.session import raise_reason, stopped_by
from holdfast.runtime.supervisor import Supervisor, SupervisorOptions
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.addresses import parse as parse_address
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.question import ask
from holdfast.runtime.transport.secret import load as load_secrets
from holdfast.runtime.whereabouts import environment, target_of
from holdfast.runtime.worker_process import SETUP, code_of

JOIN_SECONDS: Final = 10.0  # how long the coordinator of a cluster that others run may be away at the start …
LEAVE_SECONDS: Final = 30.0  # … and its members at the end, before what they have not answered is given up
POLL_SECONDS: Final = 0.01
WATCH_SECONDS: Final = 0.1  # between questions whether it has ended, while no member takes letters
RECORD_BYTES_MAX: Final = 1 << 26  # an epoch's records travel in one message between members


@dataclass(frozen=True, slots=True)
class Own:
    """A cluster that belongs to this process."""

    data: Path
    workers: int
    backups: int
    accept_code: bool
    target: str | None  # APP as the workers are given it; None: it is looked for
    secrets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A cluster that others run."""

    coordinator: Address
    secrets: tuple[bytes, ...]


class ClusterSession(Callers):
    """What the callers of one engine share."""

    def __init__(self, app: Application, cluster: Own | Joined, timeout: float | None) -> None:
        super().__init__(app)
        refuse_unfit(app)
        self._cluster = cluster
        self._timeout = timeout
        self._registry = TypeRegistry()
        self._codec = codec_of(self._registry)
        self._error: Exception | None = None
        self._supervisor: Supervisor | None = None
        self._lines: list[FrontLine] = []
        self._asked: dict[Letter, None] = {}  # questions without an answer
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._thread = threading.Thread(target=self._run, name="holdfast-front", daemon=True)
        self._is_made = threading.Event()  # the lines are there, or never will be
        self._closing = False
        self._is_formed = False  # it takes letters
        self._refusal: Exception = UsageError("the coordinator was never asked")

    # --- callers

    def begin(self) -> None:
        """Start the cluster, or join it."""
        self.note_begun()
        adapt(self._app)
        plan = Plan(self._app)
        self._registry = TypeRegistry(known_types(plan))
        bind(plan, self._registry)
        self._codec = codec_of(self._registry)
        if isinstance(self._cluster, Own):
            self._supervisor = self._supervise(self._cluster)
        self._thread.start()
        self._is_made.wait()

    def close(self) -> None:
        """Take nothing more, have answered what was taken, end."""
        for line in self._lines:
            line.refusal = self._stopped
        self._closing = True

    def join(self) -> None:
        """Wait, in this thread, until it has ended."""
        self._thread.join()

    def leave(self, error: BaseException | None) -> None:
        """It has ended; what stopped it is raised, unless something else is on its way."""
        self.join()
        raise_reason(self._error, error)

    def put_question(self, letter: Letter) -> None:
        """Ask; its payload is (step, key)."""
        step, key = letter.payload
        names = [own.name for own in self._app.stateful_steps]
        if step not in names:
            raise UsageError(f"there is no stateful step {step!r}; there are: {', '.join(map(repr, names)) or 'none'}")
        letter.payload = QUERY + pack(Question(step, canonical_of(keys.lookup(key, self._registry))))
        if self._closing or self._token is None:
            raise self._stopped()
        self._asked[letter] = None
        try:
            self._token.run_sync_soon(self._begin_query, letter)
        except trio.RunFinishedError:
            self._fail_questions()

    def record_of(self, source: str, message: object, identity: Identity | None) -> bytes:
        """The record of a message; ValueTypeError for what is not a value, UsageError for what is too large."""
        record = super().record_of(source, message, identity)
        if len(record) > RECORD_BYTES_MAX:
            raise UsageError(f"the message to {source!r} takes {len(record)} bytes; a cluster takes {RECORD_BYTES_MAX}")
        return record

    def decode(self, image: bytes) -> Any:
        """A value of the application's."""
        return self._codec.decode(image)

    def _stopped(self) -> EngineStoppedError:
        return stopped_by(self._error)

    # --- the thread

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except Exception as error:  # noqa: BLE001 - the callers hear of it, whatever it is
            self._error = self._error or error
        finally:
            self._is_made.set()
            for line in self._lines:
                line.fail(self._stopped)
            for lane in self.lanes.values():
                lane.fail(self._stopped)
            self._fail_questions()
            self.ready.happen(self._error or (EngineStoppedError("the engine was closed") if self._closing else None))
            self.ended.happen(self._error)

    async def _main(self) -> None:
        over = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        if self._supervisor is not None:
            keeping = (self._supervisor, self._token, over)
            threading.Thread(target=self._keep, args=keeping, name="holdfast-cluster", daemon=True).start()
        lines = {
            name: FrontLine(
                *(name, source, self._address, self._cluster.secrets, Limits()),
                timeout=self._timeout,
                unreachable=self._unreachable,
            )
            for name, source in self.sources.items()
        }
        self._lines = list(lines.values())
        self.lead_to(lines)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._is_made.set()
            for line in self._lines:
                nursery.start_soon(line.run)
            nursery.start_soon(self._form, nursery)
            if isinstance(self._cluster, Joined):
                nursery.start_soon(self._hear_end, nursery)
            nursery.start_soon(self._end, over, nursery)

    def _address(self) -> Address | None:
        """Where the coordinator listens."""
        if isinstance(self._cluster, Joined):
            return self._cluster.coordinator
        return self._supervisor.address if self._supervisor is not None else None

    async def _ask(self, question: bytes) -> bytes | None:
        """What the coordinator says, None while it does not."""
        address = self._address()
        try:
            return None if address is None else await ask(address, self._cluster.secrets, question, Limits())
        except UsageError as error:
            self._refusal = error
            return None

    async def _form(self, nursery: trio.Nursery) -> None:
        """Wait for the cluster, and be ready once it takes letters."""
        deadline = trio.current_time() + JOIN_SECONDS
        setup = await self._ask(SETUP)
        while setup is None:
            if isinstance(self._cluster, Joined) and trio.current_time() > deadline:
                self._fail(self._refusal, nursery)
                return
            await trio.sleep(POLL_SECONDS)
            setup = await self._ask(SETUP)
        try:
            self._check(ClusterSetup.unpack(setup))
        except HoldfastError as error:
            self._fail(error, nursery)
            return
        deadline = trio.current_time() + max(JOIN_SECONDS, self._timeout or math.inf)
        for line in self._lines:
            while await line.where() is None:  # a cluster forms in some tens of milliseconds, or waits for somebody
                if isinstance(self._cluster, Joined) and trio.current_time() > deadline:
                    what = f"the cluster at {self._address()} takes no messages; `holdfast status` says what is missing"
                    self._fail(UnreachableError(what), nursery)
                    return
                await trio.sleep(POLL_SECONDS)
        self._is_formed = True
        self.ready.happen(None)

    def _check(self, setup: ClusterSetup) -> None:
        if self._app.name != setup.application:
            raise UsageError(f"the cluster runs the application {setup.application!r}, not {self._app.name!r}")
        if code_of(self._app) != setup.code:
            raise UsageError("the cluster runs other code than this process has: start both with the same")

    def _fail(self, error: Exception, nursery: trio.Nursery) -> None:
        self._error = self._error or error
        nursery.cancel_scope.cancel()

    # --- questions

    def _begin_query(self, letter: Letter) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._query, letter)

    async def _query(self, letter: Letter) -> None:
        """The coordinator asks the primary of the key; it is asked again as long as there is none."""
        found: Answer | None = None
        with trio.move_on_after(self._timeout or math.inf) as limit:
            while found is None or found.elsewhere:
                packed = await self._ask(letter.payload)
                found = None if packed is None else unpack_answer(packed)
                if found is None:
                    await trio.sleep(POLL_SECONDS)
        if self._asked.pop(letter, letter) is not None:
            return
        if limit.cancelled_caught or found is None:
            settle([(letter, self._unreachable())])
        else:
            settle([(letter, UsageError(found.problem) if found.problem else found.image)])

    def _fail_questions(self) -> None:
        while self._asked:
            letter, _ = self._asked.popitem()
            settle([(letter, self._stopped())])

    # --- the end

    def _unreachable(self) -> UnreachableError:
        """What those are told who have waited for too long."""
        what = f"the cluster at {self._address()} has answered nobody for {self._timeout:g} s"
        return UnreachableError(f"{what}; whether it has the message is not known: ask again with the same id")

    async def _hear_end(self, nursery: trio.Nursery) -> None:
        """A coordinator that ends with an error tells who comes and asks; one of this process's own its supervisor."""
        while not self._error:
            await trio.sleep(WATCH_SECONDS)
            if self._is_formed and any(line.is_away for line in self._lines):
                told = await self._ask(ENDED)
                if told:
                    self._error = ProcessingError(told.decode())
        nursery.cancel_scope.cancel()

    async def _end(self, over: trio.Event, nursery: trio.Nursery) -> None:
        """Watch for the cluster's own end, and bring about this engine's."""
        deadline: float | None = None
        while not over.is_set():
            if self._closing:
                deadline = deadline or trio.current_time() + LEAVE_SECONDS
                is_late = isinstance(self._cluster, Joined) and trio.current_time() > deadline
                if is_late or self._is_empty:
                    break
            await trio.sleep(POLL_SECONDS)
        if self._supervisor is not None and not self._is_formed:
            while not over.is_set():  # its thread may have yet to begin
                self._supervisor.abandon()
                with trio.move_on_after(POLL_SECONDS):
                    await over.wait()
        elif self._supervisor is not None and not over.is_set():
            while await self._ask(STOP) != b"ok":
                if over.is_set():
                    break
                await trio.sleep(POLL_SECONDS)
            await over.wait()
        if self._supervisor is not None and self._supervisor.code != 0:
            self._error = self._error or error_of(self._supervisor)
        nursery.cancel_scope.cancel()

    @property
    def _is_empty(self) -> bool:
        sent = all(lane.is_empty for lane in self.lanes.values()) and all(line.is_empty for line in self._lines)
        return sent and not self._asked

    # --- the cluster of this process

    def _supervise(self, own: Own) -> Supervisor:
        options = SupervisorOptions(
            own.data,
            (sys.executable, "-m", "holdfast"),
            (own.target or target_of(self._app),),
            own.workers,
            own.backups,
            accept_code=own.accept_code,
            secrets=own.secrets,
            environment=environment(),
            hears_signals=False,
        )
        return Supervisor(options)

    def _keep(self, supervisor: Supervisor, token: trio.lowlevel.TrioToken, over: trio.Event) -> None:
        """The supervisor's thread."""
        try:
            supervisor.run()
        except Exception as error:  # noqa: BLE001 - the callers hear of it, whatever it is
            self._error = self._error or error
        try:
            token.run_sync_soon(over.set)
        except trio.RunFinishedError:
            pass


def error_of(supervisor: Supervisor) -> HoldfastError:
    """What the end of a cluster's processes means for callers."""
    text = f"the cluster's processes have ended with code {supervisor.code}"
    kinds: dict[int, type[HoldfastError]] = {2: UsageError, 4: DataDirectoryError}
    return kinds.get(supervisor.code, ProcessingError)(supervisor.given_up or supervisor.reason or text)


def own(
    app: Application,
    data: Path,
    workers: int,
    backups: int,
    *,
    accept_code: bool,
    target: str | None,
    timeout: float | None,
) -> ClusterSession:
    """A session with a cluster of this process."""
    secrets = load_secrets(None, os.environ)  # as its processes will
    return ClusterSession(app, Own(data, workers, backups, accept_code, target, secrets), timeout)


def joined(
    app: Application, coordinator: str, secret: str | Path | None, timeout: float | None
) -> ClusterSession:
    """A session with a cluster that others run."""
    secrets = load_secrets(None if secret is None else Path(secret), os.environ)
    return ClusterSession(app, Joined(parse_address(coordinator), secrets), timeout)
