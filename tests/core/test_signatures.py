"""What can be told of functions and state factories when they are given to a step."""

from __future__ import annotations

import functools
import operator
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from holdfast import sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.errors import ApplicationError
from holdfast.core.steps import Step
from holdfast.core.streams import KeyedStream, Stream


def new_stream() -> Stream[str]:
    return Application("test").source(sources.Memory(["a"]))


def new_keyed() -> KeyedStream[str]:
    return new_stream().key_by(str)


def stateful_steps_of(keyed: KeyedStream[Any]) -> list[Step]:
    return keyed._application.stateful_steps


def count(message: str, state: list[str]) -> int:
    state.append(message)
    return len(state)


def count_with_ctx(message: str, state: list[str], ctx: Context) -> int:
    return len(state)


# --- functions


class Adder:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __call__(self, message: int) -> int:
        return message + self.amount

    def method(self, message: int) -> int:
        return message

    def stateful(self, message: str, state: list[str], ctx: Context) -> None:
        pass

    async def later(self, message: int) -> int:
        return message


class Counting:
    def __call__(self, message: str, state: list[str], ctx: Context) -> Iterator[str]:
        yield message


class AsyncCall:
    async def __call__(self, message: int) -> int:
        return message


def generator(message: str) -> Iterator[str]:
    yield message


async def later(message: str) -> str:
    return message


async def async_generator(message: str) -> Any:
    yield message


@pytest.mark.parametrize(
    "function",
    [
        str,
        int,
        len,
        repr,
        max,
        print,
        str.split,
        operator.itemgetter(0),
        functools.partial(operator.add, 1),
        functools.partial(pow, exp=2),
        Adder(1),
        Adder(1).method,
        Adder,
        lambda message, extra=1: message,
        lambda *messages: messages,
    ],
)
def test_anything_that_can_be_called_with_a_message_is_a_function(function: Callable[[Any], Any]) -> None:
    new_stream().map(function).filter(function).branch(function)
    new_stream().flat_map(function).key_by(function)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (None, "None is not a function; give one that takes (message)"),
        ("split", "'split' is not a function"),
        (lambda: 1, "can't be called with (message); give a function that takes one argument"),
        (lambda message, other: 1, "can't be called with (message)"),
        (lambda message, *, other: 1, "can't be called with (message)"),
        (count, "step 'count': count("),
        (later, "later is async"),
        (async_generator, "is async"),
        (functools.partial(later), "later is async"),
        (Adder(1).later, "later is async"),
        (AsyncCall(), "AsyncCall is async"),
    ],
)
@pytest.mark.parametrize("method", ["map", "filter", "flat_map", "key_by", "branch"])
def test_what_cannot_be_called_with_a_message_is_refused(method: str, function: Any, sentence: str) -> None:
    with pytest.raises(ApplicationError) as refused:
        getattr(new_stream(), method)(function)
    assert sentence in str(refused.value)
    assert "application 'test', step " in str(refused.value)


@pytest.mark.parametrize("method", ["map", "filter", "key_by", "branch"])
@pytest.mark.parametrize("function", [generator, functools.partial(generator)])
def test_generators_are_for_flat_map(method: str, function: Any) -> None:
    with pytest.raises(ApplicationError, match=r"'generator': generator is a generator function.*use flat_map"):
        getattr(new_stream(), method)(function)
    new_stream().flat_map(function)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


@pytest.mark.parametrize(
    ("function", "takes_ctx", "name"),
    [
        (count, False, "count"),
        (count_with_ctx, True, "count_with_ctx"),
        (wrapped(count), False, "count"),
        (wrapped(count_with_ctx), True, "count_with_ctx"),
        (functools.partial(count_with_ctx), True, "count_with_ctx"),
        (Adder(1).stateful, True, "stateful"),
        (Counting(), True, "Counting"),
        (operator.add, False, "add"),
    ],
)
def test_a_stateful_function_takes_ctx_by_its_signature(function: Any, takes_ctx: bool, name: str) -> None:
    keyed = new_keyed()
    keyed.stateful(function, state=list)
    (step,) = stateful_steps_of(keyed)
    assert (step.takes_ctx, step.name) == (takes_ctx, name)


def test_an_optional_third_argument_is_ctx_only_if_it_says_so() -> None:
    def optional(message: str, state: list[str], limit: int = 3) -> None: ...
    def optional_ctx(message: str, state: list[str], ctx: Context | None = None) -> None: ...

    keyed = new_keyed()
    keyed.stateful(optional, state=list)
    keyed.stateful(optional_ctx, state=list)
    assert [step.takes_ctx for step in stateful_steps_of(keyed)] == [False, True]


