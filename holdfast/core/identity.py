"""A message's identity: what it is called, whenever and wherever it is processed.

Identity is the epoch-free part of a position, so it is equal in every run over the same records; it seeds
`ctx.random` and `ctx.uuid`. Invariant: at one step no two messages have the same identity, and none is a
prefix of another's. A path grows by one number where one message becomes several: at a port with several
consumers (the consumer's ordinal), at each output of a `flat_map`, at each output of a generator returned by
a stateful function or a timer's. Nothing else adds to it. The order in which messages are processed is not
decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import msgpack
import xxhash

Path: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MessageIdentity:
    """A message that came from a record."""

    source: str  # the source's name
    partition: int  # ordinal of the partition in its source: moving a file must not change what `ctx.uuid` gives
    number: int  # of the record in its partition, from 0
    path: Path = ()

    def child(self, ordinal: int) -> MessageIdentity:
        """The identity of one of the several messages that this one became."""
        return replace(self, path=(*self.path, ordinal))


@dataclass(frozen=True, slots=True)
class TimerIdentity:
    """A timer that fired, or a message that it caused."""

    step: str  # the stateful step's name
    key: bytes  # canonical
    due: int
    timer: str  # the timer's name
    path: Path = ()

    def child(self, ordinal: int) -> TimerIdentity:
        """The identity of one of the several messages that this timer caused."""
        return replace(self, path=(*self.path, ordinal))


Identity: TypeAlias = MessageIdentity | TimerIdentity


def seed(identity: Identity, step: str) -> int:
    """128 bits that depend on the identity and the step's name only."""
    match identity:
        case MessageIdentity(source, partition, number, path):
            parts: list[object] = ["message", source, partition, number, list(path), step]
        case TimerIdentity(owner, key, due, timer, path):
            parts = ["timer", owner, key, due, timer, list(path), step]
    packed: bytes = msgpack.packb(parts, unicode_errors="surrogatepass")
    return xxhash.xxh3_128_intdigest(packed)


def draw(seed_of_call: int, ordinal: int) -> int:
    """128 bits: the `ordinal`-th identifier that a call with this seed asks for."""
    return xxhash.xxh3_128_intdigest(seed_of_call.to_bytes(16, "big") + ordinal.to_bytes(8, "big"))
