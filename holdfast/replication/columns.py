"""Columns between members: what one feeder gave in one epoch for one inlet, as bytes.

A packed column is the msgpack array [forms, keys, messages, positions, strays]; `forms` says in which form each of the
three stands. The plain forms (all str, all int, all bytes; positions of one length, or numbers in place of positions)
are lists that are read and checked in C; whatever does not fit one is packed as a column of values (core.columns). Where messages are their own keys they
stand once. `strays` are the modules of classes that a peer may not find by their names alone.
Invariant: unpack_column(pack_column(column)) gives the same keys, messages and positions, of the same types and in the
same order; other bytes are a `FrameError`, or a column that can be merged and takes at most some hundred times their
size.
Not here: which keys go to which member (routes), merging (core.positions).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from itertools import chain, islice
from operator import itemgetter
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from holdfast.core.columns import decode_column, encode_column
from holdfast.core.errors import DamagedError, FrameError
from holdfast.core.positions import TIMER, Column, Position
from holdfast.core.types import TypeRegistry
from holdfast.replication.fields import frame, read

COLUMN_BYTES_MAX: Final = 1 << 28
# From this length on positions are packed flat: a constant place costs a peer one byte for all messages, and us eight
# for each.
_LENGTH_MAX: Final = 16


_LENGTH_MIN: Final = 3  # turn, partition, number
_TIMER_TYPES: Final = (int, int, int, int, bytes, str)  # turn, TIMER, due, step, key, the timer's name


class Form(IntEnum):
    """How a list stands in a packed column. The numbers are part of the format."""

    VALUES = 0  # a column of values in bytes
    STRINGS = 1
    INTS = 2
    BYTES = 3
    NONE = 4  # keys: there are none, as at a sink
    MESSAGES = 5  # keys: the messages themselves
    PLACES = 6  # positions: place by place, a list each, or one number where it is the same for all
    FLAT = 7  # positions: their lengths, and the numbers of all
    NUMBERS = 8  # positions: a number for each, eight bytes long


_TYPES: Final[dict[Form, Any]] = {
    Form.VALUES: bytes,
    Form.STRINGS: list[str],
    Form.INTS: list[int],
    Form.BYTES: list[bytes],
    Form.NONE: None,
    Form.MESSAGES: None,
    Form.PLACES: Annotated[list[int | list[int]], Meta(max_length=_LENGTH_MAX)],
    Form.FLAT: tuple[list[int], list[int]],
    Form.NUMBERS: bytes,
}
_KEY_FORMS: Final = (Form.NONE, Form.MESSAGES, Form.STRINGS, Form.INTS, Form.VALUES)
_MESSAGE_FORMS: Final = (Form.STRINGS, Form.INTS, Form.BYTES, Form.VALUES)
_POSITION_FORMS: Final = (Form.PLACES, Form.FLAT, Form.NUMBERS, Form.VALUES)
_PLAIN: Final = {str: Form.STRINGS, int: Form.INTS, bytes: Form.BYTES}
_TUPLE_ONLY: Final = frozenset({tuple})
_KEY_TYPES: Final = frozenset({str, int, bytes})
_Strays: TypeAlias = Annotated[dict[str, str], Meta(max_length=4096)] | None


def pack_column(column: Column, registry: TypeRegistry) -> bytes:
    """The bytes of a column. ValueTypeError where a message is not a value."""
    keys, messages, positions = column.keys, column.messages, column.positions
    assert len(keys) in (0, len(messages)), "keys of other messages"
    assert len(positions) == len(messages), "positions of other messages"
    form = _form_of(messages)
    if not keys:
        key_form = Form.NONE
    elif form is Form.STRINGS and keys == messages:
        key_form = Form.MESSAGES
    else:
        key_form = _form_of(keys)
        # Lookup keys that are bytes are rare, and were parsed from them: no form of their own.
        key_form = Form.VALUES if key_form is Form.BYTES else key_form
    position_form, plain_positions = _plain_positions(positions)
    try:
        return _pack((key_form, form, position_form), keys, messages, plain_positions, registry)
    except (OverflowError, UnicodeEncodeError):
        # Numbers beyond 64 bits and lone surrogates are values as well; only they are not plain.
        if position_form is not Form.NUMBERS:
            position_form, plain_positions = Form.VALUES, positions
        forms = (Form.VALUES if keys else Form.NONE, Form.VALUES, position_form)
        return _pack(forms, keys, messages, plain_positions, registry)


def unpack_column(packed: bytes | memoryview, registry: TypeRegistry, *, numbered: bool = False) -> Column:
    """What `pack_column` was given; FrameError if the bytes are not of it, or this application lacks a class.

    `numbered` says whether numbers stand for positions: the two can't be merged with each other.
    """
    if len(packed) < 5 or bytes(packed[:2]) != b"\x95\x93":
        raise FrameError("a malformed frame: this is no column")
    key_form, form, position_form = packed[2], packed[3], packed[4]
    if (
        key_form not in _KEY_FORMS
        or form not in _MESSAGE_FORMS
        or position_form not in _POSITION_FORMS
    ):
        raise FrameError("a malformed frame: a column in a form that this version has not")
    decoder = _decoder(Form(key_form), Form(form), Form(position_form))
    _, keys, messages, positions, strays = read(decoder, packed, COLUMN_BYTES_MAX)
    if strays:
        registry.learn(strays)
    column = Column()
    column.messages = messages if form != Form.VALUES else _values(messages, registry)
    if key_form == Form.MESSAGES:
        column.keys = list(column.messages)
    elif key_form == Form.VALUES:
        column.keys = _values(keys, registry)
    elif key_form != Form.NONE:
        column.keys = keys
    if column.messages and (position_form == Form.NUMBERS) != numbered:
        raise FrameError("a malformed frame: numbers instead of positions, or the other way round")
    column.positions = _positions(position_form, positions, len(column.messages), registry)
    _check(column, key_form)
    return column


def _form_of(things: Sequence[Any]) -> Form:
    kinds = set(map(type, things))
    return _PLAIN.get(kinds.pop(), Form.VALUES) if len(kinds) == 1 else Form.VALUES


def _plain_positions(positions: list[Any]) -> tuple[Form, Any]:
    """Positions of records hold nothing but ints, those of timers a key and a name as well."""
    if positions and type(positions[0]) is int:
        return Form.NUMBERS, struct.pack(f"<{len(positions)}q", *positions)
    try:
        places = [_same(numbers) for numbers in zip(*positions, strict=True)]
    except ValueError:  # they differ in length
        partitions: Any = map(itemgetter(1), positions)
        places = []
    else:
        partitions = places[1] if places else ()
    if partitions == TIMER or (type(partitions) is not int and TIMER in partitions):
        return Form.VALUES, positions
    if len(places) in range(1, _LENGTH_MAX + 1):
        return Form.PLACES, places
    return Form.FLAT, (list(map(len, positions)), list(chain.from_iterable(positions)))


def _same(numbers: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number for all, where it is one."""
    first = numbers[0]
    return first if first == numbers[-1] and numbers.count(first) == len(numbers) else numbers


