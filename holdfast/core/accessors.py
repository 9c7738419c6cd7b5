"""Functions generated per class that read and make its instances many times faster than generic code.

A reader answers only when it is certain that the instance has exactly the fields of its dataclass, without
asking for `__dict__`: on CPython 3.11 and 3.12 the first look at it moves the attributes of the object into a
real dict for ever, which costs 64 bytes and more than doubles the price of `state.count += 1` (20 -> 54 ns).
The proof counts what the garbage collector would visit: an object that surely has its k fields and refers to
k objects and its class has no other attribute. Where the proof fails (a value is the very default of its
field, so that it may be the class's) `__dict__` is asked after all.
Not here: what the attributes are turned into (values, columns, copying).
"""

from __future__ import annotations

import dataclasses
import gc
import keyword
import linecache
from collections.abc import Callable
from itertools import repeat
from operator import is_
from typing import Any

from holdfast.core.classes import Kind, Shape, class_attribute, place

Reader = Callable[[Any], "tuple[Any, ...] | None"]
ColumnReader = Callable[[list[Any]], "list[list[Any]] | None"]
Maker = Callable[..., Any]


def reader(shape: Shape) -> Reader | None:
    """A function from an instance to its field values, or None if these are not exactly its attributes.

    There is no such function for classes that read their attributes in a way of their own.
    """
    if not _readable(shape):
        return None
    count = len(shape.fields)
    row = "".join(f"value.{name}, " for name in shape.fields)
    lines = ["def read(value):", "    try:", f"        row = ({row})"]
    lines += ["    except AttributeError:", "        return None"]
    globals_: dict[str, Any] = {"referents": gc.get_referents}
    if shape.has_dict:
        doubts = [f"len(found := referents(value)) != {count + 1}"]
        if count == 1:  # a real dict and the class would be two as well
            doubts.append("found[0] is not row[0]")
        for index, default in _class_defaults(shape):
            globals_[f"default_{index}"] = default
            doubts.append(f"row[{index}] is default_{index}")
        stored = "".join(f"state[{name!r}], " for name in shape.fields)
        lines += [
            f"    if {' or '.join(doubts)}:",
            "        state = value.__dict__",
            f"        if type(state) is not dict or len(state) != {count}:",
            "            return None",
            "        try:",
            f"            return ({stored})",
            "        except KeyError:",
            "            return None",
        ]
    lines.append("    return row")
    read: Reader = _generate(shape, "read", lines, globals_)
    return read


def column_reader(shape: Shape) -> ColumnReader | None:
    """The same for many instances, all of exactly this class: one list per field."""
    if not _readable(shape) or not shape.fields:
        return None
    count = len(shape.fields)
    columns = ", ".join(f"[state.{name} for state in states]" for name in shape.fields)
    lines = ["def read_columns(states):", "    try:", f"        columns = [{columns}]"]
    lines += ["    except AttributeError:", "        return None"]
    globals_: dict[str, Any] = {"referents": gc.get_referents, "certain": _certain, "from_dicts": _from_dicts}
    if shape.has_dict:
        globals_ |= {"defaults": _class_defaults(shape), "names": shape.fields}
        lines += [
            "    found = referents(*states)",
            f"    if len(found) != {count + 1} * len(states) or not certain(found, columns, defaults):",
            "        return from_dicts(states, names)",
        ]
    lines.append("    return columns")
    read_columns: ColumnReader = _generate(shape, "read_columns", lines, globals_)
    return read_columns


def _certain(found: list[Any], columns: list[list[Any]], defaults: list[tuple[int, object]]) -> bool:
    """Whether every value that was read is the instance's own, and no instance has a real dict."""
    if any(issubclass(kind, dict) for kind in set(map(type, found))):
        return False
    return not any(any(map(is_, columns[index], repeat(default))) for index, default in defaults)


def _from_dicts(states: list[Any], names: tuple[str, ...]) -> list[list[Any]] | None:
    """The columns by way of `__dict__`, None if that of any state holds more or less than the fields."""
    dicts = [state.__dict__ for state in states]
    if set(map(type, dicts)) != {dict} or set(map(len, dicts)) != {len(names)}:
        return None
    try:
        return [[found[name] for found in dicts] for name in names]
    except KeyError:
        return None


def maker(shape: Shape, names: tuple[str, ...]) -> Maker:
    """A function from the values of the named attributes, in order, to a new instance."""
    cls = shape.cls
    simple = all(_is_plain_name(name) for name in names) and all(_assignable(shape, name) for name in names)
    if not simple:

        def make_slowly(*values: object) -> object:
            made: object = object.__new__(cls)
            for name, value in zip(names, values, strict=True):
                place(made, shape, name, value)
            return made

        return make_slowly
    arguments = ", ".join(f"value_{index}" for index in range(len(names)))
    lines = [f"def make({arguments}):", "    made = new(cls)"]
    # A frozen dataclass, or a class that does something when it is assigned to.
    guarded = class_attribute(cls, "__setattr__") is not vars(object)["__setattr__"]
    for index, name in enumerate(names):
        lines.append(
            f"    assign(made, {name!r}, value_{index})" if guarded else f"    made.{name} = value_{index}"
        )
    lines.append("    return made")
    globals_ = {"new": object.__new__, "cls": cls, "assign": object.__setattr__}
    make: Maker = _generate(shape, "make", lines, globals_)
    return make


def _readable(shape: Shape) -> bool:
    """Whether reading `value.name` gives what is stored, or the default that stands in the class."""
    cls = shape.cls
    if (
        shape.kind is not Kind.DATACLASS
        or class_attribute(cls, "__getattribute__") is not vars(object)["__getattribute__"]
    ):
        return False
    if hasattr(cls, "__getattr__") or shape.hidden_slots or (shape.has_dict and shape.slots):
        return False
    for name in shape.fields:
        found = class_attribute(cls, name)
        stored = found is shape.slots[name] if name in shape.slots else not hasattr(type(found), "__get__")
        if not stored or not _is_plain_name(name):
            return False
    # A slot beside the fields would be lost, and so would one without a field.
    return shape.has_dict or set(shape.slots) == set(shape.fields)


def _assignable(shape: Shape, name: str) -> bool:
    """Whether assigning puts the value where it is stored."""
    found = class_attribute(shape.cls, name)
    if name in shape.slots:
        return found is shape.slots[name]
    return shape.has_dict and not hasattr(type(found), "__set__")


def _class_defaults(shape: Shape) -> list[tuple[int, object]]:
    """Fields whose default stands in the class, where reading finds it if the instance has none."""
    found = [(index, class_attribute(shape.cls, name)) for index, name in enumerate(shape.fields)]
    return [(index, default) for index, default in found if default is not dataclasses.MISSING]


def _is_plain_name(name: str) -> bool:
    # The compiler folds other identifiers to a normal form, so they would name another attribute.
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _generate(shape: Shape, name: str, lines: list[str], globals_: dict[str, Any]) -> Any:
    """Compile the function; its source is shown in tracebacks."""
    source = "\n".join(lines) + "\n"
    place_ = f"<holdfast {name} {shape.cls.__module__}.{shape.cls.__qualname__}>"
    linecache.cache[place_] = (len(source), None, source.splitlines(keepends=True), place_)
    exec(compile(source, place_, "exec"), globals_)
    return globals_[name]
