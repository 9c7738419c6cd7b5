"""The supervisor: one command that is a whole cluster on this machine.

    DIR/coordinator/ application/    the coordinator's (coordinator_process)
    DIR/worker-1/ …                  one data directory for each worker

It starts the coordinator and the workers as processes, starts again what dies, and passes a wish to stop on. It decides
nothing that the promise rests on. Invariant: none of its processes outlives it (leash), and whichever did not say with
what it ends has died.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from holdfast.core.errors import DataDirectoryError, ProcessingError, UsageError
from holdfast.runtime.clock import now
from holdfast.runtime.coordinator_process import LAST_STATUS, LEAVE, STOP
from holdfast.runtime.deaths import Deaths
from holdfast.runtime.frozen import end_frozen
from holdfast.runtime.leash import Farewell, Leash
from holdfast.runtime.notice import Notice, stopping
from holdfast.runtime.restarts import End, Restarts
from holdfast.runtime.signals import hear
from holdfast.runtime.take_over import take_over
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.addresses import parse as parse_address
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.question import ask
from holdfast.runtime.worker_process import STATUS
from holdfast.storage.folder import DATA, read_format

POLL_SECONDS = 0.01
AGAIN_SECONDS = 0.1  # before the coordinator is told again what it has not heard
WATCH_SECONDS = 0.25
ANSWER_SECONDS = 2.0  # how long a status may take
FINISHED_SECONDS = 2.0  # how long the coordinator may take to end once a worker has
END_SECONDS = 10.0  # how long workers may take to end once the coordinator has
ADDRESS = "coordinator.address"
# How a process ends that another start would not help: done, or one of the errors that a user can mend.
FINAL_CODES = frozenset({0, UsageError.exit_code, ProcessingError.exit_code, DataDirectoryError.exit_code})
# Ends that come from outside: from somebody who kills, or from the system when memory is short.
KILLED_CODES = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT})


@dataclass(slots=True)
class Child:
    """One process that is kept running."""

    name: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    leash: Leash | None = None
    is_kept: bool = False  # started again also where it has ended well, as long as the cluster has not
    code: int | None = None  # how it ended of itself


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """What to run."""

    data: Path
    program: tuple[str, ...]  # this program, without arguments
    target: tuple[str, ...]  # APP, or nothing where the program is the application
    workers: int
    backups: int
    application: str | None = None  # its name: another's directory is not touched
    accept_code: bool = False
    debug: bool = False
    log: str | None = None  # the form in which its processes, too, say what happens
    capture: Path | None = None
    seconds: float | None = None
    limits: Limits = field(default_factory=Limits)
    secrets: tuple[bytes, ...] = ()
    environment: Mapping[str, str] | None = None  # of its processes; None: this one's
    hears_signals: bool = True  # a command does; inside a user's process signals are the user's
    metrics: str | None = None  # where the coordinator serves them
    report: Callable[[str], None] = lambda line: None
    on_status: Callable[[dict[str, Any]], None] | None = None  # told how the cluster is doing, about twice a second


class Supervisor:
    """Runs a cluster until it has ended."""

    def __init__(self, options: SupervisorOptions) -> None:
        self.signal: int | None = None
        self.code = 0
        self.given_up = ""  # why, where it is
        self.reason = ""  # what the process said whose code it is
        self._options = options
        self._address: Address | None = None
        self._children: list[Child] = []
        self._restarts = Restarts()
        self._deaths = Deaths()
        self._sealed = 0  # the last cut that was heard to be sealed
        self._over: trio.Event | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def run(self) -> int:
        """The exit code of the cluster."""
        if take_over(self._options.data, self._options.application):
            line = f"{self._options.data} was one worker's; it is a cluster's from now on"
            self._options.report(Notice(line, "taken-over"))
        self._options.data.mkdir(parents=True, exist_ok=True)
        for name in (ADDRESS, LAST_STATUS):
            (self._options.data / name).unlink(missing_ok=True)
        try:
            trio.run(self._main)
        finally:
            for child in self._children:
                if child.process is not None and child.leash is not None:
                    child.process.kill()
                    child.process.wait()
                    child.leash.let_go()
        return self.code

    async def _main(self) -> None:
        self._over = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            if self._options.hears_signals:
                await nursery.start(hear, partial(self._stop_for, nursery), self._kill_all)
            limit, report = self._options.limits.silence_seconds, self._options.report
            nursery.start_soon(end_frozen, self._running, limit, report)
            if self._options.seconds is not None:
                nursery.start_soon(self._stop_after, self._options.seconds)
            coordinator = Child("coordinator", self._coordinator_arguments(Address("127.0.0.1", 0)))
            self._children.append(coordinator)
            nursery.start_soon(self._keep, coordinator)
            nursery.start_soon(self._watch)
            if await self._find_address(coordinator):
                self._start_workers(nursery)
            await self._over.wait()
            line = self._deaths.rest()
            if line is not None:
                self._options.report(line)
            await self._wait_for_workers()
            nursery.cancel_scope.cancel()

    @property
    def address(self) -> Address | None:
        """Where the coordinator listens, once it does; any thread may look."""
        return self._address

    # --- processes

    def _coordinator_arguments(self, listen: Address) -> tuple[str, ...]:
        options = self._options
        accept = ("--accept-code",) if options.accept_code else ()
        metrics = ("--metrics", options.metrics) if options.metrics is not None else ()
        return (
            *("coordinator", *options.target, "--listen", str(listen), "--data", str(options.data)),
            *("--workers", str(options.workers), "--backups", str(options.backups), *accept, *metrics),
        )

    def _start_workers(self, nursery: trio.Nursery) -> None:
        options = self._options
        found = [int(path.name.removeprefix("worker-")) for path in options.data.glob("worker-*")]
        # Those beyond the number that is wanted hold what others will take over: they take part, and then leave.
        for number in range(1, max([options.workers, *found]) + 1):
            path = options.data / f"worker-{number}"
            if number > options.workers and not path.exists():
                continue
            child = Child(
                f"worker {number}",
                ("worker", *options.target, "--join", str(self._address), "--data", str(path)),
                is_kept=number <= options.workers,
            )
            self._children.append(child)
            nursery.start_soon(self._keep, child)
            if number > options.workers:
                nursery.start_soon(self._release, child, path)

    async def _release(self, child: Child, path: Path) -> None:
        """Have a worker leave that is one too many; its directory goes once it holds nothing."""
        node = read_format(path, DATA)
        assert self._address is not None
        assert self._over is not None
        while child.code is None and not self._over.is_set():
            await self._tell(LEAVE + (node or "").encode())
            await trio.sleep(1.0)
        if child.code == 0 and not self._over.is_set():
            shutil.rmtree(path)

    async def _keep(self, child: Child) -> None:
        """Start a process, and again whenever it dies."""
        assert self._over is not None
        options = self._options
        while not self._over.is_set():
            debug = (*(("--debug",) if options.debug else ()), *(("--log", options.log) if options.log else ()))
            capture = ("--capture", str(options.capture)) if options.capture is not None else ()
            command = [*options.program, *child.arguments, "--leashed", *capture, *debug]
            child.leash = Leash()
            child.process = child.leash.start(command, options.environment)
            started = trio.current_time()
            code = await self._wait(child.process)
            said = child.leash.let_go()
            if said is not None and said.code == code and code in FINAL_CODES:
                self._ended(child, said)
                if not child.is_kept:
                    return
                # The coordinator ends when all workers have. One that was killed in that moment has forgotten what it
                # had told them, and waits for them.
                await trio.sleep(FINISHED_SECONDS)
            if self._over.is_set():
                return
            pause = await self._pause_after(child, code, trio.current_time() - started)
            if pause is None:
                self.code = self.code or ProcessingError.exit_code
                self._over.set()
                return
            await trio.sleep(pause)

    async def _pause_after(self, child: Child, code: int, lived: float) -> float | None:
        """Seconds until it is started again; None where it is given up."""
        by_itself = code not in KILLED_CODES
        if by_itself:
            await self._ask_status()  # only what gets further is worth another start
            assert self._over is not None
            if self._over.is_set():
                return None
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        pause = self._restarts.pause(End(child.name, by_itself, lived, self._sealed))
        if pause is None:
            self.given_up = (
                f"{child.name} died ({how}), and it was the {self._restarts.crashes}th time since any progress that a "
                "process ended so: given up. Does a function end or crash the process? What was read is kept, and the "
                "next run goes on from there"
            )
        else:
            self._deaths.died(now(), child.name, how)
        return pause

    async def _watch(self) -> None:
        """Tell how the cluster is doing, to who wants to know, and of every recovery once it is over."""
        assert self._over is not None
        options = self._options
        while not self._over.is_set():
            await trio.sleep(WATCH_SECONDS)
            if options.on_status is None and not self._deaths.wants_status:
                continue
            status = await self._ask_status()
            line = self._deaths.tell(now(), status)
            if line is not None:
                options.report(line)
            if status is not None and options.on_status is not None:
                options.on_status(status)

    async def _ask_status(self) -> dict[str, Any] | None:
        """What the coordinator says; None where it does not answer."""
        if self._address is None:
            return None
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                packed = await ask(self._address, self._options.secrets, STATUS, Limits())
                status: dict[str, Any] = json.loads(packed)
            except (UsageError, ValueError):
                return None
            self._sealed = max(self._sealed, status["sealed"])
            return status
        return None

    def _running(self) -> dict[int, str]:
        return {c.process.pid: c.name for c in self._children if c.process is not None and c.process.returncode is None}

    @staticmethod
    async def _wait(process: subprocess.Popen[bytes]) -> int:
        return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)

    def _ended(self, child: Child, said: Farewell) -> None:
        """A process has ended of itself: the cluster's end, or an error that another start would meet again."""
        child.code = said.code
        if child.name == "coordinator" or said.code != 0:
            self.code, self.reason = (self.code, self.reason) if self.code else said
            assert self._over is not None
            self._over.set()
        if child.name != "coordinator" and said.code != 0:
            self._kill_all()  # whoever gets what it held would soon meet the same, and say so once more

    async def _wait_for_workers(self) -> None:
        """The coordinator has ended: who was there has heard it from him, and nobody tells the others."""
        heard = self._heard_the_end()
        for child in self._children if self.code == 0 else ():
            if child.process is not None and child.process.pid not in heard:
                child.process.kill()
        with trio.move_on_after(END_SECONDS if self.code == 0 else 1.0):
            for child in self._children:
                if child.process is not None:
                    await self._wait(child.process)

    def _heard_the_end(self) -> set[int]:
        """Process ids of the workers that the coordinator had a connection to at its end."""
        try:
            last = json.loads((self._options.data / LAST_STATUS).read_text())
        except OSError:
            return set()
        here = [worker for worker in last["workers"].values() if worker.get("alive") and worker.get("observed")]
        return {worker["observed"]["process"]["pid"] for worker in here}

    async def _find_address(self, coordinator: Child) -> bool:
        """Where the coordinator listens, once it does. There it listens from now on."""
        path = self._options.data / ADDRESS
        while coordinator.code is None:
            if path.exists():
                self._address = parse_address(path.read_text())
                coordinator.arguments = self._coordinator_arguments(self._address)
                return True
            await trio.sleep(POLL_SECONDS)
        return False

    # --- stopping

    def _stop_for(self, nursery: trio.Nursery, number: int) -> None:
        self.signal = number
        self._options.report(stopping(number))
        nursery.start_soon(self._stop)  # a second signal is heard meanwhile, also where nobody answers

    async def _stop_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        await self._stop()

    async def _stop(self) -> None:
        assert self._over is not None
        while not await self._tell(STOP):
            if self._over.is_set():
                return
            await trio.sleep(AGAIN_SECONDS)

    async def _tell(self, question: bytes) -> bool:
        if self._address is None:
            return False
        try:
            return await ask(self._address, self._options.secrets, question, Limits()) == b"ok"
        except UsageError:
            return False

    def abandon(self) -> None:
        """End at once, as a kill would: for a cluster that nobody has given anything to yet. Any thread may call it."""
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._abandon)
            except trio.RunFinishedError:
                pass

    def _abandon(self) -> None:
        assert self._over is not None
        self._over.set()
        self._kill_all()

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.kill()
