"""Messages that the process itself sends (`Engine.send`, `Engine.ask`), as a live source of one partition.

A record is three images: producer, sequence (None and None of a message without an id), message. A block is records one
after the other, as msgpack delimits itself. Offset: the number of records before it.
The waiting messages are the runtime's (mailbox.py); where no engine sends, as under `holdfast run`, nothing comes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Generic, cast

from holdfast.connectors.interface import Block
from holdfast.core.connector import Sent, Undecodable
from holdfast.core.errors import ApplicationError, UsageError, ValueTypeError
from holdfast.core.serial_order import ONLY_PARTITION
from holdfast.core.types import TypeRegistry
from holdfast.core.values import codec_of, cut_images

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # `Send()` takes anything, `Send[Order]()` is checked
else:
    from typing import TypeVar

    T = TypeVar("T")

REMEMBERED: Final = 100_000
_IMAGES: Final = 3  # of a record
_NO_ID: Final = b"\xc0\xc0"  # the images of None and None


class Send(Generic[T]):
    """Live: the messages that `Engine.send` and `Engine.ask` give to the source of this name.

    `remembered` bounds the ids that are known again: of the last so many messages with an id, and for as many
    producers how far they had come before (docs/embedding.md).
    """

    live = True

    def __init__(self, *, remembered: int = REMEMBERED) -> None:
        if type(remembered) is not int or remembered < 1:
            raise ApplicationError(f"sources.Send: remembered={remembered!r} must be a positive int")
        self.remembered = remembered
        self._codec = codec_of(TypeRegistry())

    def bind(self, registry: TypeRegistry) -> None:
        self._codec = codec_of(registry)

    def partitions(self) -> list[str]:
        return [ONLY_PARTITION]

    def open(self, partition: str, offset: object | None) -> SilentReader:
        return SilentReader(0 if offset is None else offset)

    def record(self, message: object, identity: tuple[str, int] | None) -> bytes:
        """A record as it is logged; ValueTypeError for what is not a value."""
        return self._codec.encode_behind([None, None] if identity is None else [*identity], message)

    def under_id(self, record: bytes, identity: tuple[str, int]) -> bytes:
        """The same record, but with this id if it has none."""
        if not record.startswith(_NO_ID):
            return record
        encode = self._codec.encode
        return encode(identity[0]) + encode(identity[1]) + record[len(_NO_ID) :]

    def is_record(self, raw: bytes) -> bool:
        """Whether this is one record as `record` makes them, for bytes that came from elsewhere."""
        try:
            producer, sequence, _ = self._codec.decode_all(raw)
        except Exception:  # noqa: BLE001 - whatever strange bytes lead to
            return False
        without = producer is None and sequence is None
        return without or (type(producer) is str and type(sequence) is int)

    def complaint(self, message: object, error: ValueTypeError) -> ValueTypeError:
        """What is wrong with a message that gave no record, with the place as its sender knows it."""
        try:
            self._codec.encode(message)
        except ValueTypeError as own:
            return own
        return error

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return cut_images(raw, start, size, together=_IMAGES)

    def decode(self, raw: bytes) -> list[T | Undecodable]:
        """The messages; those with an id as `Sent`, which the core unpacks before the first step."""
        images = self._codec.decode_all(raw)
        messages = images[2::_IMAGES]
        producers = images[::_IMAGES]
        if producers.count(None) == len(messages):
            return messages
        sequences = images[1::_IMAGES]
        records = [
            message if producer is None else Sent(message, producer, sequence)
            for message, producer, sequence in zip(messages, producers, sequences, strict=True)
        ]
        return cast("list[T | Undecodable]", records)

    def times(self, records: list[Any], /) -> None:
        """None: the logged clock counts."""


def checked_id(identity: object) -> tuple[str, int]:
    """The id of a message, of the right types."""
    if isinstance(identity, tuple | list) and len(identity) == 2:
        producer, sequence = identity
        if type(producer) is str and type(sequence) is int:
            return producer, sequence
    raise UsageError(f"id={identity!r}: an id is (producer, sequence), a str and an int that rises with each message")


class SilentReader:
    """A partition to which nobody sends."""

    def __init__(self, offset: object) -> None:
        self._offset = offset
        self._closed = threading.Event()

    def read(self, records_max: int | None, bytes_max: int) -> Block | None:
        self._closed.wait()
        return None

    def offset_after(self, count: int) -> object:
        return self._offset

    def close(self) -> None:
        self._closed.set()
