"""The bytes of what clients of a cluster send to members, and of what they hear: letters to a source, and their fates.

A client numbers its letters on a connection with tickets of its own choice; a fate names the ticket. Invariant: each
letter that arrives gets one fate on the same connection, or the connection ends; unpack(pack(x)) == x, other bytes are
a `FrameError`.
Not here: who takes letters (clients), and what a client does about a fate (front_line).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from holdfast.core.errors import FrameError
from holdfast.replication.fields import ITEMS_MAX, Natural, TextBytes, frame, kind_of, read, to_bytes, to_text

VERSION: Final = 1
LETTERS_BYTES_MAX: Final = 1 << 28

_LETTERS, _FATES = 1, 2
_FIELDS: Final = 3


class Fate(IntEnum):
    """What became of a letter. The numbers are part of the protocol."""

    DURABLE = 0
    ANSWERED = 1
    FORGOTTEN = 2  # it is a repeat, and its answer is not remembered any more
    ELSEWHERE = 3  # another member takes this source's letters now; what became of it this one does not know


@dataclass(frozen=True, slots=True)
class Sent:
    """One letter."""

    ticket: int
    asks: bool  # whether the answer is waited for, and not only until it is durable
    record: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one."""

    ticket: int
    fate: Fate
    images: tuple[bytes, ...] = ()  # of the answer


_few: Final = Meta(max_length=ITEMS_MAX)
_LetterFields: TypeAlias = Annotated[tuple[tuple[Natural, bool, bytes], ...], _few]
_FateFields: TypeAlias = Annotated[tuple[tuple[Natural, Natural, Annotated[tuple[bytes, ...], _few]], ...], _few]
_LETTERS_DECODER: Final = msgspec.msgpack.Decoder(tuple[int, int, tuple[TextBytes, _LetterFields]])
_FATES_DECODER: Final = msgspec.msgpack.Decoder(tuple[int, int, _FateFields])


def pack_letters(source: str, letters: list[Sent]) -> bytes:
    """The bytes of letters to one source."""
    body = (to_bytes(source), [(letter.ticket, letter.asks, letter.record) for letter in letters])
    return frame((VERSION, _LETTERS, body), LETTERS_BYTES_MAX)


def unpack_letters(packed: bytes) -> tuple[str, list[Sent]]:
    """What `pack_letters` was given."""
    if kind_of(packed, VERSION, _FIELDS) != _LETTERS:
        raise FrameError("a frame of another kind where letters should be")
    _, _, (source, letters) = read(_LETTERS_DECODER, packed, LETTERS_BYTES_MAX)
    return to_text(source), [Sent(*letter) for letter in letters]


def pack_outcomes(outcomes: list[Outcome]) -> bytes:
    """The bytes of what became of letters."""
    body = [(outcome.ticket, outcome.fate, outcome.images) for outcome in outcomes]
    return frame((VERSION, _FATES, body), LETTERS_BYTES_MAX)


def unpack_outcomes(packed: bytes) -> list[Outcome]:
    """What `pack_outcomes` was given."""
    if kind_of(packed, VERSION, _FIELDS) != _FATES:
        raise FrameError("a frame of another kind where the fates of letters should be")
    _, _, body = read(_FATES_DECODER, packed, LETTERS_BYTES_MAX)
    try:
        return [Outcome(ticket, Fate(fate), images) for ticket, fate, images in body]
    except ValueError as error:
        raise FrameError("a malformed frame: a fate that this version has not") from error
