"""What can be told of a user's function before it is called: its name, whether it can be called as it will be
called.

Every refusal is an ApplicationError of one sentence that names the step and says what to do. Where Python
can't tell a callable's signature (some built-ins), it passes. Nothing here calls a user's function, except a
state factory.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from holdfast.core.errors import ApplicationError

_UNCHANGEABLE = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    tuple,
)  # a state of these types can only be replaced
_CHANGEABLE = (list, dict, set, bytearray)


def function_name(function: Any) -> str:
    """The name of a function, through `functools.partial`; of a callable instance, its class's."""
    while isinstance(function, (functools.partial, functools.partialmethod)):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def is_lambda(function: Any) -> bool:
    """Whether the function has no name of its own."""
    return function_name(function) == "<lambda>"


def is_generator_function(function: Any) -> bool:
    """Whether every call surely gives a generator: not so for a wrapper, which may do anything with what it
    wraps."""
    return _is(inspect.isgeneratorfunction, function)


def accepts(function: Any, argument_count: int) -> bool | None:
    """Whether the function can be called with so many positional arguments; None: can't be told."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    try:
        signature.bind(*[None] * argument_count)
    except TypeError:
        return False
    return True


def check_function(step: str, function: Any, *arguments: str, several: bool = False) -> None:
    """Refuse what can't be called like this; generators too, unless the step takes several outputs."""
    _check_plain(step, function, _call(arguments))
    if not several and is_generator_function(function):
        raise ApplicationError(
            f"{step}: {function_name(function)} is a generator function; return one value, "
            "or use flat_map for several outputs"
        )
    if accepts(function, len(arguments)) is False:
        raise ApplicationError(
            f"{step}: {_shown_call(function)} can't be called with {_call(arguments)}; "
            f"give a function that takes {_count(len(arguments))}"
        )
    refuse_hidden_state(step, function)


def refuse_hidden_state(step: str, function: Any) -> None:
    """Refuse a default that calls would share: an empty list is there to be filled, and no checkpoint keeps it."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return
    for parameter in parameters:
        if isinstance(parameter.default, _CHANGEABLE) and not parameter.default:
            raise ApplicationError(
                f"{step}: {function_name(function)} has the default {parameter.name}={parameter.default!r}, one object "
                "for all calls, which is lost at a crash; keep what must be kept in the state of a stateful step"
            )


def is_coroutine_function(function: Any) -> bool:
    """Whether every call surely gives a coroutine."""
    return _is(inspect.iscoroutinefunction, function)


def check_intake(step: str, function: Any, concurrency: object) -> None:
    """Refuse what can't be called with a record. It may be a coroutine function, for it stands outside of the steps."""
    if not callable(function):
        raise ApplicationError(f"{step}, intake: {_shown(function)} is not a function; give one that takes (record)")
    if is_generator_function(function) or _is(inspect.isasyncgenfunction, function):
        raise ApplicationError(f"{step}, intake: {function_name(function)} is a generator function; return one value")
    if accepts(function, 1) is False:
        raise ApplicationError(
            f"{step}, intake: {_shown_call(function)} can't be called with (record); "
            "give a function that takes one argument"
        )
    if type(concurrency) is not int or concurrency < 1:
        raise ApplicationError(f"{step}, intake: concurrency={concurrency!r} must be a positive int")


def takes_context(step: str, function: Any) -> bool:
    """Whether a stateful function is called as (message, state, ctx) and not as (message, state)."""
    _check_plain(step, function, "(message, state) or (message, state, ctx)")
    refuse_hidden_state(step, function)
    match accepts(function, 2), accepts(function, 3):
        case False, False:
            raise ApplicationError(
                f"{step}: {_shown_call(function)} can't be called with (message, state) "
                "nor with (message, state, ctx); give it two or three positional arguments"
            )
        case False, True:
            return True
        case True, True:
            third = _third_argument(function)
            if third is None:
                raise ApplicationError(
                    f"{step}: {_shown_call(function)} doesn't tell whether it takes ctx; name its arguments "
                    "as (message, state) or (message, state, ctx), or use functools.wraps in its decorator"
                )
            return third == "ctx"
        case _:
            return False


def _check_plain(step: str, function: Any, call: str) -> None:
    if not callable(function):
        raise ApplicationError(f"{step}: {_shown(function)} is not a function; give one that takes {call}")
    if _is(inspect.iscoroutinefunction, function) or _is(inspect.isasyncgenfunction, function):
        raise ApplicationError(
            f"{step}: {function_name(function)} is async; steps are pure, so use a plain function "
            "and talk to the outside world in a source or a sink"
        )


