"""All who are connected to the coordinator: workers, and commands that ask.

Invariants: of a node the latest life counts, and its latest connection; what an earlier one still sends is dropped with
it. A worker is heard only after it has registered. Every worker gets the whole address book whenever it changes.
Not here: what statuses lead to (recovery.coordinator), and what commands may ask.
Made and run inside trio, all of it in trio's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Final

import trio

from holdfast.core.errors import FrameError
from holdfast.recovery.messages import Order, Status
from holdfast.recovery.wire import FRAME_BYTES_MAX, pack_order, unpack_status
from holdfast.replication.fields import to_bytes
from holdfast.runtime.notice import Notice
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.bell import Bell
from holdfast.runtime.transport.book import Entry, Registration, pack_book, unpack_registration
from holdfast.runtime.transport.channels import ANSWER, BOOK, OBSERVED, ORDER, QUESTION, REFUSAL, REGISTRATION, STATUS
from holdfast.runtime.transport.complaints import Complaints
from holdfast.runtime.transport.connection import Connection
from holdfast.runtime.transport.handshake import Identity, Role, Session
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Listening, host_of
from holdfast.runtime.transport.outbox import Outbox

Reply = Callable[[bytes], object]
TICKET_BYTES: Final = 8  # in front of a question to a worker, and of its answer
EVERYWHERE: Final = ("0.0.0.0", "::")  # what a worker may listen on, and nobody can call


class Desk:
    """One worker that is connected."""

    def __init__(self, token: trio.lowlevel.TrioToken, host: str) -> None:
        self.bell = Bell(token)
        self.outbox = Outbox(self.bell.ring)
        self.host = host  # it came from
        self.entry: Entry | None = None  # None: it has not registered
        self.connection: Connection | None = None


class _Asked:
    """A question to a worker."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.answer = b""
        self.answered = trio.Event()


