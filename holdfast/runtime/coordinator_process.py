"""The coordinator of a cluster as a process: its store, its machine, and the workers and commands that connect to it.

    coordinator/    the record that the machine must not forget
    application/    what the application is, which inputs and outputs are its own (a data directory without data)

Everything runs in trio's thread but the commits of the store, one at a time, on another.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from holdfast.core.application import Application
from holdfast.core.connector import is_live
from holdfast.core.errors import FrameError, ProcessingError
from holdfast.core.keys import key_hash, range_of
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.recovery import effects, events
from holdfast.recovery.config import Config
from holdfast.recovery.coordinator import Coordinator, State
from holdfast.recovery.description import describe, is_at_work
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import Holders
from holdfast.recovery.wire import pack_kept, unpack_kept
from holdfast.runtime.clock import now
from holdfast.runtime.cluster_setup import ClusterSetup
from holdfast.runtime.earlier_recoveries import earlier_recoveries, keep_recoveries
from holdfast.runtime.engine_thread import adapt, bind, known_types, refuse_inside
from holdfast.runtime.front_line import WHERE
from holdfast.runtime.ledger import enter, refuse_outputs
from holdfast.runtime.metrics import serve
from holdfast.runtime.node_names import directory_names, named
from holdfast.runtime.notice import Notice, stopping
from holdfast.runtime.observations import Observations
from holdfast.runtime.query import QUERY, Answer, Question, pack, unpack_answer, unpack_question
from holdfast.runtime.signals import hear
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.book import pack_book
from holdfast.runtime.transport.handshake import Identity, Role
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Listening
from holdfast.runtime.transport.reception import Reception, Reply
from holdfast.runtime.worker_process import SETUP, STATUS, code_of
from holdfast.storage.directory import DataDirectory
from holdfast.storage.files import write_whole
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore
from holdfast.storage.lmdb_state import LmdbState

TICK_SECONDS = 0.02
CALM_TICK_SECONDS = 0.1  # while the cluster works: then only checkpoints and newcomers become due by themselves
QUERY_SECONDS = 5.0  # how long a question for a state may take while the cluster changes
PRIMARY_SECONDS = 1.0  # and the worker that is asked
RANGES = 1024  # hash ranges, fixed for ever at the first start
STOP = b"stop"
ENDED = b"ended"  # why, where it has with an error
TELL_SECONDS = 1.0  # how long an end by an error waits for those who send, to hear why
LEAVE = b"leave "  # and the nodes, with spaces between
LAST_STATUS = "coordinator.last"  # how it stood at its end; not there while it runs, nor after it was killed
CLAIMED_AS = "claimed-as"  # meta record: whose outputs sinks take them for, where that is not this directory
CLEAN = "cluster-clean"  # meta record: the cluster ended, and nothing is to be worked off again


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """How to form a cluster."""

    data: Path
    listen: Address
    workers: int
    backups: int
    secrets: tuple[bytes, ...] = ()
    accept_code: bool = False
    ranges: int = RANGES
    checkpoint_ms: int = 1000
    limits: Limits = field(default_factory=Limits)
    metrics: Address | None = None  # where they are served
    patience: float = 0.0  # seconds until it is told what is waited for
    hears_signals: bool = False  # the first SIGINT or SIGTERM ends the cluster cleanly, a second one this process
    report: Callable[[str], None] = lambda line: None
    on_listening: Callable[[Address], None] = lambda address: None


class Waiting:
    """What the cluster waits for, told once it has been so for a while: most of it comes at once."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._reason = self._told = ""
        self._since = 0.0

    def turn(self, now: float, reason: str) -> None:
        """From now on it waits for this, or for nothing."""
        self._reason, self._since = reason, now

    def told(self, now: float) -> Notice | None:
        """What is to be said, if that is due."""
        if self._reason == self._told or (self._reason and now - self._since < self._patience):
            return None
        self._told = self._reason
        return Notice(self._reason, "waiting", level="warning") if self._reason else None


