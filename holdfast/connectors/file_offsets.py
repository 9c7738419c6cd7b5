"""Offsets into an input file, and the proof that what lies before one is unchanged.

The digest of a file's beginning is a chain of xxh3_64 over 1 MiB segments aligned to the file's start: one
link for all full segments, one digest for the begun one. So it goes on after a restart by reading less than
one segment. Invariant: `FileOffset.seen` was taken before the first byte it vouches for was read, and is None
when a change soon after could have gone unseen; a file that still looks like it has not been written to
since.
Nothing here knows lines or records.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import xxhash

SEGMENT_BYTES = 1 << 20

# Clocks of file systems advance in steps, on FAT of 2 s: a file changed more recently than this may be
# changed once more without a trace in its times.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FileLooks:
    """What tells without reading that a file has not been written to."""

    size: int
    mtime_ns: int
    ctime_ns: int  # moves with every change and can't be set back
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileLooks:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def settled(self, now_ns: int) -> bool:
        """Whether any later change must show in the looks."""
        return max(self.mtime_ns, self.ctime_ns) + _SETTLED_NS < now_ns


@dataclass(frozen=True, slots=True)
class FileOffset:
    """Where reading resumes, and what was read up to there."""

    position: int  # bytes before it
    chain: int  # digest of the full segments before it
    partial: int  # digest of the begun segment up to it
    seen: FileLooks | None
    ended: bool  # the file ended here; what it grew since is not read

    def packed(self) -> list[object]:
        looks = self.seen
        seen = None if looks is None else [looks.size, looks.mtime_ns, looks.ctime_ns, looks.inode]
        return [self.position, self.chain, self.partial, seen, self.ended]

    @classmethod
    def unpacked(cls, packed: object) -> FileOffset:
        assert isinstance(packed, list | tuple), packed
        position, chain, partial, seen, ended = packed
        return cls(position, chain, partial, None if seen is None else FileLooks(*seen), ended)


class Chain:
    """The digest of a file's beginning, from its start or from the start of any segment on."""

    def __init__(self, position: int = 0, chain: int = 0) -> None:
        assert position % SEGMENT_BYTES == 0, position
        self.position = position
        self.chain = chain
        self._segment = xxhash.xxh3_64()

    @property
    def partial(self) -> int:
        return self._segment.intdigest()

    def update(self, data: bytes) -> None:
        """Go on over the bytes that follow."""
        rest = memoryview(data)
        while len(rest):
            room = SEGMENT_BYTES - self.position % SEGMENT_BYTES
            part, rest = rest[:room], rest[room:]
            self._segment.update(part)
            self.position += len(part)
            if len(part) == room:
                link = self.chain.to_bytes(8, "big") + self._segment.digest()
                self.chain = xxhash.xxh3_64_intdigest(link)
                self._segment = xxhash.xxh3_64()
