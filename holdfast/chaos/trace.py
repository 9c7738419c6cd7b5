"""What happened in a world, as lines: a digest over all of them, and the last few as text.

Invariant: a line depends on the seed and the program alone, never on an address, the hash seed or the order
of a set. Hence payloads that are Python values are noted by their number, and bytes by their digest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import fields

import xxhash

from holdfast.core.epochs import Epoch
from holdfast.worker.events import Ticked

KEPT_LINES = 200


class Trace:
    """The history of one world."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        """Every line is given to `show` as it comes, if there is one."""
        self.last: deque[str] = deque(maxlen=KEPT_LINES)
        self._digest = xxhash.xxh3_64()
        self._show = show

    def event(self, now: float, event: object) -> None:
        """A machine handled an event. Its orders stand before it."""
        line = f"{now:12.3f}    event {describe(event)}"
        if type(event) is Ticked and self.last and self.last[-1].endswith("event Ticked()"):
            self.last.pop()  # of many in a row the last is enough
        self._add(line)

    def effect(self, effect: object) -> None:
        """A machine gave an order."""
        self._add(f"{'':>16}order {describe(effect)}")

    def done(self, now: float, order: object) -> None:
        """An order was carried out."""
        self.note(now, f"done  {type(order).__name__}")

    def note(self, now: float, text: str) -> None:
        """Anything else."""
        self._add(f"{now:12.3f}    {text}")

    def digest(self) -> str:
        """Return the digest of all lines up to now."""
        return self._digest.hexdigest()

    def _add(self, line: str) -> None:
        self.last.append(line)
        self._digest.update(line.encode())
        if self._show is not None:
            self._show(line)


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
        if len(value) > 4 or not all(v is None or isinstance(v, (int, bytes)) for v in value):
            return f"<{len(value)} items>"
        return "(" + ", ".join(map(_brief, value)) + ")"
    if isinstance(value, Epoch):
        return (
            f"<epoch {value.number}: {sum(chunk.count for chunk in value.chunks)} records, time {value.time}>"
        )
    return f"<{type(value).__name__}>"
