"""What kind of value the instances of a class are, and how their attributes are laid out.

A class is described once by a `Shape`; codecs and copiers are then built from it.
Invariant: a class is a `DATACLASS` or `PLAIN` only when `object.__new__` plus its attributes (`__dict__` and
`__slots__` over the whole MRO) make an instance again, so nothing hidden in C or in a constructor is ever
lost. Attributes are read and written raw: a property, `__getattr__` or `__setattr__` of the user never runs.
Not here: names of classes as they are stored (types) and their images (values).
"""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag
from types import MemberDescriptorType
from typing import Any

import msgpack

from holdfast.core.refusal import Refusal

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: set for every class made by a class statement
# What `Box[int](…)` leaves on an instance: a note for the type checker, not a part of the value.
TYPING_NOTE = "__orig_class__"
_REBUILD_HOOKS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
_COPY_HOOKS = ("__deepcopy__", "__getnewargs__", "__getnewargs_ex__", *_REBUILD_HOOKS)


class Kind(Enum):
    """How instances of a class become images."""

    DATACLASS = "dataclass"
    NAMED_TUPLE = "named tuple"
    ENUM = "enum"
    FLAG = "flag"
    PLAIN = "plain class"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Shape:
    """One class, described. `fields` are those of a dataclass or a named tuple, else empty."""

    cls: type
    kind: Kind
    reason: str = ""  # why the class is refused
    fields: tuple[str, ...] = ()
    defaults: dict[str, Callable[[], object]] = dataclasses.field(
        default_factory=dict
    )  # by field, those that have one
    slots: dict[str, MemberDescriptorType] = dataclasses.field(default_factory=dict)
    hidden_slots: tuple[MemberDescriptorType, ...] = ()  # their names mean something else in a derived class
    has_dict: bool = False


def describe_type(cls: type) -> str:
    """The class as a message names it."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def shape_of(cls: type) -> Shape:
    """Describe a class that is not one of the built-in value types."""
    if issubclass(cls, Enum):
        return Shape(cls, Kind.FLAG if issubclass(cls, Flag) else Kind.ENUM)
    if issubclass(cls, tuple):
        return _named_tuple(cls)
    reason = _hidden_state(cls)
    if reason:
        return Shape(cls, Kind.REFUSED, reason)
    members = [
        (name, member)
        for base in reversed(cls.__mro__)
        for name, member in vars(base).items()
        if isinstance(member, MemberDescriptorType)
    ]
    slots = {name: member for name, member in members if class_attribute(cls, name) is member}
    hidden = tuple(member for name, member in members if class_attribute(cls, name) is not member)
    has_dict = cls.__dictoffset__ != 0
    if dataclasses.is_dataclass(cls):
        fields = dataclasses.fields(cls)
        names = tuple(field.name for field in fields)
        defaults = {field.name: default for field in fields if (default := _default(field)) is not None}
        return Shape(cls, Kind.DATACLASS, "", names, defaults, slots, hidden, has_dict)
    hook = next((name for name in _REBUILD_HOOKS if overridden(cls, name)), None)
    if hook:
        return Shape(cls, Kind.REFUSED, f"its {hook} says that attributes alone can't rebuild it")
    return Shape(cls, Kind.PLAIN, "", (), {}, slots, hidden, has_dict)


def _named_tuple(cls: type) -> Shape:
    """Describe a subclass of tuple: a named tuple, or nothing that is a value."""
    fields = getattr(cls, "_fields", None)
    heap = all(base.__flags__ & _HEAP_TYPE for base in cls.__mro__ if base not in (tuple, object))
    if cls is msgpack.ExtType or not heap or not isinstance(fields, tuple) or not hasattr(cls, "_make"):
        return Shape(cls, Kind.REFUSED, "it is a subclass of tuple but not a NamedTuple")
    field_defaults: dict[str, object] = getattr(cls, "_field_defaults", {})
    defaults: dict[str, Callable[[], object]] = {
        name: functools.partial(_constant, value) for name, value in field_defaults.items()
    }
    return Shape(cls, Kind.NAMED_TUPLE, "", fields, defaults, has_dict=cls.__dictoffset__ != 0)


def _hidden_state(cls: type) -> str:
    """Why `object.__new__` and attributes can't rebuild an instance; empty if they can."""
    if cls is object:
        return "nothing tells it from another one"
    if cls is msgpack.Timestamp:
        return "it belongs to the wire format; use datetime"
    members = 0
    for base in cls.__mro__:
        if base in (object, typing.Generic):  # Generic is written in C from 3.12 on, without any state
            continue
        if not base.__flags__ & _HEAP_TYPE:
            if issubclass(base, BaseException):
                return "it is an exception"
            return (
                "attributes alone can't rebuild it"
                if cls is base
                else f"it is a subclass of {base.__qualname__}"
            )
        if "__slots__" not in vars(base) and base.__dictoffset__ == 0:
            return "attributes alone can't rebuild it"
        new = vars(base).get("__new__")
        if new is not None and not isinstance(new, staticmethod):
            return "attributes alone can't rebuild it"
        members += sum(isinstance(member, MemberDescriptorType) for member in vars(base).values())
    # An empty class with as many slots has the same size, unless C code keeps something beside them.
    slots = [f"slot_{number}" for number in range(members)]
    slots += ["__dict__"] * (cls.__dictoffset__ != 0) + ["__weakref__"] * (cls.__weakrefoffset__ != 0)
    twin = type("Twin", (), {"__slots__": slots})
    same = (twin.__basicsize__, twin.__itemsize__) == (cls.__basicsize__, cls.__itemsize__)
    return "" if same else "attributes alone can't rebuild it"


