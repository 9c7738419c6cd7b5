"""A worker's connection to the coordinator: statuses up, orders and address books down, the newest of each.

Whatever is lost here is said again, so that nothing needs to be told when the connection breaks: it is made again,
begins with the registration, and goes on with the newest status. Invariant: an order is passed on only from the
coordinator of the cluster that was joined first.
A status that only says how far a worker has got may wait for a moment, because the next one says more.
Threads: `send` belongs to the engine, everything else to trio.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

import trio

from holdfast.core.errors import FrameError
from holdfast.recovery.messages import Order, Status
from holdfast.recovery.wire import FRAME_BYTES_MAX, pack_status, unpack_order
from holdfast.replication.fields import to_text
from holdfast.runtime.notice import Notice
from holdfast.runtime.transport.addresses import Address
from holdfast.runtime.transport.bell import Bell
from holdfast.runtime.transport.book import Entry, Registration, pack_registration, unpack_book
from holdfast.runtime.transport.channels import ANSWER, BOOK, OBSERVED, ORDER, QUESTION, REFUSAL, REGISTRATION, STATUS
from holdfast.runtime.transport.complaints import Complaints
from holdfast.runtime.transport.connection import Connection
from holdfast.runtime.transport.dialer import Called, keep_calling
from holdfast.runtime.transport.handshake import UNKNOWN_CLUSTER, Identity, Role, Session
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.outbox import Outbox

NUMBERS: Final[dict[str, Any]] = {"number": 0, "sealed": 0, "closed": 0, "applied": 0, "delivered": 0, "changed": False}
NUMBERS_SECONDS: Final = 0.02


class CoordinatorLine:
    """Made and run inside trio."""

    def __init__(
        self,
        own: Identity,
        coordinator: Address,
        secrets: tuple[bytes, ...],
        limits: Limits,
        *,
        registration: Registration,
        on_joined: Callable[[str], None],
        on_order: Callable[[Order], None],
        on_book: Callable[[tuple[Entry, ...]], None],
        on_refused: Callable[[str], None],
        report: Callable[[str], None],
        random: Random,
        on_question: Callable[[bytes], None] = lambda question: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_joined` is told the cluster, at every connection, `on_lost` that it is gone; the others what has come.

        After `on_refused` nothing more comes: the coordinator has said why this worker can't take part.
        """
        self._own = replace(own, role=Role.WORKER)
        self._called = Called(coordinator, Role.COORDINATOR)
        self._secrets = secrets
        self._limits = replace(limits, message_bytes_max=FRAME_BYTES_MAX)
        self._registration = pack_registration(registration)
        self._on_joined = on_joined
        self._on_order = on_order
        self._on_book = on_book
        self._on_refused = on_refused
        self._on_question = on_question
        self._on_lost = on_lost
        self._report = Complaints(report)
        self._random = random
        self._bell = Bell(trio.lowlevel.current_trio_token())
        self._outbox = Outbox(self._bell.ring)
        self._told = ""
        self._lock = threading.Lock()  # of what follows
        self._said: Status | None = None  # the last one that was more than numbers, on this connection
        self._waiting: Status | None = None
        self._late = Bell(trio.lowlevel.current_trio_token())

    def send(self, status: Status) -> None:
        """Tell the coordinator, in place of what has not left yet. Any thread may call it."""
        news = replace(status, **NUMBERS)
        with self._lock:
            was_waiting = self._waiting is not None
            if news == self._said:
                self._waiting = status
            else:
                self._said, self._waiting = news, None
                self._outbox.put_latest(STATUS, pack_status(status))
        if self._waiting is not None and not was_waiting:
            self._late.ring()

    async def _tell_later(self) -> None:
        while True:
            await self._late.wait()
            await trio.sleep(NUMBERS_SECONDS)
            with self._lock:
                status, self._waiting = self._waiting, None
                if status is not None:
                    self._outbox.put_latest(STATUS, pack_status(status))

    def observe(self, packed: bytes) -> None:
        """Tell it numbers for people, in place of what has not left yet. Any thread may call it."""
        self._outbox.put_latest(OBSERVED, packed)

    def answer(self, packed: bytes) -> None:
        """Answer a question of its. Any thread may call it."""
        self._outbox.put(ANSWER, packed)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_later)
            await keep_calling(
                self._called,
                lambda: self._own,
                self._secrets,
                self._limits,
                self._random,
                live=self._live,
                on_lost=self._lose,
            )

    async def _live(self, stream: trio.SocketStream, session: Session) -> str:
        if self._own.cluster == UNKNOWN_CLUSTER:
            self._own = replace(self._own, cluster=session.peer.cluster)
        if self._told:
            self._report(Notice(f"the coordinator at {self._called.address} is there again", "coordinator-restored"))
            self._told = ""
        with self._lock:
            self._said = None  # on another connection
        self._on_joined(session.peer.cluster)
        connection = Connection(
            stream,
            session,
            outbox=self._outbox,
            bell=self._bell,
            on_message=self._take,
            limits=self._limits,
        )
        return await connection.run(first=[(REGISTRATION, self._registration)])

    def _lose(self, reason: str) -> None:
        self._on_lost()
        if reason != self._told:
            line = f"the coordinator at {self._called.address} is lost: {reason}"
            self._report(Notice(line, "coordinator-lost", level="warning", reason=reason))
            self._told = reason

    def _take(self, channel: int, message: bytes) -> None:
        if channel == ORDER:
            self._on_order(unpack_order(message))
        elif channel == BOOK:
            self._on_book(unpack_book(message))
        elif channel == QUESTION:
            self._on_question(message)
        elif channel == REFUSAL:
            self._on_refused(to_text(message))
        else:
            raise FrameError(f"a message of channel {channel} from the coordinator")