def test_generator_functions_are_known_where_every_call_gives_a_generator() -> None:
    def yielding(message: str, state: list[str]) -> Iterator[str]:
        yield message

    def at_timer(name: str, state: list[str], ctx: Context) -> Iterator[str]:
        yield name

    keyed = new_keyed()
    keyed.stateful(yielding, state=list, on_timer=at_timer)
    keyed.stateful(functools.partial(yielding), state=list, name="partial")
    keyed.stateful(Counting(), state=list)
    keyed.stateful(wrapped(yielding), state=list, name="wrapped")
    keyed.stateful(count, state=list)
    steps = stateful_steps_of(keyed)
    assert [step.is_generator for step in steps] == [True, True, True, False, False]
    assert [step.timer_is_generator for step in steps] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (None, "is not a function"),
        (lambda message: 1, "can't be called with (message, state) nor with (message, state, ctx)"),
        (lambda a, b, c, d: 1, "give it two or three positional arguments"),
        (lambda message, state, *, ctx: 1, "give it two or three positional arguments"),
        (lambda *arguments: 1, "doesn't tell whether it takes ctx"),
        (later, "is async"),
    ],
)
def test_other_stateful_functions_are_refused(function: Any, sentence: str) -> None:
    with pytest.raises(ApplicationError) as refused:
        new_keyed().stateful(function, state=list, name="mine")
    assert sentence in str(refused.value)
    assert "step 'mine'" in str(refused.value)


@pytest.mark.parametrize(
    ("on_timer", "sentence"),
    [
        (5, "is not a function; give one that takes (name, state, ctx)"),
        (lambda name, state: 1, "give a function that takes three arguments"),
        (later, "is async"),
    ],
)
def test_timers_call_functions_of_three_arguments(on_timer: Any, sentence: str) -> None:
    with pytest.raises(ApplicationError) as refused:
        new_keyed().stateful(count, state=list, on_timer=on_timer)
    assert f"step 'count', on_timer: {sentence}" in str(refused.value) or sentence in str(refused.value)


# --- states


@dataclass
class Total:
    count: int = 0


@dataclass
class OfKey:
    key: str
    count: int = 0


class Pair(NamedTuple):
    left: int = 0
    right: int = 0


class OneField(NamedTuple):
    key: str


SHARED: list[int] = []


@pytest.mark.parametrize(
    ("factory", "takes_key"),
    [
        (Total, False),
        (OfKey, True),
        (list, False),
        (dict, False),
        (set, False),
        (deque, False),
        (Counter, False),
        (bytearray, False),
        (functools.partial(defaultdict, int), False),
        (functools.partial(OfKey, count=5), True),
        (lambda: [1], False),
        (lambda key: [key], True),
        (lambda key="x": [key], False),
    ],
)
def test_a_factory_gets_the_key_if_it_requires_one_argument(factory: Any, takes_key: bool) -> None:
    keyed = new_keyed()
    keyed.stateful(count, state=factory)
    (step,) = stateful_steps_of(keyed)
    assert (step.state_factory, step.takes_key) == (factory, takes_key)


def make_unchangeable() -> list[Any]:
    return [int, float, str, bytes, bool, tuple, Pair, OneField, lambda: None, lambda: 0, lambda: (), lambda: "x"]


@pytest.mark.parametrize("factory", make_unchangeable())
def test_a_state_that_cannot_be_changed_in_place_needs_ctx(factory: Any) -> None:
    with pytest.raises(ApplicationError, match=r"'count': .*can't be changed in place; let .* assign ctx\.state"):
        new_keyed().stateful(count, state=factory)
    new_keyed().stateful(count_with_ctx, state=factory)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ([], "is one object for all keys; use state=list or state=lambda: []"),
        ({}, "state={} is one object for all keys; use state=dict or"),
        (0, "use state=int or state=lambda: 0"),
        (None, "use state=lambda: None"),
        (Total(), "give a class or a function that makes a new one, such as state=Total"),
        (lambda a, b: [], "must take nothing, or the key"),
        (lambda *, key: [], "must take nothing, or the key"),
        (lambda: 1 // 0, "raised ZeroDivisionError"),
        (lambda: SHARED, "returns the same list every time; return a new one"),
        (later, "must be a plain function that returns a state"),
        (generator, "must be a plain function that returns a state"),
    ],
)
def test_what_makes_no_states_is_refused(state: Any, sentence: str) -> None:
    with pytest.raises(ApplicationError) as refused:
        new_keyed().stateful(count_with_ctx, state=state)
    assert sentence in str(refused.value)
    assert "step 'count_with_ctx'" in str(refused.value)
