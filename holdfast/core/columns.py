"""Images of many entities at once, for checkpoint chunks: a column per field instead of an image per entity.

Invariant: decode_column(encode_column(states)) gives the same values with the same types, whatever they are.
Columns are used only where every state is of exactly one class and surely has its fields and nothing else;
all other states are encoded as one list.
Not here: what an image is (values) and how fields are read and instances made (accessors).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.core.accessors import column_reader
from holdfast.core.classes import Kind, shape_of
from holdfast.core.errors import DamagedError, ValueTypeError
from holdfast.core.objects import Builder, instance_form
from holdfast.core.refusal import Refusal
from holdfast.core.types import TypeRegistry, registration
from holdfast.core.values import Codec, codec_of
from holdfast.core.wire import DEPTH_MAX, Form, extension, pack, unpack

# A form and the columns of the values after it; None where columns don't do.
Split = Callable[[list[Any]], "tuple[object, list[list[Any]]] | None"]

_COLUMNS_FORM = extension(Form.COLUMNS, b"")
_TUPLE_FORM = extension(Form.TUPLE, b"")


def encode_column(states: list[Any], registry: TypeRegistry) -> bytes:
    """The image of a list of states, a fraction of the size and time of their separate images."""
    codec = codec_of(registry)
    try:
        columns = _encode_columns(states, codec)
        # The list itself is not a level of the states in it.
        return pack(codec.lower_list(states, -1) if columns is None else columns)
    except Refusal as refusal:
        raise ValueTypeError(refusal.message()) from refusal.__cause__
    except RecursionError:
        raise ValueTypeError(f"value: nested too deep for the stack (at most {DEPTH_MAX} levels)") from None
    except ValueError as error:  # as in encode
        raise ValueTypeError(f"value: too large for an image: {error}") from error


def decode_column(packed: object, registry: TypeRegistry) -> list[Any]:
    """The states of a column; DamagedError if it is malformed."""
    codec = codec_of(registry)
    try:
        assert isinstance(packed, bytes | bytearray | memoryview)
        raw = unpack(packed, codec.hook)
        if type(raw) is list and raw and raw[0] is codec.hook(Form.COLUMNS, b""):
            return _join(raw, codec)
        states = codec.lift(raw, -1)
    except (DamagedError, MemoryError):
        raise
    except Exception as error:  # as in decode
        raise DamagedError("value", f"the column can't be decoded: {error!r}") from error
    if type(states) is not list:
        raise DamagedError("value", "a column is not a list")
    return states


def _encode_columns(states: list[Any], codec: Codec) -> list[object] | None:
    """The states lowered to columns, or None where only a list will do."""
    kinds = set(map(type, states))
    if len(kinds) != 1:
        return None
    (cls,) = kinds
    if cls in codec.columns:
        split = codec.columns[cls]
    else:
        split = codec.columns[cls] = _split_of(cls, codec)
    found = split(states) if split is not None else None
    if found is None:
        return None
    form, columns = found
    try:
        return [_COLUMNS_FORM, form, *(codec.lower_list(column, 0) for column in columns)]
    except Refusal:
        return None  # lowered one by one, the states name the place as the user knows it


def _split_of(cls: type, codec: Codec) -> Split | None:
    """How states of exactly this class are split, if they can be."""
    if cls is tuple:
        return _split_tuples
    if cls in codec.lowerers and not hasattr(cls, "_fields") and not hasattr(cls, "__dataclass_fields__"):
        return None  # a built-in type, or a class that was met already and has no fields
    entry = registration(cls)
    if entry is not None and entry.encode is not None:
        return None
    shape = shape_of(cls)
    if not shape.fields:
        return None
    try:
        form = instance_form(shape.kind, codec.registry.tag(cls), shape.fields)
    except ValueTypeError:
        return None  # encoding one by one says what is wrong
    if shape.kind is Kind.NAMED_TUPLE:
        return lambda states: _split_named_tuples(states, form, shape.has_dict, len(shape.fields))
    read_columns = column_reader(shape)
    if read_columns is None:
        return None

    def split(states: list[Any]) -> tuple[object, list[list[Any]]] | None:
        columns = read_columns(states)
        return None if columns is None else (form, columns)

    return split


def _split_tuples(states: list[Any]) -> tuple[object, list[list[Any]]] | None:
    if len(set(map(len, states))) != 1 or not states[0]:
        return None
    return _TUPLE_FORM, [list(column) for column in zip(*states, strict=True)]


def _split_named_tuples(
    states: list[Any], form: object, has_dict: bool, length: int
) -> tuple[object, list[list[Any]]] | None:
    if set(map(len, states)) != {length} or (has_dict and any(state.__dict__ for state in states)):
        return None
    return form, [list(column) for column in zip(*states, strict=True)]


def _join(raw: list[Any], codec: Codec) -> list[Any]:
    """The states of columns, in order."""
    _, builder, *columns = raw
    if type(builder) is not Builder or not columns or set(map(type, columns)) != {list}:
        raise DamagedError("value", "a column lacks its form or its values")
    lifted = [codec.lift(column, 0) for column in columns]
    if set(map(type, lifted)) != {list} or len(set(map(len, lifted))) != 1:
        raise DamagedError("value", "the columns differ in length")
    if builder.make is not None:
        return list(map(builder.make, *lifted))
    if builder.build is not tuple:
        raise DamagedError("value", "a form stands where it can't")
    return list(zip(*lifted, strict=True))