def check_state_factory(step: str, factory: Any, *, takes_ctx: bool) -> bool:
    """Refuse what can't make states; whether the factory is called with the key. Calls one that takes
    nothing."""
    if not callable(factory):
        raise ApplicationError(
            f"{step}: state={_shown(factory)} is one object for all keys; {_factory_advice(factory)}"
        )
    for refused in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction):
        if _is(refused, factory):
            raise ApplicationError(
                f"{step}: state={function_name(factory)} must be a plain function that returns a state"
            )
    takes_key = accepts(factory, 0) is False
    if takes_key and not accepts(factory, 1):
        raise ApplicationError(
            f"{step}: state={_shown_call(factory)} must take nothing, or the key; give its other arguments defaults"
        )
    if not takes_ctx and isinstance(factory, type) and issubclass(factory, _UNCHANGEABLE):
        _refuse_unchangeable(step, factory, factory)
    if not takes_key:
        _try_factory(step, factory, takes_ctx)
    return takes_key


def _try_factory(step: str, factory: Callable[[], Any], takes_ctx: bool) -> None:
    try:
        first, second = factory(), factory()
    except Exception as error:
        raise ApplicationError(
            f"{step}: state={function_name(factory)} raised {type(error).__name__}: {error}; "
            "it must return a new state when called with nothing"
        ) from error
    if not takes_ctx and isinstance(first, _UNCHANGEABLE):
        _refuse_unchangeable(step, factory, type(first))
    _refuse_shared(step, first)
    if first is second and isinstance(first, _CHANGEABLE):
        raise ApplicationError(
            f"{step}: state={function_name(factory)} returns the same {type(first).__name__} every time; "
            "return a new one"
        )


def _refuse_shared(step: str, state: Any) -> None:
    """Refuse a state whose class holds a list or the like for all keys together, unless it is named as a constant."""
    own = getattr(state, "__dict__", {})
    for cls in type(state).__mro__[:-1]:
        annotations = vars(cls).get("__annotations__", {})
        for name, value in vars(cls).items():
            is_constant = name.startswith("_") or name.isupper() or "ClassVar" in str(annotations.get(name, ""))
            if isinstance(value, _CHANGEABLE) and not is_constant and name not in own:
                raise ApplicationError(
                    f"{step}: {cls.__name__}.{name} is one {type(value).__name__} for all keys, and no part of their "
                    f"states; make it in __init__ (dataclass: field(default_factory={type(value).__name__}))"
                )


def _refuse_unchangeable(step: str, factory: Any, kind: type) -> None:
    given = "None" if kind is type(None) else f"a {kind.__name__}"
    raise ApplicationError(
        f"{step}: state={function_name(factory)} gives {given}, which can't be changed in place; "
        "let the function take (message, state, ctx) and assign ctx.state"
    )


def _factory_advice(state: object) -> str:
    name = type(state).__name__
    if state is None:
        return "use state=lambda: None"
    if isinstance(state, _CHANGEABLE + _UNCHANGEABLE):
        return f"use state={name} or state=lambda: {_shown(state)}, which makes a new one for each key"
    return f"give a class or a function that makes a new one, such as state={name}"


def _third_argument(function: Any) -> str | None:
    """The name of the third positional argument; None where `*args` would take it."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]
    return names[2] if len(names) > 2 else None


def _is(predicate: Callable[[Any], bool], function: Any) -> bool:
    """Apply one of inspect's predicates, which look through partial and methods, to callable instances
    too."""
    while isinstance(function, functools.partial):
        function = function.func
    if predicate(function):
        return True
    if isinstance(function, type) or inspect.isroutine(function):
        return False
    return predicate(type(function).__call__)


def _call(arguments: tuple[str, ...]) -> str:
    return f"({', '.join(arguments)})"


def _count(number: int) -> str:
    return {1: "one argument", 2: "two arguments", 3: "three arguments"}[number]


def _shown_call(function: Any) -> str:
    return f"{function_name(function)}{inspect.signature(function)}"


def shown_class(thing: object) -> str:
    """The thing in a message; of a class that it is one, for a common slip is to leave out the brackets."""
    return f"{thing.__name__} is a class, which" if isinstance(thing, type) else repr(thing)


def _shown(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else f"{text[:57]}..."
