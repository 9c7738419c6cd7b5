"""Names of classes as they stand in images, and the way back from a name to its class.

A tag is an application-level name: the class's `__qualname__`, or the name given to `register`. It never
holds a module path, so that `python app.py` (where the module is `__main__`) and `holdfast run app.py:app`
read each other's data.
Invariant: `tag(cls)` succeeds only if `find` would give that class back, so nothing is written that can't be
read; and data never causes an import: hints are followed only into modules that the application has imported
itself.
Not here: which classes are values (classes), how their instances are encoded (values), which classes an
application uses (reach).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from holdfast.core.classes import describe_type
from holdfast.core.errors import DamagedError, UsageError, ValueTypeError
from holdfast.core.leaves import NATIVE_TYPES
from holdfast.core.reach import collect

__all__ = ["Registration", "TypeRegistry", "collect", "register", "registration"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registration:
    """What `register` was told about one type; without functions it only names the class."""

    cls: type
    name: str
    encode: Callable[[Any], object] | None
    decode: Callable[[Any], object] | None


# Process-wide, because registering belongs to a type's definition.
_by_type: dict[type, Registration] = {}
_by_name: dict[str, Registration] = {}


def register(
    cls: type[T],
    encode: Callable[[T], object] | None = None,
    decode: Callable[[Any], T] | None = None,
    name: str | None = None,
) -> None:
    """Make instances of `cls` values, or only give a class its `name` in stored data.

    `encode` turns an instance into a value of other types, `decode` turns that into an instance again.
    Register where the type is defined or imported, before the application runs. A class that was made anew (a
    reloaded module) takes the place of its older self.
    """
    if (encode is None) != (decode is None):
        raise UsageError(f"register({cls.__qualname__}): encode and decode go together")
    if encode is None and name is None:
        raise UsageError(f"register({cls.__qualname__}): give encode and decode, or a name")
    if cls in NATIVE_TYPES:
        raise UsageError(f"register({cls.__qualname__}): instances of this type are values already")
    entry = Registration(cls, cls.__qualname__ if name is None else name, encode, decode)
    rival = _by_name.get(entry.name)
    if rival is not None and rival.cls is not cls:
        if describe_type(rival.cls) != describe_type(cls):
            raise UsageError(_conflict(entry.name, cls, rival.cls))
        del _by_type[rival.cls]
    former = _by_type.get(cls)
    if former is not None:
        del _by_name[former.name]
    _by_type[cls] = _by_name[entry.name] = entry


def registration(cls: type) -> Registration | None:
    """What was registered for exactly this class."""
    return _by_type.get(cls)


def _conflict(tag: str, one: type, other: type) -> str:
    return (
        f"{describe_type(one)} and {describe_type(other)} would both be stored as {tag!r}; "
        f"name one of them with hf.register({one.__qualname__}, name=…)"
    )


class TypeRegistry:
    """The classes of one application by tag.

    `known` are the classes that the application's functions reach (`collect`). `hints`, as stored with the
    data, say in which module a class lived that was found only by its own module path. A registry is used by
    several threads: each of its dicts is changed by single assignments of values that are always the same.
    """

    def __init__(self, known: Iterable[type] = (), hints: Mapping[str, str] = MappingProxyType({})) -> None:
        self._known: dict[str, list[type]] = {}
        self._hints: dict[str, str] = dict(hints)
        self._tags: dict[type, str] = {}  # every class encoded or decoded so far
        self._classes: dict[str, type] = {}  # the reverse of _tags
        self._strays: dict[str, str] = {}  # those of _hints that are needed
        self.codec: Any = None  # belongs to values, which makes it on first use
        for cls in known:
            self.add(cls)

    def add(self, cls: type) -> None:
        """Make a class known, so that data can name it."""
        entries = self._known.setdefault(cls.__qualname__, [])
        if cls not in entries:
            entries.append(cls)

    def tag(self, cls: type) -> str:
        """The class's name in images; ValueTypeError if that name would not lead back to it."""
        tag = self._tags.get(cls)
        if tag is None:
            entry = registration(cls)
            tag = cls.__qualname__ if entry is None else entry.name
            candidates = self._candidates(tag)
            if cls not in candidates and _resolve(cls.__module__, cls.__qualname__) is cls:
                candidates.append(cls)
            rival = next((other for other in candidates if other is not cls), None)
            if rival is not None:
                raise ValueTypeError(_conflict(tag, cls, rival))
            if not candidates:
                raise ValueTypeError(
                    f"{describe_type(cls)} could not be found again by its name when its data is read; "
                    f"define it at the top of its module, or name it with hf.register({cls.__name__}, name=…)"
                )
            self._remember(tag, cls)
        return tag

    def find(self, tag: str) -> type:
        """The class of a tag; DamagedError if this application has none."""
        cls = self._classes.get(tag)
        if cls is None:
            candidates = self._candidates(tag)
            if len(candidates) > 1:
                raise DamagedError("value", _conflict(tag, *candidates[:2]))
            if not candidates:
                hint = self._hints.get(tag)
                where = f"; it was stored from module {hint!r}" if hint else ""
                raise DamagedError("value", f"this application has no class {tag!r}{where}")
            cls = candidates[0]
            self._remember(tag, cls)
        return cls

    @property
    def hint_count(self) -> int:
        """How many tags were used so far: it rises whenever `hints` has something new."""
        return len(self._hints)

    def hints(self) -> dict[str, str]:
        """Every tag used so far with the module its class lives in: to be stored with the data."""
        return dict(self._hints)

    def strays(self) -> dict[str, str] | None:
        """The hints of classes that only their module led to, None without any: another process may need them."""
        return dict(self._strays) if self._strays else None

    def learn(self, strays: Mapping[str, str]) -> None:
        """Take over another process's hints, where there is none yet."""
        for tag, module in strays.items():
            self._hints.setdefault(tag, module)

    def _remember(self, tag: str, cls: type) -> None:
        self._hints[tag] = cls.__module__
        if tag not in _by_name and tag not in self._known:
            self._strays[tag] = cls.__module__
        self._classes[tag] = cls
        self._tags[cls] = tag

    def _candidates(self, tag: str) -> list[type]:
        """The classes that data could mean by a tag: one, unless two of the application share the name."""
        if tag in self._classes:
            return [self._classes[tag]]
        if tag in _by_name:
            return [_by_name[tag].cls]
        # A class registered under another name goes by that one only.
        found = [cls for cls in self._known.get(tag, ()) if registration(cls) is None]
        if not found and tag in self._hints:
            hinted = _resolve(self._hints[tag], tag)
            if hinted is not None and registration(hinted) is None:
                found.append(hinted)
        return found


def _resolve(module: str, qualname: str) -> type | None:
    """The class at a module path, if that module is loaded and has one there of this very name."""
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        if found is None or part not in (attributes := getattr(found, "__dict__", {})):
            return None
        found = attributes[part]
    return found if isinstance(found, type) and found.__qualname__ == qualname else None
