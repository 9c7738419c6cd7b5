"""What stored instances look like, as data: a later start compares its classes with it.

Invariant: a description is plain data (dicts, lists, str, bool), equal for equal classes in every process,
and names classes by qualified name only. New fields with defaults and new members are fine; whatever else
differs is refused.
Not here: decoding, which fills new fields (objects).
"""

from __future__ import annotations

import types
import typing
from dataclasses import is_dataclass
from enum import Enum, Flag
from typing import Any

from holdfast.core.classes import Kind, shape_of
from holdfast.core.leaves import NATIVE_TYPES
from holdfast.core.reach import classes_in, hints_of
from holdfast.core.types import registration


def describe(cls: object) -> dict[str, Any]:
    """Describe a class, and under `nested` by tag every class that its fields' annotations reach.

    A factory is described by what its return annotation says, or as of an unknown kind, which is never
    compared.
    """
    if not isinstance(cls, type):
        returned = hints_of(cls).get("return") if callable(cls) else None
        if not isinstance(returned, type):
            return {"tag": "", "kind": "unknown", "nested": {}}
        cls = returned
    nested: dict[str, Any] = {}
    waiting = [cls]
    seen = {cls}
    while waiting:
        met = waiting.pop()
        for hint in hints_of(met).values() if _has_fields(met) else ():
            for inner in classes_in(hint):
                if inner not in seen and (_has_fields(inner) or issubclass(inner, Enum)):
                    seen.add(inner)
                    waiting.append(inner)
                    nested[_tag(inner)] = _describe_alone(inner)
    return {**_describe_alone(cls), "nested": dict(sorted(nested.items()))}


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What of the new description does not fit instances of the old one, in lines for people."""
    if "unknown" in (old["kind"], new["kind"]):
        return []
    if old["tag"] != new["tag"]:
        return [f"{old['tag']} became {new['tag']}"]
    lines = _changes_alone(old, new)
    for tag in sorted(old["nested"].keys() & new["nested"].keys()):
        lines += _changes_alone(old["nested"][tag], new["nested"][tag])
    return lines


def _describe_alone(cls: type) -> dict[str, Any]:
    description: dict[str, Any] = {"tag": _tag(cls)}
    if cls in NATIVE_TYPES:
        return {**description, "kind": "builtin"}
    entry = registration(cls)
    if entry is not None and entry.encode is not None:
        return {**description, "kind": "registered"}
    shape = shape_of(cls)
    description["kind"] = shape.kind.value
    if shape.kind in (Kind.DATACLASS, Kind.NAMED_TUPLE):
        hints = hints_of(cls)
        description["fields"] = {
            name: {"type": _text(hints.get(name, Any)), "default": name in shape.defaults}
            for name in shape.fields
        }
    elif issubclass(cls, Enum):
        # Flags are stored by number, members of other Enums by name.
        members = cls.__members__.items()
        description["members"] = {
            name: str(member.value) if issubclass(cls, Flag) else "" for name, member in members
        }
    return description


def _changes_alone(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    tag = old["tag"]
    if old["kind"] != new["kind"]:
        return [f"{tag}: {old['kind']} became {new['kind']}"]
    lines = []
    fields = new.get("fields", {})
    for name, field in old.get("fields", {}).items():
        if name not in fields:
            lines.append(f"{tag} lost its field {name!r}")
        elif field["type"] != fields[name]["type"]:
            lines.append(f"{tag}.{name}: {field['type']} became {fields[name]['type']}")
    for name, field in fields.items():
        if name not in old["fields"] and not field["default"]:
            lines.append(f"{tag} has a new field {name!r} without a default")
    members = new.get("members", {})
    for name, number in old.get("members", {}).items():
        if name not in members:
            lines.append(f"{tag} lost its member {name!r}")
        elif number != members[name]:
            lines.append(f"{tag}.{name}: {number} became {members[name]}")
    return lines


def _tag(cls: type) -> str:
    entry = registration(cls)
    return cls.__qualname__ if entry is None else entry.name


def _has_fields(cls: type) -> bool:
    return is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def _text(hint: Any) -> str:
    """An annotation as text, the same however it is spelled and wherever its classes live."""
    if isinstance(hint, str):
        return hint
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_text(argument) for argument in typing.get_args(hint))
    if origin is typing.Annotated:
        return _text(typing.get_args(hint)[0])
    if origin is typing.Literal or origin is None:
        if hint is type(None):
            return "None"
        return _tag(hint) if isinstance(hint, type) else str(hint).replace("typing.", "")
    arguments = ", ".join("..." if argument is ... else _text(argument) for argument in typing.get_args(hint))
    name = _tag(origin) if isinstance(origin, type) else str(origin).replace("typing.", "")
    return f"{name}[{arguments}]"
