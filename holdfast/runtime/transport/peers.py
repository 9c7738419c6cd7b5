"""The links of a worker: one connection to each peer that it dialed, one from each that dialed it.

Messages go out on the connection that their sender dialed. Nothing is ever sent twice: when a connection breaks, what
was under way or waiting is dropped, `LinkLost` is told, and a new connection is made for what comes later.
Invariants: whatever was dropped, a `LinkLost` of that node follows it; an envelope is passed on only if its sender and
incarnation are those that were proven; waiting bytes are bounded: what is not handled is not read, and the peer keeps
it.
Threads: `send` belongs to the engine, which also reads what peers send, by way of its inbox; everything else belongs to
trio. What envelopes mean is the machine's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

import trio

from holdfast.core.errors import FrameError
from holdfast.replication import wire
from holdfast.replication.messages import Envelope
from holdfast.runtime.clock import now
from holdfast.runtime.notice import Notice
from holdfast.runtime.transport.bell import Bell
from holdfast.runtime.transport.book import Entry
from holdfast.runtime.transport.channels import ENVELOPE
from holdfast.runtime.transport.complaints import Complaints
from holdfast.runtime.transport.connection import Connection
from holdfast.runtime.transport.dialer import Called, keep_calling
from holdfast.runtime.transport.handshake import Identity, Role, Session
from holdfast.runtime.transport.inbox import Inbox
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.listener import Guest, Listening
from holdfast.runtime.transport.outbox import Outbox
from holdfast.worker.cluster_events import LinkLost, PeerSent

MOVING_TIMES: Final = 16  # as much as for a link that stands still may wait for one that moves


class _Link:
    """What goes to one peer."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self.bell = Bell(token)
        self.outbox = Outbox(self.bell.ring)
        self.entry: Entry | None = None  # None: nobody has said yet where it listens
        self.calling: trio.CancelScope | None = None
        self.connection: Connection | None = None
        self.slow = False
        self.told = ""  # the last reason reported, so that a peer that stays away is reported once


