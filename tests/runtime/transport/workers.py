"""Workers as far as their links go: a test takes what has come in place of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio

from holdfast.replication.messages import Beat, Envelope, Reached, UpdateSet
from holdfast.runtime.transport.book import Entry
from holdfast.runtime.transport.handshake import Identity, Role, Session
from holdfast.runtime.transport.inbox import Inbox
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Listening
from holdfast.runtime.transport.peers import Peers
from holdfast.worker.cluster_events import LinkLost, PeerSent
from tests.runtime.transport.network import QUICK, Lines, listening

SECRETS = (b"s" * 32,)
CLUSTER = "c" * 32


async def have_no_client(stream: trio.SocketStream, session: Session) -> None:
    raise AssertionError("no client comes here")


class Worker:
    """A worker as far as its links go."""

    def __init__(self, name: str, open_listening: Listening, limits: Limits, incarnation: int, secrets: Any) -> None:
        self.node = name * 32
        self.own = Identity(Role.PEER, CLUSTER, self.node, incarnation)
        self.listening = open_listening
        self.lines = Lines()
        self.inbox = Inbox()
        self.is_over = False
        self._events: list[Any] = []
        self.peers = Peers(
            *(self.own, secrets, limits),
            inbox=self.inbox,
            report=self.lines.report,
            random=Random(1),
            have_client=have_no_client,
        )
        self.entry = Entry(self.node, incarnation, open_listening.address)
        self.sent = 0

    @property
    def events(self) -> list[Any]:
        """All that has come, taken here in place of the engine."""
        if not self.is_over:
            self._events += self.inbox.take()
        return self._events

    def end(self) -> None:
        _, self.is_over = self.events, True
        self.inbox.close()

    def envelope(self, size: int = 0) -> Envelope:
        self.sent += 1
        message = UpdateSet(1, (bytes(size),)) if size else Beat()
        return Envelope(7, self.node, self.own.incarnation, self.sent, Reached(1, 1, 1, 1, None), message)

    def send(self, to: Worker, size: int = 0) -> None:
        self.peers.send(to.node, [self.envelope(size)])

    def heard_of(self, other: Worker) -> list[int]:
        """Numbers of the messages of another worker."""
        return [e.envelope.number for e in self.events if isinstance(e, PeerSent) and e.envelope.sender == other.node]

    def losses(self, other: Worker) -> int:
        return sum(isinstance(event, LinkLost) and event.node == other.node for event in self.events)


@asynccontextmanager
async def workers(
    names: str = "ab", limits: Limits = QUICK, incarnation: int = 1, secrets: tuple[bytes, ...] = SECRETS
) -> AsyncIterator[tuple[list[Worker], trio.Nursery]]:
    made = [Worker(name, await listening(secrets), limits, incarnation, secrets) for name in names]
    async with trio.open_nursery() as nursery:
        for worker in made:
            nursery.start_soon(worker.peers.run, worker.listening)
        yield made, nursery
        nursery.cancel_scope.cancel()
    for worker in made:
        worker.end()


def introduce(*workers: Worker) -> None:
    for worker in workers:
        worker.peers.know([other.entry for other in workers])