class Reception:
    """All connections of the coordinator."""

    def __init__(
        self,
        own: Identity,
        secrets: tuple[bytes, ...],
        limits: Limits,
        *,
        admit: Callable[[Identity, Registration], str | None],
        on_status: Callable[[Status], None],
        on_lost: Callable[[str, int], None],
        answer: Callable[[bytes], bytes],
        report: Callable[[str], None],
        on_observed: Callable[[str, bytes], None] = lambda node, packed: None,
        take: Callable[[bytes, Reply], bool] = lambda question, reply: False,
    ) -> None:
        """`admit` may say why a worker can't take part. `on_lost` is told node and incarnation, `on_observed` the node.

        `on_observed` may raise FrameError. `take` takes questions whose answer comes later; others are for `answer`.
        """
        self._own = own
        self._secrets = secrets
        self._limits = replace(limits, message_bytes_max=FRAME_BYTES_MAX)
        self._admit = admit
        self._on_status = on_status
        self._on_lost = on_lost
        self._answer = answer
        self._on_observed = on_observed
        self._take_later = take
        self._asked: dict[bytes, _Asked] = {}  # by ticket: questions to workers
        self._tickets = count()
        self._report = Complaints(report)
        self._desks: dict[str, Desk] = {}  # by node; registered ones only
        self._token = trio.lowlevel.current_trio_token()

    async def run(self, listening: Listening) -> None:
        """Receive until cancelled."""
        await listening.serve(
            lambda: self._own,
            self._secrets,
            frozenset({Role.WORKER, Role.CLIENT}),
            self._limits,
            guest=self._receive,
            report=self._report,
        )

    def tell(self, node: str, order: Order) -> None:
        """Send an order, in place of what has not left yet; nothing happens while the worker is not connected."""
        desk = self._desks.get(node)
        if desk is not None:
            desk.outbox.put_latest(ORDER, pack_order(order))

    async def ask(self, node: str, question: bytes) -> bytes | None:
        """What a worker answers; None while it is not connected. Waits until it does: the caller sets a limit."""
        desk = self._desks.get(node)
        if desk is None:
            return None
        ticket = next(self._tickets).to_bytes(TICKET_BYTES, "big")
        asked = self._asked[ticket] = _Asked(node)
        try:
            desk.outbox.put(QUESTION, ticket + question)
            await asked.answered.wait()
        finally:
            del self._asked[ticket]
        return asked.answer

    @property
    def book(self) -> tuple[Entry, ...]:
        """Where the workers listen that are connected now, in order of node."""
        return tuple(desk.entry for _, desk in sorted(self._desks.items()) if desk.entry is not None)

    async def _receive(self, stream: trio.SocketStream, session: Session) -> None:
        desk = Desk(self._token, host_of(stream))
        take = self._take_question if session.peer.role is Role.CLIENT else self._take
        desk.connection = Connection(
            stream,
            session,
            outbox=desk.outbox,
            bell=desk.bell,
            on_message=lambda channel, message: take(desk, session.peer, channel, message),
            limits=self._limits,
        )
        reason = await desk.connection.run()
        if desk.entry is not None and self._desks.get(desk.entry.node) is desk:
            del self._desks[desk.entry.node]
            line = f"worker {desk.entry.node} at {desk.entry.address} is lost: {reason}"
            self._report(Notice(line, "worker-lost", level="warning", node=desk.entry.node, reason=reason))
            self._spread_book()
            self._on_lost(desk.entry.node, desk.entry.incarnation)
        elif session.peer.role is Role.WORKER and desk.entry is None:
            self._report(f"connection from {desk.host} closed: {reason}")

    def _take(self, desk: Desk, peer: Identity, channel: int, message: bytes) -> None:
        """A message of a worker."""
        if desk.entry is None:
            if channel != REGISTRATION:
                raise FrameError("a worker that has not registered")
            self._register(desk, peer, unpack_registration(message))
        elif channel == STATUS:
            status = unpack_status(message)
            if (status.node, status.incarnation) != (peer.node, peer.incarnation):
                raise FrameError("a status in the name of another worker")
            if self._desks.get(peer.node) is desk:
                self._on_status(status)
        elif channel == ANSWER:
            asked = self._asked.get(message[:TICKET_BYTES])
            if asked is not None and asked.node == peer.node:
                asked.answer = message[TICKET_BYTES:]
                asked.answered.set()
        elif channel == OBSERVED:
            if self._desks.get(peer.node) is desk:
                self._on_observed(peer.node, message)
        else:
            raise FrameError(f"a message of channel {channel} from a worker")

    def _register(self, desk: Desk, peer: Identity, registration: Registration) -> None:
        former = self._desks.get(peer.node)
        if former is not None and former.entry is not None and former.entry.incarnation > peer.incarnation:
            raise FrameError(f"it is an earlier life of node {peer.node}")
        refusal = self._admit(peer, registration)
        if refusal is not None:
            line = f"worker {peer.node} from {desk.host} can't take part: {refusal}"
            self._report(Notice(line, "worker-refused", level="warning", node=peer.node, reason=refusal))
            desk.outbox.put(REFUSAL, to_bytes(refusal))
            return
        address = registration.address
        if address.host in EVERYWHERE:
            address = Address(desk.host, address.port)
        desk.entry = Entry(peer.node, peer.incarnation, address)
        self._desks[peer.node] = desk
        if former is not None and former.connection is not None and former.entry is not None:
            former.connection.end("")
            if former.entry.incarnation != peer.incarnation:
                self._on_lost(peer.node, former.entry.incarnation)
        self._spread_book()

    def _spread_book(self) -> None:
        packed = pack_book(self.book)
        for desk in self._desks.values():
            desk.outbox.put_latest(BOOK, packed)

    def _take_question(self, desk: Desk, peer: Identity, channel: int, message: bytes) -> None:
        """A message of a command."""
        if channel != QUESTION:
            raise FrameError(f"a message of channel {channel} from a {peer.role.name.lower()}")
        if not self._take_later(message, lambda answer: desk.outbox.put(ANSWER, answer)):
            desk.outbox.put(ANSWER, self._answer(message))
