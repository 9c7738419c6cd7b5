"""What happened in a world: a digest over all of it, and the last few things as text.

Invariant: what counts for the digest, and a line, depends on the seed and the program alone, never on an address, the
hash seed or the order of a set. Hence payloads that are Python values are noted by their number, and bytes by their
digest. Lines are written only where somebody reads them: writing all of them was a tenth of a world's time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import xxhash

from holdfast.core.epochs import Chunk, Cursor, Epoch, LogEntry
from holdfast.recovery.events import Kept
from holdfast.recovery.generation import Checkpoint, Formation, Limit
from holdfast.recovery.messages import Order, Status
from holdfast.replication.messages import Envelope
from holdfast.worker.events import Ticked

KEPT_LINES = 200

Line = tuple[float | None, str, str, object]  # when, at which machine, "event", "order", "done" or "", what


class Trace:
    """The history of one world."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        """Every line is given to `show` as it comes, if there is one."""
        self._last: deque[Line] = deque(maxlen=KEPT_LINES)
        self._digest = xxhash.xxh3_64()
        self._show = show

    def event(self, now: float, event: object, who: str = "") -> None:
        """A machine handled an event. Its orders stand before it."""
        if type(event) is Ticked and self._last:
            _, before, what, last = self._last[-1]
            if what == "event" and before == who and type(last) is Ticked:
                self._last.pop()  # of many in a row the last is enough
        self._add((now, who, "event", event), type(event).__name__)

    def effect(self, effect: object, who: str = "") -> None:
        """A machine gave an order."""
        self._add((None, who, "order", effect), type(effect).__name__)

    def done(self, now: float, order: object, who: str = "") -> None:
        """An order was carried out."""
        self._add((now, who, "done", order), type(order).__name__)

    def note(self, now: float, text: str) -> None:
        """Anything else."""
        self._add((now, "", "", text), text)

    def sent(self, packed: bytes) -> None:
        """A message left a machine."""
        self._digest.update(packed)

    def digest(self) -> str:
        """Return the digest of everything up to now."""
        return self._digest.hexdigest()

    def lines(self) -> list[str]:
        """Return the last things that happened, as text."""
        return [_text(*line) for line in self._last]

    def _add(self, line: Line, what: str) -> None:
        self._last.append(line)
        now, who, kind, _ = line
        self._digest.update(f"{now} {who} {kind} {what}".encode())
        if self._show is not None:
            self._show(_text(*line))


def _text(now: float | None, who: str, kind: str, thing: object) -> str:
    time = f"{now:12.3f}" if now is not None else " " * 12
    if kind == "":
        return f"{time}    {thing}"
    return f"{time} {who:<2} {kind:<5} {type(thing).__name__ if kind == 'done' else describe(thing)}"


def _status(status: Status) -> str:
    said = [status.phase.value, f"of {status.generation}", f"promised {status.promised}", f"sealed {status.sealed}"]
    said += [f"closed {status.closed}", f"applied {status.applied}", f"prepared {status.prepared}"]
    flags = ("resting", "located", "ended", "caught_up", "changed", "report")
    said += [name for name in flags if getattr(status, name)]
    complaints = [(name, getattr(status, name)) for name in ("lost", "careful", "failure", "fatal")]
    said += [f"{name} {value!r}" for name, value in complaints if value]
    return f"status {status.node}/{status.incarnation} #{status.number}: {', '.join(said)}"


def _formation(formation: Formation) -> str:
    members = ", ".join(f"{m.node}/{m.incarnation}" for m in formation.members)
    checkpoint = formation.checkpoint.number if formation.checkpoint is not None else 0
    where = "in memory" if formation.in_memory else f"checkpoint {checkpoint}"
    return f"formation {formation.number} of {members} at cut {formation.cut} {where}, level {formation.level}"


def _envelope(envelope: Envelope) -> str:
    reached = envelope.reached
    at = f"{reached.durable}/{reached.replicated}/{reached.delivered}"
    return f"{envelope.generation}/{envelope.sender} #{envelope.number} at {at} {describe(envelope.message)}"


_SHOWN: dict[type, Callable[[Any], str]] = {
    Status: _status,
    Formation: _formation,
    Envelope: _envelope,
    Order: lambda order: f"to /{order.incarnation} #{order.number} {describe(order.order)}",
    Chunk: lambda chunk: f"p{chunk.partition} {chunk.first}+{chunk.count} at {chunk.time}",
    LogEntry: lambda entry: f"entry {entry.generation}/{entry.epoch} {_brief(entry.chunk)}",
    Cursor: lambda cursor: f"cursor {cursor.epoch} {cursor.number}",
    Checkpoint: lambda checkpoint: f"checkpoint {checkpoint.number} at {checkpoint.epoch}",
    Limit: repr,
    Kept: lambda kept: f"drawn {kept.drawn}, {_brief(kept.formation)}, {_brief(kept.checkpoint)}",
}
_FIELDS: dict[type, tuple[str, ...]] = {}


def describe(thing: object) -> str:
    """Return the name and the fields of an event or an effect."""
    kind = type(thing)
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = tuple(field.name for field in fields(thing) if field.name != "now")  # type: ignore[arg-type]
    return f"{kind.__name__}({', '.join(f'{name}={_brief(getattr(thing, name))}' for name in names)})"


def _brief(value: object) -> str:
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes {xxhash.xxh3_64_hexdigest(value)[:6]}>"
    if isinstance(value, (tuple, list)):
        if len(value) > 4 or not all(v is None or isinstance(v, (int, bytes, LogEntry)) for v in value):
            return f"<{len(value)} items>"
        return "(" + ", ".join(map(_brief, value)) + ")"
    if isinstance(value, Epoch):
        return (
            f"<epoch {value.number}: {sum(chunk.count for chunk in value.chunks)} records, time {value.time}>"
        )
    shown = _SHOWN.get(type(value))
    if shown is not None:
        return f"<{shown(value)}>"
    return f"<{type(value).__name__}>"
