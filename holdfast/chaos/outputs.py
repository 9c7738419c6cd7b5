"""What the sinks of a world write to, and what stands there whatever happens to the process.

Three kinds, as in real life: a file (compared and appended to; loses what was not synced at power loss), a
store that keeps the number of the last output in one transaction with the outputs, and a receiver that can't
tell what it has. The rule for files is the real file sink's. Whether the contents are right is the verdict's
business.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from typing import Self, cast

from holdfast.chaos.counters import Counters
from holdfast.connectors.file_writer import FileWriter
from holdfast.core.errors import OutputShortError
from holdfast.storage.memory_disk import MemoryFile


class Violation(Exception):  # noqa: N818 - it is no error of the program that raises it
    """The promise, or one of the invariants that carry it, is broken."""


class Output(ABC):
    """Where one sink writes. A write is `begin` and then `finish`, with a kill possible between."""

    def handle(self) -> Self:
        """Return the same contents as one more process has them in hand; a zombie may have them as well."""
        return copy.copy(self)

    @abstractmethod
    def open(self, token: object, number: int) -> None:
        """A process opens it as of a checkpoint."""

    def is_certain(self, token: object) -> bool:
        """Whether all that was written before this token was taken still stands, synced or not."""
        return True

    @abstractmethod
    def begin(self, first: int, count: int, payload: tuple[object, ...]) -> None:
        """Outputs first, first + 1, … are being written."""

    @abstractmethod
    def finish(self) -> None:
        """They are written."""

    @abstractmethod
    def token(self) -> object:
        """Return what to resume from."""

    def sync(self) -> None:  # noqa: B027 - only files have something to make durable
        """Make durable what was written."""

    @abstractmethod
    def tear(self, random: Random) -> None:
        """The process died during a write."""

    def let_go(self, random: Random) -> None:  # noqa: B027 - only files have something under way
        """The process that had this handle is gone."""

    @abstractmethod
    def check(self, expected: Sequence[bytes], *, whole: bool) -> None:
        """Raise Violation unless the contents are these images, or where not `whole` a prefix of them."""


class FileOutput(Output):
    """A simulated file; what is compared, appended or refused is the real file sink's rule."""

    def __init__(self, file: MemoryFile, counters: Counters) -> None:
        self._file = file
        self._counters = counters
        self._writer: SimulatedFileWriter | None = None

    def open(self, token: object, number: int) -> None:
        self._writer = SimulatedFileWriter(self._file, token, number)
        if self._file.size > self._writer.token():
            self._counters.meet("start behind delivered output")

    def is_certain(self, token: object) -> bool:
        return token is None or (isinstance(token, tuple) and token[1] == self._file.power_losses)

    def begin(self, first: int, count: int, payload: tuple[object, ...]) -> None:
        assert self._writer is not None
        before = self._file.size
        position = self._writer.token()
        stood = self._file.read(position)
        self._writer.write(first, payload, count)
        if position < before:
            data = b"".join(cast("tuple[bytes, ...]", payload))
            self._counters.meet(
                "output compared" if data.startswith(stood[: len(data)]) else "torn tail overwritten"
            )

    def finish(self) -> None:
        assert self._writer is not None
        self._writer.finish_begun()

    def token(self) -> object:
        assert self._writer is not None
        return self._writer.token(), self._file.power_losses

    def sync(self) -> None:
        self._file.sync()

    def tear(self, random: Random) -> None:
        self._counters.meet("kill in the middle of a write")  # the disk decides how much of it stands

    def let_go(self, random: Random) -> None:
        if self._writer is not None and self._writer.is_writing:
            self._file.crash(random)

    def check(self, expected: Sequence[bytes], *, whole: bool) -> None:
        held, wanted = self._file.read(), b"".join(expected)
        if held == wanted or (not whole and (wanted.startswith(held) or b"\0" in held)):
            return  # before the end a torn tail may stand there
        check_prefix(held.splitlines(keepends=True), expected, whole=whole)
        raise Violation(f"the file has {len(held)} bytes, the reference has {len(wanted)}")


