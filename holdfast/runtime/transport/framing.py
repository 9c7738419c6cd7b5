"""Messages as frames on a connection, and back.

    length  4 bytes: of what follows
    head    1 byte: the channel, and whether the message goes on in the next frame
    part    of the message
    tag     16 bytes, where the connection has keys: keyed blake2b over the frame's number, head and part

Frames are numbered from 0 in each direction; the number is not sent. So a frame that was changed, left out, repeated,
put elsewhere, or sent in the other direction or another connection has the wrong tag.
Pure. Invariant: a reader gives exactly the messages that the writer was given, in order, or raises `FrameError` and is
of no further use. What it keeps is at most a frame, and of a message what has really arrived.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import blake2b
from typing import Final

from holdfast.core.errors import FrameError

PART_BYTES_MAX: Final = 1 << 20  # long enough that its overhead does not count, short enough to check before it is kept
TAG_BYTES: Final = 16
CHANNEL_MAX: Final = 127
_GOES_ON: Final = 0x80
_LENGTH: Final = struct.Struct(">I")
_NUMBER: Final = struct.Struct(">Q")

Part = bytes | memoryview


class FrameWriter:
    """Makes the frames of one direction."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._number = 0

    def frames(self, channel: int, message: bytes) -> list[Part]:
        """The pieces of a message's frames, to be sent in this order; large ones are not copied."""
        assert 0 <= channel <= CHANNEL_MAX
        whole = memoryview(message)
        pieces: list[Part] = []
        start = 0
        while True:
            part = whole[start : start + PART_BYTES_MAX]
            start += len(part)
            head = bytes((channel | (_GOES_ON if start < len(whole) else 0),))
            tag = b"" if self._key is None else _tag(self._key, self._number, head, part)
            self._number += 1
            pieces += (_LENGTH.pack(len(head) + len(part) + len(tag)) + head, part, tag)
            if start >= len(whole):
                return pieces


class FrameReader:
    """Reads the frames of one direction."""

    def __init__(self, key: bytes | None, message_bytes_max: int) -> None:
        self._key = key
        self._tag_bytes = 0 if key is None else TAG_BYTES
        self._message_bytes_max = message_bytes_max
        self._number = 0
        self._buffer = bytearray()
        self._channel: int | None = None  # of the message that goes on
        self._parts: list[bytes] = []
        self._bytes = 0  # in `_parts`

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what has arrived, and give the messages that are whole now, with their channels."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[int, bytes]] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if not 1 + self._tag_bytes <= length <= 1 + PART_BYTES_MAX + self._tag_bytes:
                raise FrameError(f"a frame of {length} bytes")
            end = start + _LENGTH.size + length
            if end > len(buffer):
                break
            with memoryview(buffer)[start + _LENGTH.size : end] as frame:
                message = self._take(frame)
            if message is not None:
                found.append(message)
            start = end
        del buffer[:start]
        return found

    def _take(self, frame: memoryview) -> tuple[int, bytes] | None:
        """One frame; the message that it ends, if it does."""
        head, end = frame[0], len(frame) - self._tag_bytes
        part = bytes(frame[1:end])
        if self._key is not None:
            expected = _tag(self._key, self._number, bytes((head,)), part)
            if not hmac.compare_digest(frame[end:], expected):
                raise FrameError(f"frame {self._number} has the wrong tag")
        self._number += 1
        channel = head & ~_GOES_ON
        if self._channel not in (None, channel):
            raise FrameError("a message is interrupted by another one")
        self._bytes += len(part)
        if self._bytes > self._message_bytes_max:
            raise FrameError(f"a message of more than {self._message_bytes_max} bytes")
        self._parts.append(part)
        if head & _GOES_ON:
            if len(part) != PART_BYTES_MAX:
                raise FrameError("a part of a message that is too short")
            self._channel = channel
            return None
        message = part if len(self._parts) == 1 else b"".join(self._parts)
        self._channel, self._bytes = None, 0
        self._parts.clear()
        return channel, message


def _tag(key: bytes, number: int, head: bytes, part: Part) -> bytes:
    # The length needs no place of its own in it: it is that of the rest.
    digest = blake2b(_NUMBER.pack(number) + head, digest_size=TAG_BYTES, key=key)
    digest.update(part)
    return digest.digest()
