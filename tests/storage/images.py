"""What a disk may hold after a power loss, built from the log that tests/storage/shim.c wrote of a process.

A legal image at a point of the log: of each file what was synced by then, and of what was written since,
page by page, any subset; a page may be torn at a sector, a write that is durable when it returns (LMDB's
meta page) anywhere while it is under way. Names in folders are taken as durable: the directory was made
before.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

HEADER = struct.Struct("=5Q")  # kind, inode or number, durable at return, offset, size
PAGE = 4096
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Event:
    kind: str  # w write, s sync, t truncate, a acknowledgement
    number: int  # inode, or what was acknowledged
    durable: bool
    offset: int
    data: bytes


def events(log: Path) -> Iterator[Event]:
    content = log.read_bytes()
    at = 0
    while at < len(content):
        kind, number, durable, offset, size = HEADER.unpack_from(content, at)
        at += HEADER.size
        yield Event(chr(kind), number, bool(durable), offset, content[at : at + size])
        at += size


@dataclass(slots=True)
class File:
    """One file as the disk has it: certain content and writes that are not."""

    content: bytearray
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        for start in range(0, len(data), PAGE):
            self.unsynced.append((offset + start, data[start : start + PAGE]))

    def sync(self) -> None:
        for offset, data in self.unsynced:
            put(self.content, offset, data)
        self.unsynced.clear()

    def image(self, random: Random) -> bytes:
        content = bytearray(self.content)
        share = random.choice([0.0, 0.2, 0.5, 0.8, 1.0])
        for offset, data in self.unsynced:
            if random.random() < share:
                if random.random() < 0.1:
                    data = data[: random.randrange(len(data)) // SECTOR * SECTOR]
                put(content, offset, data)
        return bytes(content)


def put(content: bytearray, offset: int, data: bytes) -> None:
    if data:
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data


class Disk:
    """The files of a directory as a power loss may leave them, event by event."""

    def __init__(self, before: Path, worked: Path) -> None:
        names = [p.relative_to(before).as_posix() for p in before.rglob("*") if p.is_file()]
        self.names = {(worked / name).stat().st_ino: name for name in names}
        self.files = {inode: File(bytearray((before / name).read_bytes())) for inode, name in self.names.items()}
        self.acknowledged = -1

    def apply(self, event: Event) -> None:
        if event.kind == "a":
            self.acknowledged = event.number
            return
        file = self.files.get(event.number)
        if file is None:
            return
        if event.kind == "w" and event.durable:
            put(file.content, event.offset, event.data)
        elif event.kind == "w":
            file.write(event.offset, event.data)
        elif event.kind == "s":
            file.sync()
        else:
            file.sync()
            del file.content[event.offset :]

    def save(self, folder: Path, random: Random, under_way: Event) -> None:
        """Write an image; of `under_way`, the call during which the power went, a part may have been done."""
        shutil.rmtree(folder, ignore_errors=True)
        for inode, file in self.files.items():
            content = bytearray(file.image(random))
            if under_way.kind == "w" and inode == under_way.number:
                done = random.choice([0, random.randint(0, len(under_way.data)), len(under_way.data)])
                put(content, under_way.offset, under_way.data[:done])
            path = folder / self.names[inode]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def choose(log: list[Event], count: int, random: Random) -> list[int]:
    """Return `count` points of the log behind the first acknowledgement, in order, some of them twice."""
    first = next(at for at, event in enumerate(log) if event.kind == "a") + 1
    return sorted(random.randrange(first, len(log)) for _ in range(count))
