"""Which classes an application can meet: those that its functions and types reach.

Reached are the types given, the annotations of functions and of dataclass fields, and the classes at the top
of the modules that the functions live in. This is how a tag in stored data finds its class without any module
path.
Invariant: collecting only looks; it imports nothing and makes no instances.
Not here: what the classes are called in data (types).
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from holdfast.core.classes import Kind, shape_of
from holdfast.core.leaves import NATIVE_TYPES


def collect(functions: Iterable[Callable[..., Any]], types: Iterable[type]) -> set[type]:
    """The classes of values that the functions and types of an application reach."""
    waiting: list[type] = list(types)
    modules: set[str] = set()
    for function in functions:
        plain = _plain_function(function)
        if isinstance(plain, type):
            waiting.append(plain)
        waiting += _annotated(plain)
        modules.add(getattr(plain, "__module__", None) or "")
    for module in sorted(modules):
        if not _foreign(module):
            waiting += _top_classes(module)
    reached: set[type] = set()
    seen: set[type] = set()
    while waiting:
        cls = waiting.pop()
        if cls in seen or cls in NATIVE_TYPES:
            continue
        seen.add(cls)
        if shape_of(cls).kind is not Kind.REFUSED:
            reached.add(cls)
            waiting += _annotated(cls)
            waiting += _inner_classes(cls)
    return reached


def _plain_function(function: object) -> Any:
    """What was wrapped by a partial, a bound method, a decorator or a callable object."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isroutine(function) or isinstance(function, type):
            return function
        else:
            function = type(function).__call__
            if not inspect.isfunction(function):
                return function


def hints_of(annotated: object) -> dict[str, Any]:
    """The annotations of a function or class (its bases' too), resolved where they can be, else as texts."""
    try:
        return typing.get_type_hints(annotated)
    except Exception:  # noqa: BLE001 - annotations may raise anything, often a name known to type checkers only
        found: dict[str, Any] = {}
        for owner in reversed(getattr(annotated, "__mro__", (annotated,))):
            found |= getattr(owner, "__dict__", {}).get("__annotations__", {})
        return found or dict(getattr(annotated, "__annotations__", {}))


def classes_in(hint: object) -> Iterator[type]:
    """The classes that an annotation names, inside generics and unions too."""
    origin = typing.get_origin(hint)
    cls = hint if origin is None else origin
    if isinstance(cls, type) and cls.__module__ != "typing":  # Any and its like are classes too
        yield cls
    for argument in typing.get_args(hint):
        yield from classes_in(argument)


def _annotated(annotated: object) -> list[type]:
    return [cls for hint in hints_of(annotated).values() for cls in classes_in(hint)]


def _top_classes(module: str) -> list[type]:
    """The classes at the top of a loaded module, except those of the standard library and our own."""
    found = vars(sys.modules[module]) if module in sys.modules else {}
    return [cls for cls in list(found.values()) if isinstance(cls, type) and not _foreign(cls.__module__)]


def _foreign(module: str) -> bool:
    """Whether a module can't be the user's; a class there that shares a name is no rival to the user's."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top == "holdfast"


def _inner_classes(outer: type) -> list[type]:
    found = [inner for inner in vars(outer).values() if isinstance(inner, type)]
    return [inner for inner in found if inner.__qualname__ == f"{outer.__qualname__}.{inner.__name__}"]
