r"""Cutting raw bytes into lines; pure.

A line ends at b"\n", which is not part of it; b"\r" and every other byte stay. The last line may lack its
b"\n". So empty bytes hold no line and b"a\n" holds one. Nothing here decodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

# Up to this many newlines are looked for one by one: about the price of counting once more.
_NEAR = 8
# Guesses by the density of newlines before halving instead, which no shape of input can slow down.
_GUESSES_MAX = 4
# First guess of a line's length; it only decides how soon the search is near.
_LINE_BYTES_GUESS = 64


def count_lines(raw: bytes, start: int, stop: int) -> int:
    """How many lines `raw[start:stop]` holds, with a last one that lacks its newline."""
    count = raw.count(b"\n", start, stop)
    return count + 1 if stop > start and raw[stop - 1] != 0x0A else count


def cut(raw: bytes, start: int, size: int) -> int:
    """Where the whole lines end that begin at `start` and take up to `size` bytes; behind one at least."""
    if len(raw) - start <= size:
        return len(raw)
    end = raw.rfind(b"\n", start, start + size) + 1 or raw.find(b"\n", start + size) + 1
    return end or len(raw)


def length_of(raw: bytes, count: int) -> int:
    """Byte length of the first `count` lines of a raw block."""
    end = end_of_lines(raw, count, 0, len(raw))
    if end < 0:
        if count_lines(raw, 0, len(raw)) != count:
            raise ValueError(f"the block has fewer than {count} records")
        return len(raw)
    return end


def end_of_lines(raw: bytes, count: int, start: int, stop: int) -> int:
    """Where the `count`-th line from `start` on ends, behind its newline; -1 if it has none before `stop`.

    Interpolation search over counted newlines, so that no line costs a step of Python.
    """
    guesses, width = 0, count * _LINE_BYTES_GUESS
    while count > _NEAR:
        middle = min(start + width, stop)
        found = raw.count(b"\n", start, middle)
        if count <= found <= count + _NEAR:
            for _ in range(found - count + 1):
                middle = raw.rfind(b"\n", start, middle)
            return middle + 1
        if found > count:
            width = (middle - start) * count // found
            stop = middle
        elif middle == stop:
            return -1
        else:
            count -= found
            width = (middle - start) * count // found if found else 2 * width
            start = middle
        guesses += 1
        if guesses > _GUESSES_MAX:
            width = (stop - start) // 2
        width = max(width, 1)
    for _ in range(count):
        start = raw.find(b"\n", start, stop) + 1
        if start == 0:
            return -1
    return start


class GivenLines:
    """The blocks that a reader gave and no offset covers yet: exactly the lines [taken, given) since open.

    The engine cuts what it was given into epochs at counts of its own and asks for the offset there.
    """

    def __init__(self) -> None:
        self._blocks: deque[tuple[bytes, int]] = deque()  # with the number of its lines
        self._start = 0  # bytes of the first block that were taken
        self._started = 0  # lines of the first block that were taken
        self.given = 0
        self.taken = 0

    def add(self, raw: bytes, count: int) -> None:
        """A block was given."""
        self._blocks.append((raw, count))
        self.given += count

    def take(self, count: int) -> Iterator[bytes]:
        """The bytes of the lines from the last taken count up to `count`, in pieces; `count` never falls."""
        assert self.taken <= count <= self.given, (self.taken, count, self.given)
        while self.taken < count:
            raw, lines = self._blocks[0]
            start, wanted, left = self._start, count - self.taken, lines - self._started
            if wanted < left:
                self._start = end_of_lines(raw, wanted, start, len(raw))
                self._started += wanted
                self.taken = count
                yield raw[start : self._start]
            else:
                self._blocks.popleft()
                self._start = self._started = 0
                self.taken += left
                yield raw[start:]
