"""How long and how much: what bounds every connection, with the reasons for the values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Tests set cruel ones."""

    handshake_seconds: float = 5.0
    # Connections whose dialers have not proven anything yet: what strangers can hold open. One machine may start a
    # few dozen workers at once.
    strangers_per_host_max: int = 32
    strangers_max: int = 128
    connect_seconds: float = 5.0  # a host that is off does not answer at all
    retry_seconds_min: float = 0.05  # before a connection is tried again; doubled each time …
    retry_seconds_max: float = 1.0  # … up to this: what a link costs that comes back
    beat_seconds: float = 1.0  # something is sent at least this often
    # Nothing heard for this long: the other side is taken for dead. A function of a user that holds the interpreter
    # for longer than this, in one call, is as well: a new generation, and nothing worse.
    silence_seconds: float = 10.0
    queue_bytes_max: int = 1 << 28  # waiting for one peer that takes nothing: then the link is given up
    slow_bytes: int = 1 << 23  # waiting for one peer: then it counts as slow, and sources are not read
    slow_seconds: float = 1.0  # likewise, if the same bytes wait for so long
    message_bytes_max: int = 1 << 28
