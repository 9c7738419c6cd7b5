"""The handshake: both sides prove that they know the secret, and agree on who they are and on this connection's keys.

    dialer                              listener
    hello      64 bytes  ───────────→             who I am, what I come for, a number never used before
               64 bytes  ←───────────  challenge  who I am, a number never used before
    proofs     64 bytes  ───────────→             of all that, with my secret and, while it is changed, with the other
               32 bytes  ←───────────  proof      of all that, with the one that fitted

Pure: bytes in, bytes out; nonces are arguments. Invariant: when a side is done, the other one has seen the same hello
and challenge, and knows one of this side's secrets. Before that nothing but these fixed sizes is read. Without any
secret (loopback) the key is empty, proofs only show that both speak this version, and frames carry no tags.
Not here: frames (framing), limits of time and number (listener), who is let in for what (peers, control).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from holdfast.core.errors import FrameError

MAGIC: Final = b"HFST"
VERSION: Final = 1
NONCE_BYTES: Final = 16
UNKNOWN_CLUSTER: Final = bytes(16).hex()

_HELLO: Final = struct.Struct(">4sBBB16s16sQ16sx")  # magic, version, role, keyed, cluster, node, incarnation, nonce
HELLO_BYTES: Final = _HELLO.size
PROOF_BYTES: Final = 32
assert HELLO_BYTES == 2 * PROOF_BYTES == 64

_DIALER: Final = b"holdfast 1 proof of the dialer"
_LISTENER: Final = b"holdfast 1 proof of the listener"
_TO_LISTENER: Final = b"holdfast 1 key to the listener"
_TO_DIALER: Final = b"holdfast 1 key to the dialer"


class Role(IntEnum):
    """What a side is in this connection. The numbers are part of the protocol."""

    PEER = 1  # a worker that sends to another worker, or is sent to
    WORKER = 2  # a worker at the coordinator
    CLIENT = 3  # a command that asks
    COORDINATOR = 4


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a side says it is."""

    role: Role
    cluster: str  # 32 hexadecimal digits, as all ids; UNKNOWN_CLUSTER before it has joined one
    node: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Session:
    """What came out of a handshake."""

    peer: Identity
    sending: bytes | None  # keys of the tags; None: there are none
    receiving: bytes | None


class Dialer:
    """The side that connected. `hello` is to be sent at once."""

    def __init__(
        self,
        own: Identity,
        secrets: tuple[bytes, ...],
        nonce: bytes,
        *,
        listener: Role,
        node: str | None = None,
        incarnation: int | None = None,
    ) -> None:
        """`listener`, `node` and `incarnation` are who must answer; None: whoever it is."""
        self.hello = _hello(own, secrets, nonce)
        self.wanted = HELLO_BYTES  # bytes that the other side is to send next; 0: done
        self.session: Session | None = None
        self._own = own
        self._secrets = secrets or (b"",)
        self._expected = (listener, node, incarnation)
        self._transcript = b""
        self._peer: Identity | None = None

    def receive(self, data: bytes) -> bytes:
        """Take `wanted` bytes and give what is to be sent; FrameError where this must not go on."""
        assert len(data) == self.wanted
        if self._peer is None:
            self._peer = self._check_challenge(data)
            self._transcript = self.hello + data
            self.wanted = PROOF_BYTES
            first, last = self._secrets[0], self._secrets[-1]
            return _proof(first, _DIALER, self._transcript) + _proof(last, _DIALER, self._transcript)
        for secret in self._secrets:
            if hmac.compare_digest(data, _proof(secret, _LISTENER, self._transcript)):
                keys = _keys(secret, self._transcript)
                self.session = Session(self._peer, *keys) if secret else Session(self._peer, None, None)
                self.wanted = 0
                return b""
        raise FrameError("the other side did not prove that it knows the secret")

    def _check_challenge(self, data: bytes) -> Identity:
        peer, keyed = _identity(data)
        role, node, incarnation = self._expected
        if peer.role is not role:
            raise FrameError(f"a {peer.role.name.lower()} answered where a {role.name.lower()} should be")
        if node not in (None, peer.node) or incarnation not in (None, peer.incarnation):
            raise FrameError(f"node {peer.node}, incarnation {peer.incarnation}, answered in place of the one called")
        if self._own.cluster not in (UNKNOWN_CLUSTER, peer.cluster):
            raise FrameError(f"it belongs to another cluster, {peer.cluster}")
        if keyed != bool(self._secrets[0]):
            raise FrameError("it has a secret and we have none" if keyed else "it has no secret and we have one")
        return peer


