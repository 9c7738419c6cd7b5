"""A worker of a cluster as a process: its data directory, its engine thread, and around them its connections.

Sockets, signals and time belong to trio in the main thread; the machine and everything that it orders run on the engine
thread (`member_life`), which reads what peers send itself. Between them are one inbox and the outboxes of the links,
nothing else.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, cast

import trio

from holdfast.connectors.send import Send
from holdfast.core.application import Application
from holdfast.core.errors import NonDeterminismError, ProcessingError, SinkError, UsageError
from holdfast.core.plan import Plan
from holdfast.core.steps import Step
from holdfast.core.types import TypeRegistry
from holdfast.recovery.messages import Phase, Status
from holdfast.replication.messages import Envelope
from holdfast.runtime.clients import Clients
from holdfast.runtime.clock import now
from holdfast.runtime.cluster_setup import ClusterSetup
from holdfast.runtime.engine_thread import adapt, bind, claim, ended_by, known_types, open_sinks
from holdfast.runtime.fingerprint import fingerprint
from holdfast.runtime.member_life import Asked, MemberLife
from holdfast.runtime.nondeterminism import BYTES_MAX, explained
from holdfast.runtime.notice import Notice
from holdfast.runtime.observation import Observer
from holdfast.runtime.points import Probe
from holdfast.runtime.query import pack, unpack_question
from holdfast.runtime.state_writer import HINTS
from holdfast.runtime.stranded import LineLost
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.book import Entry, Registration
from holdfast.runtime.transport.coordinator_line import CoordinatorLine
from holdfast.runtime.transport.handshake import UNKNOWN_CLUSTER, Identity, Role
from holdfast.runtime.transport.inbox import Inbox
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Listening
from holdfast.runtime.transport.peers import Peers
from holdfast.runtime.transport.question import ask
from holdfast.runtime.transport.reception import TICKET_BYTES
from holdfast.storage.directory import DataDirectory
from holdfast.worker import cluster_effects
from holdfast.worker.cluster_events import LineMade, Ordered
from holdfast.worker.member import Member
from holdfast.worker.settings import Settings

ASK_AGAIN_SECONDS = 0.1
OBSERVE_SECONDS = 0.5
SETUP = b"setup"
STATUS = b"status"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How to take part in a cluster."""

    data: Path
    coordinator: Address
    listen: Address
    secrets: tuple[bytes, ...] = ()
    settings: Settings = field(default_factory=Settings)
    probe: Probe = field(default_factory=Probe)
    keep_log: bool = False  # never trim: the logs then hold all input for a comparison afterwards
    limits: Limits = field(default_factory=Limits)
    report: Callable[[str], None] = lambda line: None