class CoordinatorProcess:
    """Runs the coordinator until the cluster has ended."""

    def __init__(self, app: Application, options: CoordinatorOptions) -> None:
        self.outcome: effects.Finish | None = None
        self.signal: int | None = None  # what asked the cluster to end
        self._app = app
        self._options = options
        self._tells: deque[effects.Tell] = deque()
        self._observations = Observations()
        self._waiting = Waiting(options.patience)
        self._recoveries_kept = 0  # how many of this life
        self._is_sent_to = False  # an engine stands in front of it

    def run(self) -> None:
        """Until the end; raises what the application ended with, if that was an error."""
        trio.run(self._main)
        if self._error:
            raise ProcessingError(self._error)

    @property
    def _error(self) -> str:
        """What the application ended with, if that was an error."""
        return (self.outcome.error if self.outcome is not None else None) or ""

    async def _main(self) -> None:
        options = self._options
        adapt(self._app)
        plan = Plan(self._app)
        bind(plan, TypeRegistry(known_types(plan)))
        refuse_inside(options.data, plan.sinks)
        ledger = options.data / "application"
        if not ledger.exists():
            refuse_outputs(plan.sources, plan.sinks)
        with (
            LmdbCoordinatorStore.open(options.data / "coordinator", create=True) as store,
            DataDirectory.open(ledger, create=True) as directory,
        ):
            packed = store.record()
            kept = replace(Kept() if packed is None else unpack_kept(packed), life=store.life())
            entry = enter(
                *(self._app, directory.state),
                sources=plan.sources,
                sinks=plan.sinks,
                stateful=plan.stateful,
                may_contradict=kept.formation is not None and directory.state.get_meta(CLEAN) is not True,
                accept_code=options.accept_code,
            )
            for note in entry.notes:
                options.report(note)
            directory.state.put_meta(CLEAN, False)
            self._plan, self._partitions = plan, entry.partitions
            self._setup = ClusterSetup(
                *(self._app.name, tuple(entry.partitions), options.backups, code_of(self._app)),
                stored_names=entry.stored_names,
                directory=_claimed_as(directory.state),
            ).pack()
            live = any(is_live(step.source) for step in plan.sources)
            config = Config(
                workers=options.workers,
                partitions=len(entry.partitions),
                sinks=len(plan.sink_partitions),
                live=live,
                ranges=options.ranges,
                backups=options.backups,
                checkpoint_ms=options.checkpoint_ms,
            )
            (options.data / LAST_STATUS).unlink(missing_ok=True)
            machine = Coordinator(config)
            machine.recoveries.resume(earlier_recoveries(directory.state))
            self._state = directory.state
            await self._serve(machine, store, kept, directory.state.identity().directory)
            directory.state.put_meta(CLEAN, True)
            last = self._status() | {"running": False}
            write_whole(options.data / LAST_STATUS, json.dumps(last).encode())

    async def _serve(self, machine: Coordinator, store: LmdbCoordinatorStore, kept: Kept, cluster: str) -> None:
        options = self._options
        self._machine = machine
        self._store = store
        self._ended = trio.Event()
        own = Identity(Role.COORDINATOR, cluster, os.urandom(16).hex(), kept.life)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._reception = Reception(
                *(own, options.secrets, options.limits),
                admit=lambda peer, registration: None,
                on_status=lambda status: self._handle(events.Heard(now(), status)),
                on_lost=lambda node, incarnation: self._handle(events.WorkerLost(now(), node, incarnation)),
                answer=self._answer,
                report=options.report,
                on_observed=self._observations.take,
                take=self._take_query,
            )
            listening = await Listening.open(options.listen, options.secrets)
            if options.metrics is not None:
                token = trio.lowlevel.current_trio_token()
                look = partial(trio.from_thread.run_sync, self._status, trio_token=token)
                options.report(serve(options.metrics, look))
            self._handle(events.Started(now(), kept))
            if options.hears_signals:
                await nursery.start(hear, self._stop_for)
            options.on_listening(listening.address)  # who knows of it may already want its end
            nursery.start_soon(self._reception.run, listening)
            nursery.start_soon(self._tick)
            await self._ended.wait()
            await trio.sleep(TELL_SECONDS if self._error and self._is_sent_to else 0.1)  # the last orders leave before
            nursery.cancel_scope.cancel()

    def _stop_for(self, number: int) -> None:
        self.signal = number
        how = "the cluster ends cleanly, what was read is worked off; once more ends this process at once"
        self._options.report(stopping(number, how))
        self._handle(events.StopAsked(now()))

    async def _tick(self) -> None:
        while True:
            await trio.sleep(CALM_TICK_SECONDS if self._machine.state is State.RUN else TICK_SECONDS)
            self._handle(events.Ticked(now()))
            told = self._waiting.told(trio.current_time())
            if told is not None:
                self._options.report(told)

    def _handle(self, event: Any) -> None:
        for effect in self._machine.handle(event):
            match effect:
                case effects.Tell(node, order):
                    self._reception.tell(node, order)
                case effects.Store():
                    self._nursery.start_soon(self._keep, effect)
                case effects.Waiting(reason):
                    self._waiting.turn(trio.current_time(), named(reason, self._names()) if reason else "")
                case effects.Finish():
                    self.outcome = effect
                    self._ended.set()

        if self._machine.recoveries.over != self._recoveries_kept:
            self._recoveries_kept = self._machine.recoveries.over
            self._nursery.start_soon(self._keep_recoveries)

    async def _keep_recoveries(self) -> None:
        recoveries = list(self._machine.recoveries.latest)
        await trio.to_thread.run_sync(keep_recoveries, self._state, recoveries)

    async def _keep(self, order: effects.Store) -> None:
        await trio.to_thread.run_sync(self._store.put, pack_kept(order.kept))
        self._handle(events.Stored(now(), order.ticket))

    def _answer(self, question: bytes) -> bytes:
        """What commands and workers ask."""
        if question == SETUP:
            return self._setup
        if question == STOP:
            self._handle(events.StopAsked(now()))
            return b"ok"
        if question == STATUS:
            return json.dumps(self._status()).encode()
        if question == ENDED:
            return self._error.encode()
        if question.startswith(WHERE):
            self._is_sent_to = True
            return self._where(question[len(WHERE) :].decode(errors="replace"))
        if question.startswith(LEAVE):
            nodes = tuple(question[len(LEAVE) :].decode().split())
            self._handle(events.LeaveAsked(now(), nodes))
            return b"ok"
        return b""

    # --- what only a worker knows

    def _take_query(self, packed: bytes, reply: Reply) -> bool:
        """A command asks for a state."""
        if not packed.startswith(QUERY):
            return False
        question = unpack_question(packed[len(QUERY) :])
        names = [step.name for step in self._plan.stateful]
        if question.step in names:
            self._nursery.start_soon(self._pass_on, question, reply)
        else:
            known = f"the application's are {', '.join(map(repr, names))}" if names else "the application has none"
            reply(pack(Answer(problem=f"there is no stateful step {question.step!r}: {known}")))
        return True

    async def _pass_on(self, question: Question, reply: Reply) -> None:
        """Ask the primary of the key, and again where the cluster is changing."""
        with trio.move_on_after(QUERY_SECONDS):
            while True:
                found = await self._ask_primary(question)
                if found is not None and not found.elsewhere:
                    reply(pack(found))
                    return
                await trio.sleep(TICK_SECONDS)
        reason = self._machine.waiting or "the worker that holds the key is not at work"
        reply(pack(Answer(problem=f"no answer within {QUERY_SECONDS:g} s: {reason}", elsewhere=True)))

    async def _ask_primary(self, question: Question) -> Answer | None:
        formation = self._machine.formation
        if formation is None or not is_at_work(self._machine):
            return None
        ranges = formation.layout.ranges
        node = ranges[range_of(key_hash(question.key), len(ranges))].primary
        with trio.move_on_after(PRIMARY_SECONDS):
            packed = await self._reception.ask(node, pack(question))
            try:
                return None if packed is None else unpack_answer(packed)
            except FrameError as error:
                return Answer(problem=str(error))
        return None

    # --- how it is

    def _where(self, source: str) -> bytes:
        """Which member takes what is sent to a source; empty while none does."""
        formation = self._machine.formation
        number = next((n for n, (name, _) in enumerate(self._partitions) if name == source), None)
        holders = self._holders(number) if number is not None else None
        if formation is None or holders is None:
            return b""
        primary = holders.primary
        member = formation.member(primary)
        here = [e for e in self._reception.book if member and (e.node, e.incarnation) == (primary, member.incarnation)]
        return pack_book((here[0],)) if here else b""

    def _names(self) -> dict[str, str]:
        """The names of workers' directories by node."""
        told = {node: own.name for node, own in self._observations.by_node.items()}
        return told | directory_names(self._options.data)

    def _status(self) -> dict[str, Any]:
        """What `holdfast status` shows; docs/clusters.md lists it."""
        options, told = self._options, describe(self._machine)
        told["waiting"] = named(told["waiting"], self._names()) if told["waiting"] else ""
        addresses = {entry.node: str(entry.address) for entry in self._reception.book}
        for node, worker in told["workers"].items():
            worker["address"] = addresses.get(node)
            worker |= self._observations.of(node)
        return (
            {
                "application": self._app.name,
                "running": True,
                "now": now(),
                "pid": os.getpid(),
                "workers_wanted": options.workers,
                "backups": options.backups,
            }
            | told
            | {"sources": self._sources(), "sinks": self._sinks(), "totals": self._observations.totals()}
        )

    def _holders(self, number: int) -> Holders | None:
        """Who holds a source partition; None where nobody does yet."""
        formation = self._machine.formation
        return formation.layout.partition(number) if formation is not None else None

    def _sources(self) -> list[dict[str, Any]]:
        told = []
        for number, (source, name) in enumerate(self._partitions):
            holders = self._holders(number)
            told.append(
                {
                    "source": source,
                    "partition": name,
                    "node": holders.primary if holders is not None else None,
                    "backups": list(holders.backups) if holders is not None else [],
                    "records": self._observations.records_of(number),
                }
            )
        return told

    def _sinks(self) -> list[dict[str, Any]]:
        formation = self._machine.formation
        return [
            {
                "sink": own.step.name,
                "partition": own.partition,
                "node": formation.layout.sink(number) if formation is not None else None,
                "outputs": self._observations.outputs_of(number),
            }
            for number, own in enumerate(self._plan.sink_partitions)
        ]


def _claimed_as(state: LmdbState) -> str:
    """Whose outputs sinks are told that they get; of a directory that was taken over, still those of the one before."""
    before = state.get_meta(CLAIMED_AS)
    return before if isinstance(before, str) else state.identity().directory
