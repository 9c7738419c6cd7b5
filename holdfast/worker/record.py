"""The record of a checkpoint: what a start has to know before it reads the chunks.

It is the one thing that makes a checkpoint count; the fields are part of the data format, in this order.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import msgpack


@dataclass(frozen=True, slots=True)
class Record:
    """What the store keeps of the last complete checkpoint, beside its chunks."""

    checkpoint: int
    epoch: int  # everything up to it is applied …
    skip: int  # … and so many records of the epoch after it …
    fired: bool  # … with the timers of the turn that begins there
    time: int  # of the last turn
    generation: int
    ended: bool  # all sources had ended and everything was sealed
    clean: bool  # made by a stop: nothing beyond it was delivered
    rows: int  # on disk, in the chunks that count
    spaces: dict[str, int]  # stateful step -> number of its rows; empty where all entities are in the chunks

    def pack(self) -> bytes:
        """As stored."""
        packed: bytes = msgpack.packb(astuple(self), unicode_errors="surrogatepass")
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Record:
        """What `pack` packed."""
        return cls(*msgpack.unpackb(packed, unicode_errors="surrogatepass"))
