"""One animal of the zoo: an application, its inputs and the outputs that were derived by hand.

`build` gives a new application with `sources.Memory` over the case's records and `sinks.Memory`; `inputs` are the same
records as the reference takes them. Every way to run holdfast must give `expected`, told by `identical`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.application import Application
from holdfast.core.serial_order import ROUND, At


@dataclass(frozen=True, slots=True)
class Case:
    """An application with its inputs and its outputs."""

    name: str
    build: Callable[[], Application]
    inputs: Mapping[str, Any]  # source name -> records, or {partition: records}
    expected: Mapping[str, Sequence[Any]]  # sink name -> outputs, in order
    stops: str | None = None  # the step at which processing stops; `expected` is then what came before


def timed(records: Iterable[tuple[int, Any]]) -> list[At]:
    """Records that carry their time first, as the reference takes them; `sources.Memory` gets `time=time_of`."""
    return [At(record[0], record) for record in records]


def time_of(record: tuple[int, Any]) -> int:
    """The time that such a record carries."""
    return record[0]


PAD = "pad"


def padded(*rounds: Sequence[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Records of one partition in which each of these lists is a round: filled up with (time of the first, PAD)."""
    records: list[tuple[int, Any]] = []
    for one in rounds:
        assert 0 < len(one) <= ROUND
        records += one
        records += [(one[0][0], PAD)] * (ROUND - len(one))
    return records


def is_not_pad(record: tuple[int, Any]) -> bool:
    """Let through what is not there to fill a round."""
    return bool(record[1] != PAD)


def identical(left: object, right: object) -> bool:
    """Equal, and of the same type at every level; floats by their bits, dicts with the same order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack(">d", left) == struct.pack(">d", right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(identical, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return identical(list(left.items()), list(right.items()))
    return left == right
