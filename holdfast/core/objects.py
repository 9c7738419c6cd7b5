"""Instances of classes in images: dataclasses, named tuples, Enums, plain classes and registered types.

The form of an instance names its class and its attributes, so an image tells everything about itself and a
field added later is filled with its default. The rest of the array holds the attributes' values.
Invariant: no code of the user runs on the way in or out (no `__init__`, no property), except functions given
to `register`, default factories of new fields, and hashes of set elements and dict keys.
Not here: containers and leaves (values, leaves); how attributes are reached (classes, accessors).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import Enum, Flag
from typing import TYPE_CHECKING, Any

from holdfast.core.accessors import maker, reader
from holdfast.core.classes import Kind, Shape, describe_type, place, shape_of, state_of
from holdfast.core.errors import DamagedError, ValueTypeError
from holdfast.core.refusal import Refusal
from holdfast.core.types import Registration, TypeRegistry, registration
from holdfast.core.wire import DEPTH_MAX, WIRE_ATOMS, Form, Leaf, extension, pack

if TYPE_CHECKING:
    from holdfast.core.values import Codec

Lowerer = Callable[[Any, int], object]


class Builder:
    """What a form does with the rest of its array; stands for the form in what was unpacked."""

    __slots__ = ("build", "make")

    def __init__(
        self, build: Callable[[list[Any]], object], make: Callable[..., object] | None = None
    ) -> None:
        self.build = build
        self.make = make  # the same from separate arguments, where instances also come as columns


def check_depth(depth: int) -> None:
    """Refuse what is nested too deep, which is also how a value that contains itself ends."""
    if depth >= DEPTH_MAX:
        raise Refusal(f"nested deeper than {DEPTH_MAX} levels, or containing itself")


def instance_lowerer(cls: type, codec: Codec) -> Lowerer:
    """How instances of exactly this class are lowered."""
    entry = registration(cls)
    shape = Shape(cls, Kind.PLAIN) if entry is not None and entry.encode is not None else shape_of(cls)
    if shape.kind is Kind.REFUSED:
        name = describe_type(cls)
        register = f"hf.register({cls.__name__}, encode, decode)"
        raise Refusal(f"{name} is not a value: {shape.reason}; {register} would make it one")
    try:
        tag = codec.registry.tag(cls)
    except ValueTypeError as error:
        raise Refusal(str(error)) from None
    if entry is not None and entry.encode is not None:
        return _registered_lowerer(entry, tag, codec)
    match shape.kind:
        case Kind.ENUM:
            return _enum_lowerer(cls, tag)
        case Kind.FLAG:
            return lambda value, depth: extension(Leaf.FLAG, pack([tag, value._value_]))
        case Kind.NAMED_TUPLE:
            return _named_tuple_lowerer(shape, tag, codec)
        case Kind.DATACLASS:
            return _dataclass_lowerer(shape, tag, codec)
        case _:
            return _plain_lowerer(shape, tag, codec)


def instance_form(kind: Kind, tag: str, names: Sequence[str], *rare: Sequence[str]) -> object:
    """The form of instances with these attributes; `rare` are absent fields and those beside the fields."""
    code = {Kind.DATACLASS: Form.DATACLASS, Kind.NAMED_TUPLE: Form.NAMED_TUPLE, Kind.PLAIN: Form.PLAIN}[kind]
    return extension(code, pack([tag, list(names), *([*part] for part in rare)]))


def _registered_lowerer(entry: Registration, tag: str, codec: Codec) -> Lowerer:
    form = extension(Form.REGISTERED, pack([tag]))
    encode = entry.encode
    assert encode is not None, "the caller has looked"

    def lower(value: object, depth: int) -> object:
        check_depth(depth)
        try:
            inner = encode(value)
        except Exception as error:
            raise Refusal(f"the encode function registered for {tag} failed: {error!r}") from error
        return [form, codec.lowerers[type(inner)](inner, depth + 1)]

    return lower


def _enum_lowerer(cls: type[Enum], tag: str) -> Lowerer:
    lowered = {name: extension(Leaf.ENUM, pack([tag, name])) for name in cls._member_map_}

    def lower(value: Enum, depth: int) -> object:
        name = value._name_
        if cls._member_map_.get(name) is not value:
            raise Refusal(f"{value!r} is not a member of {describe_type(cls)}")
        return lowered[name]

    return lower


def _named_tuple_lowerer(shape: Shape, tag: str, codec: Codec) -> Lowerer:
    fields = shape.fields
    form = instance_form(shape.kind, tag, fields)

    def lower(value: tuple[object, ...], depth: int) -> object:
        check_depth(depth)
        if len(value) != len(fields):
            raise Refusal(f"a {tag} with {len(value)} elements instead of {len(fields)}")
        if shape.has_dict and value.__dict__:
            raise Refusal(f"a {tag} with attributes beside its fields: {', '.join(map(str, value.__dict__))}")
        if WIRE_ATOMS.issuperset(map(type, value)):
            return [form, *value]
        return [form, *codec.lower_values(zip(fields, value, strict=True), depth, attributes=True)]

    return lower


def _dataclass_lowerer(shape: Shape, tag: str, codec: Codec) -> Lowerer:
    fields = shape.fields
    form = instance_form(shape.kind, tag, fields)
    read = reader(shape)

    def lower(value: object, depth: int) -> object:
        if depth >= DEPTH_MAX:
            check_depth(depth)
        row = read(value) if read is not None else None
        if row is None:
            exact_form, state = _exact_state(value)
            return [exact_form, *codec.lower_values(state, depth, attributes=True)]
        if WIRE_ATOMS.issuperset(map(type, row)):
            return [form, *row]
        return [form, *codec.lower_values(zip(fields, row, strict=True), depth, attributes=True)]

    def _exact_state(value: object) -> tuple[object, list[tuple[str, object]]]:
        """For an instance that may lack fields or have attributes beside them."""
        state = state_of(value, shape)
        present = [name for name in fields if name in state]
        absent = [name for name in fields if name not in state]
        beside = [name for name in state if name not in fields]
        exact_form = instance_form(shape.kind, tag, present, absent, beside) if absent or beside else form
        return exact_form, [(name, state[name]) for name in (*present, *beside)]

    return lower


def _plain_lowerer(shape: Shape, tag: str, codec: Codec) -> Lowerer:
    form_of = functools.lru_cache(maxsize=256)(lambda names: instance_form(shape.kind, tag, names))

    def lower(value: object, depth: int) -> object:
        check_depth(depth)
        state = state_of(value, shape)
        return [form_of(tuple(state)), *codec.lower_values(state.items(), depth, attributes=True)]

    return lower


def lift_enum(registry: TypeRegistry, tag: str, name: str) -> Enum:
    """The member of an Enum; DamagedError if there is none of this name."""
    cls = registry.find(tag)
    member = cls._member_map_.get(name) if issubclass(cls, Enum) else None
    if member is None:
        raise DamagedError("value", f"{tag} has no member {name!r}")
    return member


def lift_flag(registry: TypeRegistry, tag: str, number: int) -> Flag:
    """The flags of a number; DamagedError if the class has no such flags."""
    cls = registry.find(tag)
    flag = cls(number) if type(number) is int and issubclass(cls, Flag) else None
    if flag is None or type(flag) is not cls or flag._value_ != number:
        raise DamagedError("value", f"{tag} has no flags {number!r}")
    return flag


def object_builder(form: Form, description: list[Any], registry: TypeRegistry) -> Builder:
    """What makes instances of the class that a form describes."""
    tag = description[0]
    cls = registry.find(tag)
    if form is Form.REGISTERED:
        (tag,) = description
        return Builder(_registered_build(tag, cls))
    shape = shape_of(cls)
    kind = {Form.NAMED_TUPLE: Kind.NAMED_TUPLE, Form.DATACLASS: Kind.DATACLASS, Form.PLAIN: Kind.PLAIN}[form]
    if shape.kind is not kind:
        raise DamagedError("value", f"{tag} was stored as a {kind.value} and is now a {shape.kind.value}")
    _, names, *rare = description
    absent, beside = rare or ([], [])
    if kind is Kind.PLAIN:
        names, beside = [], [*names, *beside]
    attributes = [*names, *beside]
    if len(set(attributes)) != len(attributes) or not all(type(name) is str for name in attributes):
        raise DamagedError("value", f"attributes of a {tag} are named {attributes!r}")
    fills = _fills(shape, tag, names, [*absent, *beside])
    make = (
        _tuple_maker(shape, names, fills)
        if kind is Kind.NAMED_TUPLE
        else _filled_maker(shape, attributes, fills)
    )

    def build(items: list[Any]) -> object:
        if len(items) != len(attributes):
            raise DamagedError("value", f"a {tag} with {len(items)} instead of {len(attributes)} attributes")
        return make(*items)

    return Builder(build, make)


def _registered_build(tag: str, cls: type) -> Callable[[list[Any]], object]:
    entry = registration(cls)
    if entry is None or entry.decode is None:
        raise DamagedError("value", f"{tag} was stored by functions given to hf.register and now has none")
    decode = entry.decode

    def build(items: list[Any]) -> object:
        (inner,) = items
        made = decode(inner)
        if type(made) is not cls:
            raise DamagedError(
                "value", f"the decode function registered for {tag} gave a {describe_type(type(made))}"
            )
        return made

    return build


def _fills(
    shape: Shape, tag: str, names: list[str], others: list[str]
) -> list[tuple[str, Callable[[], object]]]:
    """The fields that the stored instance did not have yet, with what fills them."""
    lost = [name for name in names if name not in shape.fields]
    if lost:
        raise DamagedError("value", f"{tag} lost its field {lost[0]!r}")
    new = [name for name in shape.fields if name not in names and name not in others]
    empty = [name for name in new if name not in shape.defaults]
    if empty:
        raise DamagedError("value", f"{tag} has a new field {empty[0]!r} without a default")
    return [(name, shape.defaults[name]) for name in new]


def _filled_maker(
    shape: Shape, attributes: list[str], fills: list[tuple[str, Callable[[], object]]]
) -> Callable[..., object]:
    make = maker(shape, tuple(attributes))
    if not fills:
        return make

    def make_and_fill(*values: object) -> object:
        made: object = make(*values)
        for name, default in fills:
            place(made, shape, name, default())
        return made

    return make_and_fill


def _tuple_maker(
    shape: Shape, names: list[str], fills: list[tuple[str, Callable[[], object]]]
) -> Callable[..., object]:
    cls = shape.cls
    if tuple(names) == shape.fields:
        return lambda *values: tuple.__new__(cls, values)

    def make(*values: object) -> object:
        found = dict(zip(names, values, strict=True)) | {name: default() for name, default in fills}
        return tuple.__new__(cls, [found[name] for name in shape.fields])

    return make
