"""Messages of a cluster on the simulated network: really encoded, and decoded where they arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.recovery.messages import Order, Status
from holdfast.recovery.wire import pack_order, pack_status, unpack_order, unpack_status
from holdfast.replication.messages import Envelope
from holdfast.replication.wire import pack, unpack

_PACK: dict[type, Callable[[Any], bytes]] = {Envelope: pack, Status: pack_status, Order: pack_order}
_UNPACK: dict[type, Callable[[bytes], Any]] = {Envelope: unpack, Status: unpack_status, Order: unpack_order}


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message on its way. Its kind is what the connection it travels on says."""

    kind: type
    packed: bytes

    @classmethod
    def pack(cls, message: Envelope | Status | Order) -> Parcel:
        """What leaves the sender."""
        return cls(type(message), _PACK[type(message)](message))

    def unpack(self) -> Any:
        """What reaches the receiver's machine."""
        return _UNPACK[self.kind](self.packed)