def _constant(value: object) -> object:
    return value


def _default(field: dataclasses.Field[Any]) -> Callable[[], object] | None:
    """What fills the field where an image has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    if field.default is not dataclasses.MISSING:
        return functools.partial(_constant, field.default)
    return None


def class_attribute(cls: type, name: str) -> object:
    """The attribute as it stands in the MRO, no descriptor run; `dataclasses.MISSING` if there is none."""
    for base in cls.__mro__:
        if name in vars(base):
            found: object = vars(base)[name]
            return found
    return dataclasses.MISSING


def overridden(cls: type, name: str) -> bool:
    """Whether the user's code defines a special method that `object` has or lacks.

    What the dataclass decorator writes (for slots) doesn't count.
    """
    found = class_attribute(cls, name)
    if found is dataclasses.MISSING or found is vars(object).get(name):
        return False
    return getattr(found, "__module__", None) != "dataclasses"


def copies_its_own_way(cls: type) -> bool:
    """Whether copy.deepcopy would run code of the class, so that only copy.deepcopy itself can copy it."""
    if cls in copyreg.dispatch_table:
        return True
    new = class_attribute(cls, "__new__")
    if issubclass(cls, tuple):  # every named tuple has __new__ and __getnewargs__
        return any(overridden(cls, name) for name in ("__deepcopy__", "__reduce__", "__reduce_ex__"))
    return new is not vars(object)["__new__"] or any(overridden(cls, name) for name in _COPY_HOOKS)


def state_of(value: object, shape: Shape) -> dict[str, object]:
    """All attributes of an instance, slots first, as they are stored."""
    state: dict[str, object] = {}
    for name, slot in shape.slots.items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:  # an empty slot
            continue
    if any(_is_filled(slot, value) for slot in shape.hidden_slots):
        raise Refusal("it keeps something in a slot that a derived class hides")
    if shape.has_dict:
        for name, attribute in value.__dict__.items():
            if type(name) is not str:
                raise Refusal(f"an attribute is named by {name!r}, which is not a str")
            if name in shape.slots:
                raise Refusal(f"attribute {name!r} stands both in a slot and in __dict__")
            if name != TYPING_NOTE:
                state[name] = attribute
    return state


def _is_filled(slot: MemberDescriptorType, value: object) -> bool:
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def place(value: object, shape: Shape, name: str, attribute: object) -> None:
    """Set one attribute where `state_of` would read it; AttributeError if the class has no place for it."""
    slot = shape.slots.get(name)
    if slot is not None:
        slot.__set__(value, attribute)
    elif hasattr(type(class_attribute(shape.cls, name)), "__set__"):  # a property must not take it
        value.__dict__[name] = attribute
    else:
        # Not through __dict__: until that is asked for, CPython keeps attributes in a smaller and faster
        # form.
        object.__setattr__(value, name, attribute)
