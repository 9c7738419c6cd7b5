"""What the code of an application is, as far as a change of it matters: the texts of the functions given to its steps.

Compared are these texts and how the steps hang together, never what the functions call. A function without a text
(built in, or typed into a session) is compared by its name, or by its byte code.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
import types
from collections.abc import Iterator
from typing import Any

import xxhash

from holdfast.core.application import Application
from holdfast.core.connector import is_live, partitions_of_sink, remembered_by
from holdfast.core.steps import Kind, Step

Fingerprint = dict[str, str]

# Entries that are not functions of a step.
SHAPE = "the order of the steps"


def fingerprint(app: Application) -> Fingerprint:
    """Return a digest for every function of every step, by a label that a user understands."""
    digests: Fingerprint = {}
    for step in app.steps:
        for role, function in functions_of(step):
            digests[f"{role}{step.kind.value} {step.name!r}"] = _digest(source_text(function))
    digests[SHAPE] = _digest("\n".join(_edges(app)))
    return digests


def changed(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return one text for each difference, in order of definition, the removed ones last."""
    lines = [label for label, digest in new.items() if label in old and old[label] != digest]
    lines += [f"{label} (new)" for label in new if label not in old]
    lines += [f"{label} (removed)" for label in old if label not in new]
    return lines


def functions_of(step: Step) -> Iterator[tuple[str, Any]]:
    """Yield what the user gave to a step to be called, each with its role."""
    if step.function is not None:
        yield "", step.function
    if step.on_timer is not None:
        yield "on_timer of ", step.on_timer
    if step.state_factory is not None:
        yield "state of ", step.state_factory
    if step.kind is Kind.SINK and partitions_of_sink(step.sink) is not None:
        yield "by of ", step.sink.by


def source_text(function: Any) -> str:
    """Return the text that stands for a function's code."""
    if isinstance(function, functools.partial):
        return f"partial {source_text(function.func)} {function.args!r} {sorted(function.keywords.items())!r}"
    if inspect.ismethod(function):
        return source_text(function.__func__)
    target = inspect.unwrap(function)
    if not isinstance(target, type | types.FunctionType | types.BuiltinFunctionType):
        target = type(target)  # an object that can be called: its class is its code
    try:
        return textwrap.dedent(inspect.getsource(target))
    except (OSError, TypeError):
        code = getattr(target, "__code__", None)
        return f"{target.__module__}.{target.__qualname__}" if code is None else "\n".join(_code_text(code))


def _code_text(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names!r} {code.co_varnames!r}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code_text(constant)
        else:
            yield repr(constant)


def _edges(app: Application) -> Iterator[str]:
    """How the steps hang together; what a step is called matters only where it is a recovery id."""
    for step in app.steps:
        name = step.name if step.kind in (Kind.SOURCE, Kind.STATEFUL, Kind.SINK) else ""
        rule = step.on_error.index if isinstance(step.on_error, Step) else step.on_error
        remembered = remembered_by(step.source)  # other ids might be known again in a replay
        bound = "" if remembered is None else f" remembers {remembered}"
        live = " live" if step.kind is Kind.SOURCE and is_live(step.source) else ""  # it decides the order of records
        yield f"{step.kind.value} {name} {[tuple(port) for port in step.upstream]} {rule}{bound}{live}"


def _digest(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass"))
