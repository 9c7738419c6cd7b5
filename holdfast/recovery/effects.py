"""What the coordinator orders: the only way out."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.recovery.events import Kept
from holdfast.recovery.messages import Order


@dataclass(frozen=True, slots=True)
class Tell:
    """Send to a worker; replaces any order to it that has not left yet. May be lost: it is said again."""

    node: str
    order: Order


@dataclass(frozen=True, slots=True)
class Store:
    """Make this durable in place of what is kept; one at a time. Answer: Stored."""

    ticket: int
    kept: Kept


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing can go on before something returns; `reason` says what. Empty: it goes on. For people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is sealed, checkpointed and told. Nothing follows."""

    ended: bool  # every source has ended
    error: str | None


Effect = Tell | Store | Waiting | Finish
