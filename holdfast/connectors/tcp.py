"""What the TCP source and the TCP sink share: addresses, and how records stand in a stream of bytes.

Lines end at the newline; u32 records are a length of four bytes, the greatest first, and so many bytes. A record is
kept with its framing, in the log as on the wire, so that blocks are joined and cut without touching it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Protocol

from holdfast.connectors import lines
from holdfast.core.errors import ApplicationError

SAYS: Final = logging.getLogger("holdfast")  # of connections that come and go; the command line shows it on stderr
_LENGTH_BYTES: Final = 4
LENGTH_MAX: Final = (1 << 32) - 1


class TooLongError(Exception):
    """A record exceeds the limit; the text says what it is."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: object, place: str) -> Address:
        """Of "host:port"; ApplicationError for anything else."""
        host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise ApplicationError(f'{place} takes "host:port" with a port from 1 to 65535, not {text!r}')
        return cls(host, int(port))


class Framing(Protocol):
    """How records stand in a stream."""

    def take(self, buffer: bytearray, limit: int) -> list[bytes]:
        """Take the whole records that a buffer begins with off it, each with its framing.

        TooLongError where the next one exceeds the limit, once all before it have been taken.
        """

    def framed(self, record: bytes) -> bytes:
        """One record with its framing."""

    def records(self, raw: bytes) -> list[bytes]:
        """The records of a block without their framing."""

    def cut(self, raw: bytes, start: int, size: int) -> int:
        """Where the whole records end that begin at `start` and take up to `size` bytes; behind one at least."""


class Lines:
    r"""Each record ends at "\n" and holds none."""

    def take(self, buffer: bytearray, limit: int) -> list[bytes]:
        end = buffer.rfind(b"\n") + 1
        found = [line + b"\n" for line in bytes(buffer[:end]).split(b"\n")[:-1]]
        for number, line in enumerate(found):
            if len(line) > limit + 1:
                del buffer[: sum(map(len, found[:number]))]
                if number:
                    return found[:number]
                raise TooLongError(f"a line of {len(line) - 1} bytes is longer than {limit}")
        del buffer[:end]
        if not found and len(buffer) > limit:
            raise TooLongError(f"a line is longer than {limit} bytes")
        return found

    def framed(self, record: bytes) -> bytes:
        if b"\n" in record:
            raise ValueError("a line can't hold a newline")
        return record + b"\n"

    def records(self, raw: bytes) -> list[bytes]:
        return raw.split(b"\n")[:-1]

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return lines.cut(raw, start, size)


class LengthPrefixed:
    """Each record comes behind its length."""

    def take(self, buffer: bytearray, limit: int) -> list[bytes]:
        found: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = _length_at(buffer, start)
            if length > limit:
                if found:
                    break
                raise TooLongError(f"a record of {length} bytes is longer than {limit}")
            end = start + _LENGTH_BYTES + length
            if end > len(buffer):
                break
            found.append(bytes(buffer[start:end]))
            start = end
        del buffer[:start]
        return found

    def framed(self, record: bytes) -> bytes:
        if len(record) > LENGTH_MAX:
            raise ValueError(f"a record of {len(record)} bytes has no length of four bytes")
        return len(record).to_bytes(_LENGTH_BYTES, "big") + record

    def records(self, raw: bytes) -> list[bytes]:
        found = []
        start = 0
        while start < len(raw):
            end = start + _LENGTH_BYTES + _length_at(raw, start)
            found.append(raw[start + _LENGTH_BYTES : end])
            start = end
        return found

    def cut(self, raw: bytes, start: int, size: int) -> int:
        end = start
        while end < len(raw):
            following = end + _LENGTH_BYTES + _length_at(raw, end)
            if end > start and following - start > size:
                break
            end = following
        return end


def _length_at(raw: bytes | bytearray, start: int) -> int:
    return int.from_bytes(raw[start : start + _LENGTH_BYTES], "big")


FRAMINGS: Final[dict[str, type[Framing]]] = {"lines": Lines, "u32": LengthPrefixed}


def checked_framing(framing: object, place: str) -> Framing:
    """The framing of this name; ApplicationError for any other."""
    if not isinstance(framing, str) or framing not in FRAMINGS:
        raise ApplicationError(f'{place}: framing= is "lines" or "u32", not {framing!r}')
    return FRAMINGS[framing]()
