"""Comparing what the engine wrote with what the reference says, sink by sink and byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN_BYTES_MAX = 200
IDENTICAL = "IDENTICAL"
DIFFERS = "DIFFERS"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two outputs are not the same."""

    sink: str  # in quotes, with its partition where it has several
    output: int  # number, from 1
    offset: int  # byte in the whole output
    expected: bytes | None  # None: nothing more was expected
    found: bytes | None  # None: nothing more was written

    def lines(self) -> list[str]:
        """Return it as text."""
        return [
            f"first difference: sink {self.sink}, output {self.output}, byte {self.offset}",
            f"  reference: {_shown(self.expected)}",
            f"  engine:    {_shown(self.found)}",
        ]


def compare(sink: str, expected: Sequence[bytes], path: Path) -> Difference | None:
    """Compare a captured file with the outputs that the reference gave."""
    found = path.read_bytes() if path.exists() else b""
    if found == b"".join(expected):
        return None
    start = 0
    for number, piece in enumerate(expected, 1):
        end = start + len(piece)
        if found[start:end] != piece:
            rest = found[start:]
            shown = rest[: rest.find(b"\n") + 1] if b"\n" in rest and piece.endswith(b"\n") else rest[: len(piece)]
            offset = start + _first_difference(piece, rest)
            return Difference(sink, number, offset, piece, shown or None)
        start = end
    return Difference(sink, len(expected) + 1, start, None, found[start:])


def _first_difference(one: bytes, other: bytes) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _shown(content: bytes | None) -> str:
    if content is None:
        return "nothing more"
    text = repr(content[:SHOWN_BYTES_MAX])[1:]
    return text if len(content) <= SHOWN_BYTES_MAX else f"{text}… ({len(content)} bytes)"
