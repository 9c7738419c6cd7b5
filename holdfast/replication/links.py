"""Links: the messages between this member and its peers in one generation, numbered in both directions.

Invariant: what `accept` gives back is what the peer sent in this generation, in order, without a gap and each message once.
A gap breaks the link for good; only another generation makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.replication.messages import Envelope, Message, Reached


@dataclass(slots=True)
class Link:
    """Both directions between this member and one peer."""

    incarnation: int  # of the peer
    sent: int = 0
    received: int = 0
    broken: bool = False


class Links:
    """All links of one member in one generation."""

    def __init__(self, generation: int, node: str, incarnation: int, peers: Iterable[tuple[str, int]]) -> None:
        """`peers` are (node, incarnation) of the other members."""
        self.generation = generation
        self.node = node
        self.incarnation = incarnation
        self.peers = {peer: Link(number) for peer, number in peers}

    def wrap(self, peer: str, reached: Reached, message: Message) -> Envelope:
        """The next message to a peer."""
        link = self.peers[peer]
        link.sent += 1
        return Envelope(self.generation, self.node, self.incarnation, link.sent, reached, message)

    def accept(self, envelope: Envelope) -> bool:
        """Whether this is the next message on its link; anything else is old, repeated, foreign, or breaks the link."""
        link = self.peers.get(envelope.sender)
        # A zombie's frames, and those of a peer's earlier life, must change nothing.
        if link is None or envelope.generation != self.generation or envelope.incarnation != link.incarnation:
            return False
        if link.broken or envelope.number <= link.received:
            return False
        if envelope.number != link.received + 1:
            link.broken = True  # what was lost is not sent again; going on without it would tear a hole
            return False
        link.received += 1
        return True

    def lose(self, peer: str) -> None:
        """The connection to a peer is gone: what was under way may never come."""
        link = self.peers.get(peer)
        if link is not None:
            link.broken = True

    @property
    def lost(self) -> tuple[str, ...]:
        """Peers that can't be reached or heard any more in this generation."""
        return tuple(sorted([peer for peer, link in self.peers.items() if link.broken]))