def _pack(
    forms: tuple[Form, Form, Form],
    keys: list[Any],
    messages: list[Any],
    positions: Any,
    registry: TypeRegistry,
) -> bytes:
    packed_keys = None if forms[0] in (Form.NONE, Form.MESSAGES) else _part(forms[0], keys, registry)
    packed_messages = _part(forms[1], messages, registry)
    packed_positions = _part(forms[2], positions, registry)
    strays = registry.strays() if Form.VALUES in forms else None
    return frame((forms, packed_keys, packed_messages, packed_positions, strays), COLUMN_BYTES_MAX)


def _part(form: Form, plain: Any, registry: TypeRegistry) -> Any:
    return encode_column(plain, registry) if form is Form.VALUES else plain


@cache  # as many as there are combinations of forms
def _decoder(keys: Form, messages: Form, positions: Form) -> msgspec.msgpack.Decoder[Any]:
    fields: Any = (tuple[int, int, int], _TYPES[keys], _TYPES[messages], _TYPES[positions], _Strays)
    return msgspec.msgpack.Decoder(tuple[fields])


def _values(packed: bytes, registry: TypeRegistry) -> list[Any]:
    try:
        return decode_column(packed, registry)
    except DamagedError as error:
        raise FrameError(f"a column can't be read: {error}") from error


def _positions(form: int, packed: Any, count: int, registry: TypeRegistry) -> list[Any]:
    if form == Form.PLACES:
        places = [place if type(place) is list else [place] * count for place in packed]
        if len(places) < _LENGTH_MIN or set(map(len, places)) != {count} or TIMER in places[1]:
            raise FrameError("a malformed frame: places that make no positions")
        return list(zip(*places, strict=True))
    if form == Form.NUMBERS:
        if len(packed) != 8 * count:
            raise FrameError("a malformed frame: numbers that are not as many as messages")
        return list(struct.unpack(f"<{count}q", packed))
    if form == Form.FLAT:
        lengths, flat = packed
        if min(lengths, default=_LENGTH_MIN) < _LENGTH_MIN or sum(lengths) != len(flat):
            raise FrameError("a malformed frame: lengths that make no positions")
        numbers = iter(flat)
        positions = [tuple(islice(numbers, length)) for length in lengths]
        if TIMER in map(itemgetter(1), positions):
            raise FrameError("a malformed frame: a timer's position without its key")
        return positions
    positions = _values(packed, registry)
    if not _are_positions(positions):
        raise FrameError("a malformed frame: something that is no position")
    return positions


def _are_positions(positions: list[Any]) -> bool:
    """Whether they can be compared with each other and with every other position."""
    if not _TUPLE_ONLY.issuperset(map(type, positions)) or min(map(len, positions), default=3) < _LENGTH_MIN:
        return False
    alike: dict[tuple[int, bool], list[Position]] = {}
    for position in positions:
        alike.setdefault((len(position), position[1] == TIMER), []).append(position)
    for (length, is_timer), group in alike.items():
        if is_timer and length < len(_TIMER_TYPES):
            return False
        types = _TIMER_TYPES if is_timer else ()
        for place, values in enumerate(zip(*group, strict=True)):
            if set(map(type, values)) != {types[place] if place < len(types) else int}:
                return False
    return True


def _check(column: Column, key_form: int) -> None:
    """What no list alone shows."""
    count = len(column.messages)
    if len(column.positions) != count or (key_form != Form.NONE and len(column.keys) != count):
        raise FrameError("a malformed frame: keys, messages and positions differ in number")
    if key_form == Form.VALUES and not _KEY_TYPES.issuperset(map(type, column.keys)):
        raise FrameError("a malformed frame: something that is no key")