class SimulatedFileWriter(FileWriter):
    """The real writer over a simulated file; a write has begun when it returns."""

    def __init__(self, file: MemoryFile, token: object, number: int) -> None:
        # What follows replaces the opening of a real file; its lock has no meaning in a world of one process.
        length = token[0] if isinstance(token, tuple) else 0
        self._memory = file
        self._path = self._name = "simulated file"
        self._failed = None
        self._file = -1
        self._standing = file.size
        if self._standing < length:
            raise OutputShortError(f"{self._standing} bytes stand, {length} were delivered at the checkpoint")
        self._position = length
        self._number = number
        self._begun: object = None  # the own write, as long as nobody's later one has pushed it through

    @property
    def is_writing(self) -> bool:
        """Whether a write of this process is under way."""
        return self._begun is not None and self._memory.in_flight is self._begun

    def finish_begun(self) -> None:
        """End the write that has begun, if there was anything to write."""
        if self.is_writing:
            self._memory.finish_write()
        self._begun = None

    def _pread(self, size: int, position: int) -> bytes:
        return self._memory.read(position, size)

    def _pwrite(self, data: bytes | memoryview, position: int) -> None:
        if len(data):
            if self._memory.in_flight is not None:
                self._memory.finish_write()  # of a process that has had its day
            self._memory.begin_write(position, bytes(data))
            self._begun = self._memory.in_flight
        self._standing = max(self._standing, position + len(data))


class NumberedOutput(Output):
    """Outputs and number in one transaction, like a table in a database."""

    def __init__(self, image: Callable[[object], bytes], counters: Counters) -> None:
        self._image = image
        self._counters = counters
        self._held: list[bytes] = []
        self._next = 1  # the number that the process must go on with
        self._coming: tuple[int, tuple[object, ...]] | None = None

    def open(self, token: object, number: int) -> None:
        if number > len(self._held):
            raise Violation(f"a checkpoint counts {number} outputs, the store has {len(self._held)}")
        if number < len(self._held):
            self._counters.meet("start behind delivered output")
        self._next = number + 1
        self._coming = None

    def begin(self, first: int, count: int, payload: tuple[object, ...]) -> None:
        assert len(payload) == count, "one value per output"
        if first != self._next:
            raise Violation(f"output {first} was given where {self._next} was expected")
        self._next = first + count
        self._coming = (first, payload)

    def finish(self) -> None:
        assert self._coming is not None
        first, payload = self._coming
        self._coming = None
        for number, value in enumerate(payload, first):
            image = self._image(value)
            if number > len(self._held):
                self._held.append(image)
                continue
            self._counters.meet("output compared")
            if self._held[number - 1] != image:
                raise Violation(f"output {number} was {self._held[number - 1]!r} and is now {image!r}")

    def token(self) -> object:
        return len(self._held)

    def tear(self, random: Random) -> None:
        self._coming = None  # the transaction never was

    def check(self, expected: Sequence[bytes], *, whole: bool) -> None:
        check_prefix(self._held, expected, whole=whole)


class ForgetfulOutput(Output):
    """A receiver without memory: what it got is written down here for the verdict alone."""

    def __init__(self, image: Callable[[object], bytes], counters: Counters) -> None:
        self._image = image
        self._counters = counters
        self._received: dict[int, bytes] = {}
        self._next = 1
        self._coming: tuple[int, tuple[object, ...]] | None = None

    def open(self, token: object, number: int) -> None:
        if number > len(self._received):
            raise Violation(f"a checkpoint counts {number} outputs, the receiver got {len(self._received)}")
        self._next = number + 1
        self._coming = None

    def begin(self, first: int, count: int, payload: tuple[object, ...]) -> None:
        assert len(payload) == count, "one value per output"
        if first != self._next:
            raise Violation(f"output {first} was given where {self._next} was expected")
        self._next = first + count
        self._coming = (first, payload)

    def finish(self) -> None:
        assert self._coming is not None
        first, payload = self._coming
        self._coming = None
        for number, value in enumerate(payload, first):
            image = self._image(value)
            known = self._received.setdefault(number, image)
            if known is not image:
                self._counters.meet("repeats received")
            if known != image:
                raise Violation(f"output {number} was {known!r} and is now {image!r}")

    def token(self) -> object:
        return None

    def tear(self, random: Random) -> None:
        if self._coming is not None:
            first, payload = self._coming
            self._coming = (first, payload[: random.randint(0, len(payload))])
            self.finish()

    def check(self, expected: Sequence[bytes], *, whole: bool) -> None:
        numbers = sorted(self._received)
        if numbers != list(range(1, len(numbers) + 1)):
            raise Violation("outputs are missing between others")
        check_prefix([self._received[number] for number in numbers], expected, whole=whole)


def check_prefix(held: Sequence[bytes], expected: Sequence[bytes], *, whole: bool) -> None:
    """Raise Violation with the first difference."""
    for number, (found, wanted) in enumerate(zip(held, expected, strict=False), 1):
        if found != wanted:
            raise Violation(f"output {number} is {found!r}, the reference has {wanted!r}")
    if len(held) > len(expected):
        raise Violation(
            f"{len(held)} outputs, the reference has {len(expected)}; more: {held[len(expected)]!r}"
        )
    if whole and len(held) < len(expected):
        raise Violation(
            f"{len(held)} outputs, the reference has {len(expected)}; missing: {expected[len(held)]!r}"
        )
