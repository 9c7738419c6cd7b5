"""Value blocks: how records that are Python values stand in a raw block.

A block is the concatenation of length-delimited images (msgpack bin), so that two blocks joined are a block
and a block can be cut between records without decoding any. Each decoding gives fresh values.
Blocks of lines are not framed: see `lines.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack

from holdfast.core.errors import DamagedError
from holdfast.core.types import TypeRegistry
from holdfast.core.values import codec_of

# msgpack refuses to buffer more than this; the engine's blocks are far smaller, a single record may not be.
BLOCK_BYTES_MAX = 2**31 - 1

_PLACE = "block of values"


def pack(images: Iterable[bytes]) -> bytes:
    """Frame images into a block."""
    return b"".join(map(msgpack.Packer(use_bin_type=True).pack, images))


def unpack(raw: bytes) -> list[bytes]:
    """The images in a block."""
    unpacker = _unpacker(raw)
    try:
        images: list[bytes] = list(unpacker)
    except (ValueError, msgpack.UnpackException) as error:
        raise DamagedError(_PLACE, "it is not framed") from error
    # The unpacker drops an image that it finds torn at the end without a word.
    if not set(map(type, images)) <= {bytes} or pack(images) != raw:
        raise DamagedError(_PLACE, "it is torn")
    return images


def cut(raw: bytes, start: int, size: int) -> int:
    """Where the whole records end that begin at `start` and take up to `size` bytes; behind one at least."""
    unpacker = _unpacker(raw[start : start + size])
    length = 0
    try:
        while True:
            unpacker.skip()
            length = unpacker.tell()
    except msgpack.OutOfData:
        pass
    if length == 0:  # a record longer than that
        unpacker = _unpacker(raw[start:])
        unpacker.skip()
        length = unpacker.tell()
    return start + int(length)


def _unpacker(raw: bytes) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(raw=False, max_buffer_size=BLOCK_BYTES_MAX)
    unpacker.feed(raw)
    return unpacker


class ValueFrames:
    """Encoding and decoding of value blocks with an application's value types."""

    def __init__(self, registry: TypeRegistry | None = None) -> None:
        codec = codec_of(TypeRegistry() if registry is None else registry)
        self.image = codec.encode  # a record as it is now; ValueTypeError for what is not a value
        self.value = codec.decode  # the record of an image, fresh

    def records(self, raw: bytes) -> list[Any]:
        """The records of a block, fresh."""
        return list(map(self.value, unpack(raw)))
