"""The marks: what each environment held at least, noted outside of LMDB.

LMDB reads the newer of two meta pages; if that one is damaged it may silently take the older and with it
lose a commit. Invariant: a mark is written only after its commit returned, so an environment that holds less
than its mark is damaged. Two slots per environment take turns, each with a digest. They are not synced after
a commit (a mark lost at power loss only knows less), but at every open. A slot that fails its digest may
have been torn and is ignored; `inspect` tells. Which environments a file is for is said by who opens it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_64_digest

from holdfast.storage.files import write_whole

SLOT_SIZE = 512  # a sector, so that slots don't tear together
VALUES_MAX = 6
SLOT = struct.Struct(f">QQ{VALUES_MAX}Q")  # number of the mark, count of the values, values


@dataclass(frozen=True, slots=True)
class Mark:
    """What an environment held: rising numbers whose meaning is the environment's; None before its creation
    ended.
    """

    values: tuple[int, ...] | None
    unreadable: int  # slots that fail their digest

    @property
    def surely_new(self) -> bool:
        """Whether the environment's creation is known not to have ended, so that what is there may be thrown
        away.
        """
        return self.values is None and not self.unreadable


class Marks:
    """The open file of marks. `note` may be called by two threads for two environments."""

    def __init__(self, path: Path, environments: tuple[str, ...], *, readonly: bool = False) -> None:
        self._environments = environments
        self._descriptor = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC)
        self._numbers = {name: max(n for n, _, _ in self._slots(name)) for name in environments}

    @staticmethod
    def create(path: Path, environments: tuple[str, ...]) -> None:
        """Make the file; it is there whole or not at all."""
        write_whole(path, bytes(SLOT_SIZE * 2 * len(environments)))

    def read(self, name: str) -> Mark:
        """Return the newest mark of an environment."""
        number, values, _ = max(self._slots(name))
        return Mark(values if number else None, sum(broken for _, _, broken in self._slots(name)))

    def note(self, name: str, values: tuple[int, ...]) -> None:
        """Write what an environment holds, after its commit returned."""
        number = self._numbers[name] + 1
        self._numbers[name] = number
        padded = (*values, *([0] * (VALUES_MAX - len(values))))
        packed = SLOT.pack(number, len(values), *padded)
        os.pwrite(self._descriptor, packed + _digest(name, packed), self._offset(name, number % 2))

    def sync(self) -> None:
        """Make the marks durable."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _offset(self, name: str, slot: int) -> int:
        return SLOT_SIZE * (2 * self._environments.index(name) + slot)

    def _slots(self, name: str) -> list[tuple[int, tuple[int, ...], bool]]:
        """Return (number, values, whether unreadable) of both slots; the number of an empty or unreadable
        one is 0.
        """
        found: list[tuple[int, tuple[int, ...], bool]] = []
        for slot in (0, 1):
            raw = os.pread(self._descriptor, SLOT.size + 8, self._offset(name, slot))
            packed, digest = raw[: SLOT.size], raw[SLOT.size :]
            if raw == bytes(SLOT.size + 8):
                found.append((0, (), False))
            elif digest != _digest(name, packed):
                found.append((0, (), True))
            else:
                number, count, *values = SLOT.unpack(packed)
                found.append((number, tuple(values[:count]), False))
        return found


def _digest(name: str, packed: bytes) -> bytes:
    return xxh3_64_digest(name.encode() + packed)