class Listener:
    """The side that was connected to."""

    def __init__(self, own: Identity, secrets: tuple[bytes, ...], nonce: bytes, *, dialers: frozenset[Role]) -> None:
        """`dialers` are the roles that are let in."""
        self.wanted = HELLO_BYTES
        self.session: Session | None = None
        self._own = own
        self._secrets = secrets or (b"",)
        self._challenge = _hello(own, secrets, nonce)
        self._dialers = dialers
        self._transcript = b""
        self._peer: Identity | None = None

    def receive(self, data: bytes) -> bytes:
        """Take `wanted` bytes and give what is to be sent; FrameError where this must not go on."""
        assert len(data) == self.wanted
        if self._peer is None:
            self._peer = self._check_hello(data)
            self._transcript = data + self._challenge
            self.wanted = 2 * PROOF_BYTES
            return self._challenge
        for secret in self._secrets:
            proof = _proof(secret, _DIALER, self._transcript)
            # Both are always compared: which of them fitted must not show in the time that it took.
            first = hmac.compare_digest(data[:PROOF_BYTES], proof)
            if hmac.compare_digest(data[PROOF_BYTES:], proof) or first:
                receiving, sending = _keys(secret, self._transcript)
                self.session = Session(self._peer, sending, receiving) if secret else Session(self._peer, None, None)
                self.wanted = 0
                return _proof(secret, _LISTENER, self._transcript)
        raise FrameError("it did not prove that it knows the secret")

    def _check_hello(self, data: bytes) -> Identity:
        peer, keyed = _identity(data)
        if peer.role not in self._dialers:
            raise FrameError(f"a {peer.role.name.lower()} has no business here")
        # A new worker and a command learn the cluster here; a peer was told whom to call.
        stranger = peer.cluster == UNKNOWN_CLUSTER and peer.role is not Role.PEER
        if peer.cluster != self._own.cluster and not stranger:
            raise FrameError(f"it belongs to another cluster, {peer.cluster}")
        if peer.node == self._own.node:
            raise FrameError("it says it is this node itself")
        if keyed != bool(self._secrets[0]):
            raise FrameError("it has a secret and we have none" if keyed else "it has no secret and we have one")
        return peer


def _hello(own: Identity, secrets: tuple[bytes, ...], nonce: bytes) -> bytes:
    assert len(nonce) == NONCE_BYTES
    cluster, node = bytes.fromhex(own.cluster), bytes.fromhex(own.node)
    assert len(cluster) == len(node) == 16, "ids are 32 hexadecimal digits"
    return _HELLO.pack(MAGIC, VERSION, own.role, bool(secrets), cluster, node, own.incarnation, nonce)


def _identity(data: bytes) -> tuple[Identity, bool]:
    """Who a hello or challenge says it is from, and whether its sender has a secret."""
    magic, version, role, keyed, cluster, node, incarnation, _nonce = _HELLO.unpack(data)
    if magic != MAGIC:
        raise FrameError("it does not speak this protocol")
    if version != VERSION:
        raise FrameError(f"it speaks version {version} of this protocol, we speak {VERSION}")
    if role not in set(Role) or keyed > 1 or data[-1]:
        raise FrameError("a malformed hello")
    return Identity(Role(role), cluster.hex(), node.hex(), incarnation), bool(keyed)


def _proof(secret: bytes, label: bytes, transcript: bytes) -> bytes:
    return hmac.digest(secret, label + transcript, hashlib.sha256)


def _keys(secret: bytes, transcript: bytes) -> tuple[bytes, bytes]:
    """The keys of what goes to the listener, and to the dialer."""
    return _proof(secret, _TO_LISTENER, transcript), _proof(secret, _TO_DIALER, transcript)