class WorkerProcess:
    """Runs one member until the cluster ends or it is told to start anew."""

    def __init__(self, app: Application, options: WorkerOptions) -> None:
        self.restart = False  # the process is to be started again, as a new incarnation
        self._app = app
        self._options = options
        self._life: MemberLife | None = None
        self._error: BaseException | None = None
        self._over: trio.Event | None = None
        self._line: CoordinatorLine | None = None
        self._peers: Peers | None = None  # once the cluster is known
        self._observer: Observer | None = None

    def run(self) -> None:
        """Take part; raises what ended it, if that was an error."""
        trio.run(self._main)
        if self._error is not None:
            raise self._error

    async def _main(self) -> None:
        options = self._options
        adapt(self._app)
        plan = Plan(self._app)
        known = known_types(plan)
        directory = DataDirectory.open(options.data, create=True)
        try:
            registry = TypeRegistry(known, cast("dict[str, str]", directory.state.get_meta(HINTS) or {}))
            bind(plan, registry)
            setup = await self._setup()
            partitions = self._partitions = self._check(plan, setup)
            plan.stored_names = setup.stored_names
            claim(plan, setup.directory)
            self._log = directory.partitions()
            settings = replace(options.settings, backups=setup.backups)
            member = Member(plan, [(step.index, name) for step, name in partitions], settings, registry)
            await self._take_part(directory, plan, member, partitions, registry)
        finally:
            if not isinstance(self._error, ProcessingError) or self._life is None:
                directory.close()
        if isinstance(self._error, SinkError) and await self._is_left_behind(member):
            # Its sinks are its successors' now, and may have failed because of them: some let only the newest write.
            self.restart, self._error = True, None

    async def _is_left_behind(self, member: Member) -> bool:
        """Whether the cluster has a newer generation than the one in which this member was."""
        options, own = self._options, member.formation
        try:
            packed = await ask(options.coordinator, options.secrets, STATUS, options.limits)
        except UsageError:
            return False
        generation = json.loads(packed)["generation"]
        return own is not None and generation is not None and generation["number"] > own.number

    async def _setup(self) -> ClusterSetup:
        """Ask until the coordinator answers."""
        options, said = self._options, ""
        while True:
            try:
                return ClusterSetup.unpack(await ask(options.coordinator, options.secrets, SETUP, options.limits))
            except UsageError as error:
                if str(error) != said:
                    said = str(error)
                    line = f"waiting for the coordinator at {options.coordinator}: {said}"
                    options.report(Notice(line, "waiting-for-coordinator", level="warning"))
                await trio.sleep(ASK_AGAIN_SECONDS)

    def _check(self, plan: Plan, setup: ClusterSetup) -> list[tuple[Any, str]]:
        if self._app.name != setup.application:
            raise UsageError(f"the cluster runs the application {setup.application!r}, not {self._app.name!r}")
        if code_of(self._app) != setup.code:
            raise UsageError("this worker has other code than the coordinator: start all of them with the same")
        by_name = {step.name: step for step in plan.sources}
        return [(by_name[source], name) for source, name in setup.partitions]

    async def _take_part(
        self,
        directory: DataDirectory,
        plan: Plan,
        member: Member,
        partitions: list[tuple[Any, str]],
        registry: TypeRegistry,
    ) -> None:
        options = self._options
        self._over = trio.Event()
        token = trio.lowlevel.current_trio_token()
        found = directory.state.identity()
        own = Identity(Role.PEER, UNKNOWN_CLUSTER, found.directory, found.incarnation)
        listening = await Listening.open(options.listen, options.secrets)
        inbox = Inbox()
        clients = Clients({s.name: s.source for s in plan.sources if isinstance(s.source, Send)}, options.limits)
        random = Random(os.urandom(8))
        async with trio.open_nursery() as nursery:

            def joined(cluster: str) -> None:
                inbox.put(LineMade(now()))
                if self._peers is None:
                    self._peers = Peers(
                        *(replace(own, cluster=cluster), options.secrets, options.limits),
                        inbox=inbox,
                        report=options.report,
                        random=random,
                        have_client=clients.have_guest,
                    )
                    nursery.start_soon(self._peers.run, listening)

            self._line = CoordinatorLine(
                *(own, options.coordinator, options.secrets, options.limits),
                registration=Registration(listening.address, b""),
                on_joined=joined,
                on_order=lambda order: inbox.put(Ordered(now(), order)),
                on_book=self._know,
                on_refused=self._refused,
                on_question=self._asked,
                on_lost=lambda: inbox.put(LineLost()),
                report=options.report,
                random=random,
            )
            life = self._life = MemberLife(
                member,
                node=found.directory,
                log=self._log,
                state=directory.state,
                sources=[(step.name, step.source, name) for step, name in partitions],
                clients=clients,
                sinks=open_sinks(plan),
                registry=registry,
                probe=options.probe,
                inbox=inbox,
                send=self._send,
                tell=self._tell,
                is_crowded=lambda: self._peers is not None and self._peers.is_crowded,
                report=options.report,
                keep_log=options.keep_log,
            )
            self._observer = Observer(member, life.latencies, options.data, self._links)
            thread = threading.Thread(target=self._live, args=(life, token), name="holdfast-engine", daemon=True)
            thread.start()
            nursery.start_soon(self._line.run)
            nursery.start_soon(self._keep_observing)
            await self._over.wait()
            with trio.move_on_after(1.0):  # the last status leaves before the connections end
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    # --- between the engine thread and the connections

    def _send(self, node: str, envelopes: Sequence[Envelope]) -> None:
        if self._peers is not None:
            self._peers.send(node, envelopes)

    def _tell(self, status: Status) -> None:
        assert self._line is not None
        if status.phase is Phase.OVER:
            self._observe()  # in front of the status behind which nobody listens any more
        self._line.send(status)

    def _know(self, book: tuple[Entry, ...]) -> None:
        assert self._peers is not None
        self._peers.know(book)

    def _asked(self, packed: bytes) -> None:
        """A state is asked for; the engine thread answers between two events."""
        line, ticket = self._line, packed[:TICKET_BYTES]
        assert line is not None
        assert self._life is not None
        question = unpack_question(packed[TICKET_BYTES:])
        self._life.inbox.put(Asked(question, lambda answer: line.answer(ticket + pack(answer))))

    # --- numbers for people

    def _links(self) -> tuple[dict[str, int], list[str]]:
        return ({}, []) if self._peers is None else (self._peers.bytes_waiting(), self._peers.slow())

    def _observe(self) -> None:
        assert self._line is not None
        assert self._observer is not None
        news = self._observer.news()
        if news is not None:
            self._line.observe(news)

    async def _keep_observing(self) -> None:
        while True:
            await trio.sleep(OBSERVE_SECONDS)
            self._observe()

    def _logged(self) -> Iterator[tuple[Step, str, bytes]]:
        """What this member's logs hold of their partitions, up to some size."""
        for partition, (step, name) in enumerate(self._partitions):
            lineage = self._log.lineages().get(partition)
            if lineage is not None and lineage.tail > lineage.base.epoch:
                for entry in self._log.read(partition, lineage.base.epoch, BYTES_MAX):
                    yield step, name, entry.chunk.raw

    def _refused(self, reason: str) -> None:
        self._error = UsageError(f"the coordinator refuses this worker: {reason}")
        assert self._over is not None
        self._over.set()

    def _live(self, life: MemberLife, token: trio.lowlevel.TrioToken) -> None:
        """The engine thread."""
        try:
            end = life.run()
            self.restart = isinstance(end, cluster_effects.Restart)
            life.close()
        except NonDeterminismError as error:
            self._error = explained(error, self._app, self._logged)
        except Exception as error:  # noqa: BLE001 - the main thread reports it, whatever it is
            self._error = error
        except BaseException as error:  # noqa: BLE001 - a user's function must not end the process unheard
            self._error = ended_by(error)
        finally:
            assert self._over is not None
            life.inbox.close()
            try:
                token.run_sync_soon(self._over.set)
            except trio.RunFinishedError:
                pass


def code_of(app: Application) -> tuple[str, ...]:
    """The application's functions as a cluster compares them."""
    return tuple(part for label, digest in sorted(fingerprint(app).items()) for part in (label, str(digest)))
