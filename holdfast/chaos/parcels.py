"""Messages of a cluster on the simulated network: really encoded, and decoded where they arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.recovery.messages import Order, Status
from holdfast.recovery.wire import decode_order, decode_status, encode_order, encode_status
from holdfast.replication.messages import Envelope
from holdfast.replication.wire import decode, encode

_ENCODE: dict[type, Callable[[Any], bytes]] = {Envelope: encode, Status: encode_status, Order: encode_order}
_DECODE: dict[type, Callable[[bytes], Any]] = {Envelope: decode, Status: decode_status, Order: decode_order}


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message on its way. Its kind is what the connection it travels on says."""

    kind: type
    packed: bytes

    @classmethod
    def pack(cls, message: Envelope | Status | Order) -> Parcel:
        """What leaves the sender."""
        return cls(type(message), _ENCODE[type(message)](message))

    def unpack(self) -> Any:
        """What reaches the receiver's machine."""
        return _DECODE[self.kind](self.packed)