class Peers:
    """All links of one worker. Made and run inside trio."""

    def __init__(
        self,
        own: Identity,
        secrets: tuple[bytes, ...],
        limits: Limits,
        *,
        inbox: Inbox,
        report: Callable[[str], None],
        random: Random,
        have_client: Guest,
    ) -> None:
        """`inbox` takes events for the machine, `report` lines for people."""
        self._own = own
        self._secrets = secrets
        self._limits = limits
        self._inbox = inbox
        self._report = Complaints(report)
        self._random = random
        self._have_client = have_client
        self._lock = threading.Lock()  # for the dict, which `send` reads and may add to
        self._links: dict[str, _Link] = {}
        self._guests: dict[str, Connection] = {}  # node -> the connection that it dialed
        self._book: dict[str, Entry] = {}  # who is called, where
        self._listed: set[str] = set()  # those of them that the coordinator sees
        self._nursery: trio.Nursery | None = None
        self._token = trio.lowlevel.current_trio_token()

    async def run(self, listening: Listening) -> None:
        """Listen and call until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for node in self._book:
                self._start_calling(node)
            await listening.serve(
                lambda: self._own,
                self._secrets,
                frozenset({Role.PEER, Role.CLIENT}),
                self._limits,
                guest=self._have_guest,
                report=self._report,
            )

    # --- for the engine

    def send(self, node: str, envelopes: Sequence[Envelope]) -> None:
        """Send to a peer, behind what was sent before; never waits."""
        packed = [wire.pack(envelope) for envelope in envelopes]
        link = self._links.get(node)
        if link is None:
            with self._lock:
                link = self._links.setdefault(node, _Link(self._token))
        waiting = link.outbox.put_all(ENVELOPE, packed)
        if waiting > self._limits.queue_bytes_max:
            try:
                self._token.run_sync_soon(self._give_up, node, link)
            except trio.RunFinishedError:
                pass  # the process ends

    @property
    def is_crowded(self) -> bool:
        """Whether a peer is slow, so that no more should be read from sources for now."""
        return any(link.slow for link in list(self._links.values()))

    def bytes_waiting(self) -> dict[str, int]:
        """What waits to be sent, by node."""
        return {node: link.outbox.bytes_waiting for node, link in list(self._links.items())}

    def slow(self) -> list[str]:
        """The nodes that don't take what waits for them."""
        return [node for node, link in list(self._links.items()) if link.slow]

    # --- for trio

    def know(self, book: Iterable[Entry]) -> None:
        """This is where the workers listen that the coordinator sees now.

        A coordinator that has just started sees few of them: a link that works is kept though its peer is not listed.
        """
        found = {entry.node: entry for entry in book if entry.node != self._own.node}
        self._listed = set(found)
        for node, entry in found.items():
            if self._book.get(node) != entry:
                if node in self._book:
                    self._stop_calling(node)
                self._book[node] = entry
                if self._nursery is not None:
                    self._start_calling(node)
        for node in set(self._book) - self._listed:
            if self._link(node).connection is None:
                self._stop_calling(node)

    def _link(self, node: str) -> _Link:
        with self._lock:
            return self._links.setdefault(node, _Link(self._token))

    def _start_calling(self, node: str) -> None:
        assert self._nursery is not None
        entry, link = self._book[node], self._link(node)
        link.calling = trio.CancelScope()
        self._nursery.start_soon(self._keep_calling, entry, link, link.calling)

    async def _keep_calling(self, entry: Entry, link: _Link, scope: trio.CancelScope) -> None:
        called = Called(entry.address, Role.PEER, entry.node, entry.incarnation)

        async def live(stream: trio.SocketStream, session: Session) -> str:
            if link.told:
                line = f"the link to node {entry.node} at {entry.address} is there again"
                self._report(Notice(line, "link-restored", node=entry.node))
                link.told = ""
            link.connection = Connection(
                stream,
                session,
                outbox=link.outbox,
                bell=link.bell,
                on_message=_refuse,
                limits=self._limits,
                on_slow=lambda slow: self._note_slow(entry, link, slow),
            )
            return await link.connection.run()

        with scope:
            await keep_calling(
                called,
                lambda: self._own,
                self._secrets,
                self._limits,
                self._random,
                live=live,
                on_lost=lambda reason: None if scope.cancel_called else self._lose(entry, link, reason),
            )

    def _lose(self, entry: Entry, link: _Link, reason: str) -> None:
        if entry.node not in self._listed:
            self._report(_link_lost(entry, reason))
            self._stop_calling(entry.node)
            return
        link.connection = None
        link.outbox.clear()
        if link.told != reason:
            self._report(_link_lost(entry, reason))
            link.told = reason
        self._inbox.put(LinkLost(now(), entry.node))

    def _stop_calling(self, node: str) -> None:
        """Nobody of this incarnation is to be reached there any more."""
        del self._book[node]
        link = self._link(node)
        if link.calling is not None:
            link.calling.cancel()
        link.calling = link.connection = None
        link.outbox.disconnect()
        link.outbox.clear()
        link.told = ""
        self._inbox.put(LinkLost(now(), node))

    def _give_up(self, node: str, link: _Link) -> None:
        """More waits than may. While it moves that is no reason to give up: a new backup gets all that there is."""
        waiting = link.outbox.bytes_waiting
        if waiting <= self._limits.queue_bytes_max:
            return  # dropped meanwhile
        if link.connection is not None:
            if waiting > MOVING_TIMES * self._limits.queue_bytes_max:
                link.connection.end(f"{waiting} bytes wait for it, more than it may ever be behind")
        else:
            link.outbox.clear()
            self._inbox.put(LinkLost(now(), node))

    def _note_slow(self, entry: Entry, link: _Link, slow: bool) -> None:
        if slow and not link.slow:
            waiting = link.outbox.bytes_waiting
            line = f"node {entry.node} at {entry.address} is slow: {waiting} bytes wait for it"
            self._report(Notice(line, "slow", level="warning", node=entry.node, bytes_waiting=waiting))
        link.slow = slow

    async def _have_guest(self, stream: trio.SocketStream, session: Session) -> None:
        """A peer has dialed: it sends, we listen."""
        peer = session.peer
        if peer.role is Role.CLIENT:
            await self._have_client(stream, session)
            return
        entry, former = self._book.get(peer.node), self._guests.get(peer.node)
        latest = max(
            entry.incarnation if entry is not None else 0,
            former.session.peer.incarnation if former is not None else 0,
        )
        if peer.incarnation < latest:
            raise FrameError(f"it is an earlier life of node {peer.node}")
        bell = Bell(self._token)
        connection = Connection(
            stream,
            session,
            outbox=Outbox(bell.ring),  # for beats alone
            bell=bell,
            on_message=lambda channel, message: self._take(session, channel, message),
            limits=self._limits,
            inbox=self._inbox,
        )
        self._guests[peer.node] = connection
        if former is not None:
            former.end("")
            if former.session.peer.incarnation == peer.incarnation:
                # Before anything of the new connection is read: what the old one lost was lost before that.
                self._inbox.put(LinkLost(now(), peer.node))
        reason = await connection.run()
        if self._guests.get(peer.node) is not connection:
            return
        del self._guests[peer.node]
        entry = self._book.get(peer.node)
        if entry is None or entry.incarnation <= peer.incarnation:
            line = f"the link from node {peer.node} is lost: {reason}"
            self._report(Notice(line, "link-lost", level="warning", node=peer.node, reason=reason))
            self._inbox.put(LinkLost(now(), peer.node))

    def _take(self, session: Session, channel: int, message: bytes) -> None:
        if channel != ENVELOPE:
            raise FrameError(f"a message of channel {channel} from a peer")
        envelope = wire.unpack(message)
        if (envelope.sender, envelope.incarnation) != (session.peer.node, session.peer.incarnation):
            raise FrameError("an envelope in the name of another sender")
        self._inbox.put(PeerSent(now(), envelope))


def _refuse(channel: int, message: bytes) -> None:
    """Envelopes come on the connection that their sender dialed."""
    raise FrameError(f"{len(message)} bytes on channel {channel} of a connection that only takes")


def _link_lost(entry: Entry, reason: str) -> Notice:
    line = f"the link to node {entry.node} at {entry.address} is lost: {reason}"
    return Notice(line, "link-lost", level="warning", node=entry.node, reason=reason)
