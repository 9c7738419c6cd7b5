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
# A line's length before any was seen; it only decides how soon the search is near.
LINE_BYTES_GUESS = 64.0


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


def end_of_lines(raw: bytes, count: int, start: int, stop: int, line_bytes: float = LINE_BYTES_GUESS) -> int:
    """Where the `count`-th line from `start` on ends, behind its newline; -1 if it has none before `stop`.

    Interpolation search over counted newlines, so that no line costs a step of Python. `line_bytes` is about the length
    of one: the better it is known, the less is counted twice.
    """
    low, below = start, 0  # lines that end before `low`: fewer than `count`
    high, above = stop, -1  # and before `high`: more than `count`, or -1 as long as `high` is `stop`
    width = int(count * line_bytes)
    guesses = 0
    while count - below > _NEAR:
        middle = min(low + max(width, 1), high)
        if above < 0 or middle - low <= high - middle:
            found = below + raw.count(b"\n", low, middle)
        else:
            found = above - raw.count(b"\n", middle, high)
        if count <= found <= count + _NEAR:
            for _ in range(found - count + 1):
                middle = raw.rfind(b"\n", start, middle)
            return middle + 1
        if found > count:
            high, above = middle, found
        elif middle == stop:
            return -1
        else:
            low, below = middle, found
        guesses += 1
        if guesses > _GUESSES_MAX:
            width = (high - low) // 2 if above >= 0 else 2 * width
        elif above >= 0:
            width = (high - low) * (count - below) // (above - below)
        else:
            width = (low - start) * (count - below) // below if below else 2 * width
    for _ in range(count - below):
        low = raw.find(b"\n", low, stop) + 1
        if low == 0:
            return -1
    return low


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
