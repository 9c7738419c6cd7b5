"""A disk in memory that can lose power, for the simulator: transactional stores (log, state) and plain files.

A store takes one transaction at a time: `begin`, then `finish_sync`. A kill between them loses the
transaction whole; a power loss then has it whole or not at all, as LMDB's commit does. What was synced is
never lost. A file keeps what was written through a kill, but a power loss may lose un-synced ranges, leave
NULs or tear them.

Planted bug, to prove that a harness notices: `skip_sync` answers a sync before it happened, so that at power
loss transactions since then are each kept, lost or torn, whatever their order (and un-synced file writes
likewise). Chance is handed in as `random.Random`, so that a seed replays exactly.
"""

from __future__ import annotations

from random import Random

# A transaction: what each key is set to; None deletes.
Operations = dict[tuple[object, ...], object]

SECTOR = 512  # bytes that a disk writes as one
PAGE = 4096  # bytes that the operating system writes back as one


class MemoryStore:
    """One transactional store: keys are tuples, values are whatever was put; and its mark outside (see
    storage.marks).
    """

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self.contents: dict[tuple[object, ...], object] = {}
        self.mark: tuple[int, ...] | None = None
        self._durable: dict[tuple[object, ...], object] = {}  # differs from contents only under skip_sync
        self._durable_mark: tuple[int, ...] | None = None
        self._unsynced: list[Operations] = []
        self._in_flight: tuple[Operations, tuple[int, ...]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a transaction has begun that is not synced."""
        return self._in_flight is not None

    def begin(self, operations: Operations, mark: tuple[int, ...]) -> None:
        """Write a transaction; it is nowhere before `finish_sync`. `mark` is what the store then holds at
        least.
        """
        assert self._in_flight is None, "one transaction at a time"
        self._in_flight = (operations, mark)

    def finish_sync(self) -> None:
        """Make the transaction that has begun durable and visible."""
        assert self._in_flight is not None, "nothing has begun"
        operations, mark = self._in_flight
        self._in_flight = None
        _apply(self.contents, operations)
        if self._disk.skip_sync:
            self._unsynced.append(operations)
        else:
            _apply(self._durable, operations)
        self.mark = mark

    def sync_mark(self) -> None:
        """Make the mark durable, as is done at every open."""
        self._durable_mark = self.mark

    def crash(self) -> None:
        """The process was killed: the transaction that had not been synced is gone."""
        self._in_flight = None

    def power_loss(self, random: Random) -> None:
        """The power went: what was synced stays; a commit under way is there whole or not at all."""
        for operations in self._unsynced:
            fate = random.random()
            if fate < 0.4:
                _apply(self._durable, operations)
            elif fate < 0.7:
                _apply(self._durable, {k: v for k, v in operations.items() if random.random() < 0.5})
        if self._in_flight is not None and not self._disk.skip_sync and random.random() < 0.5:
            _apply(self._durable, self._in_flight[0])
        self._unsynced.clear()
        self._in_flight = None
        self.contents = dict(self._durable)
        if random.random() < 0.5:
            self._durable_mark = self.mark
        self.mark = self._durable_mark


def _apply(contents: dict[tuple[object, ...], object], operations: Operations) -> None:
    for key, value in operations.items():
        if value is None:
            contents.pop(key, None)
        else:
            contents[key] = value


class MemoryFile:
    """One file: what a process sees (`live`), what a power loss leaves at least, and the writes between the
    two.
    """

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self._live = bytearray()
        self._durable = bytearray()
        self._unsynced: list[tuple[int, bytes | None]] = []  # (offset, data), or (length, None): truncated
        self._in_flight: tuple[int, bytes] | None = None
        self.power_losses = 0  # what a token of before the last one names is not certain to be there

    @property
    def size(self) -> int:
        """Return the length that a process sees."""
        return len(self._live)

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """Return up to `size` bytes from `offset`, by default all."""
        return bytes(self._live[offset:] if size is None else self._live[offset : offset + size])

    @property
    def in_flight(self) -> object | None:
        """Return the write that has begun and not ended, to be told from others by identity."""
        return self._in_flight

    def begin_write(self, offset: int, data: bytes) -> None:
        """Begin to write; a kill before `finish_write` may leave any prefix."""
        assert self._in_flight is None, "one write at a time"
        self._in_flight = (offset, bytes(data))

    def finish_write(self) -> None:
        """End the write that has begun: a kill no longer harms it."""
        assert self._in_flight is not None, "nothing has begun"
        offset, data = self._in_flight
        self._in_flight = None
        self._put(offset, data)

    def write(self, offset: int, data: bytes) -> None:
        """Write in one go."""
        self.begin_write(offset, data)
        self.finish_write()

    def append(self, data: bytes) -> None:
        """Write at the end in one go."""
        self.write(len(self._live), data)

    def truncate(self, size: int) -> None:
        """Cut or, with NULs, extend the file to `size` bytes."""
        _resize(self._live, size)
        self._unsynced.append((size, None))

    def sync(self) -> None:
        """Make everything written durable."""
        if not self._disk.skip_sync:
            self._durable = bytearray(self._live)
            self._unsynced.clear()

    def crash(self, random: Random) -> None:
        """The process was killed: of a write under way any prefix stands."""
        if self._in_flight is not None:
            offset, data = self._in_flight
            self._in_flight = None
            self._put(offset, data[: random.randint(0, len(data))])

    def power_loss(self, random: Random) -> None:
        """The power went: each un-synced page is there, not there or torn, and the length is one the file
        had.
        """
        self.crash(random)
        self.power_losses += 1
        image = bytearray(self._durable)
        certain = length = len(image)
        for offset, data in self._unsynced:
            if data is None:
                _resize(image, offset)
                certain = length = offset
                continue
            for start, piece in _pages(offset, data):
                kept = _kept(piece, random)
                if kept:
                    _write(image, start, kept)
            length = max(length, offset + len(data))
        # The file system notes the length when it likes: with the last page written, before it or not at all.
        fate = random.random()
        if fate < 0.5:
            _resize(image, length if fate < 0.25 else certain)
        self._live = image
        self._durable = bytearray(image)
        self._unsynced.clear()

    def _put(self, offset: int, data: bytes) -> None:
        if data:
            _write(self._live, offset, data)
            self._unsynced.append((offset, data))


def _kept(piece: bytes, random: Random) -> bytes:
    """Return what reached the disk of an un-synced page: all, nothing or its first sectors."""
    fate = random.random()
    if fate < 0.6:
        return piece
    return piece[: random.randint(0, len(piece) // SECTOR) * SECTOR] if fate < 0.75 else b""


def _pages(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    pieces = []
    start = 0
    while start < len(data):
        end = min(len(data), start + PAGE - (offset + start) % PAGE)
        pieces.append((offset + start, data[start:end]))
        start = end
    return pieces


def _resize(image: bytearray, size: int) -> None:
    if len(image) < size:
        image.extend(bytes(size - len(image)))
    del image[size:]


def _write(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset:
        _resize(image, offset)
    image[offset : offset + len(data)] = data


class MemoryDisk:
    """Stores (of a log, a state and whatever else is asked for) and files, which crash and lose power together."""

    def __init__(self) -> None:
        self.skip_sync = False  # planted bug: syncs are answered but not done
        self.log = MemoryStore(self)
        self.state = MemoryStore(self)
        self._stores: dict[str, MemoryStore] = {"log": self.log, "state": self.state}
        self.files: dict[str, MemoryFile] = {}

    def store(self, name: str) -> MemoryStore:
        """Return the store of this name, made empty if it is not there."""
        return self._stores.setdefault(name, MemoryStore(self))

    def file(self, path: str) -> MemoryFile:
        """Return the file at `path`, made empty if it is not there."""
        return self.files.setdefault(path, MemoryFile(self))

    def crash(self, random: Random) -> None:
        """The process was killed: all that was written stays, transactions and writes under way break off."""
        for store in self._stores.values():
            store.crash()
        for file in self.files.values():
            file.crash(random)

    def power_loss(self, random: Random) -> None:
        """The power went: only what was synced is certain."""
        for store in self._stores.values():
            store.power_loss(random)
        for file in self.files.values():
            file.power_loss(random)
