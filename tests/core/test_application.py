"""An application is built without I/O, and mistakes are refused with a sentence that names the step."""

from __future__ import annotations

import functools
import operator
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.errors import ApplicationError
from holdfast.core.steps import Kind, Port
from holdfast.core.streams import KeyedStream, Stream


def new_stream() -> Stream[str]:
    return Application("test").source(sources.Memory(["a"]))


def new_keyed() -> KeyedStream[str]:
    return new_stream().key_by(str)


def application_of(stream: Stream[Any] | KeyedStream[Any]) -> Application:
    return stream._application


def count(message: str, state: list[str]) -> int:
    state.append(message)
    return len(state)


def count_with_ctx(message: str, state: list[str], ctx: Context) -> int:
    return len(state)


# --- names


@pytest.mark.parametrize("name", ["word-count", "a", "x" * 100, "with space", "größe", "v1.2", "_"])
def test_names_fit_for_a_folder_are_accepted(name: str) -> None:
    assert Application(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", " a", "a ", "a.", "a:b", "x" * 101, "\ud800", 7, None],
)
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(ApplicationError):
        Application(name)


def test_sources_and_sinks_are_numbered_among_their_kind_from_the_second_on() -> None:
    app = Application("test")
    for name in (None, "named", None):
        app.source(sources.Memory([1]), name=name).sink(sinks.Memory(), name=name)
    assert [step.name for step in app.sources] == ["source", "named", "source-3"]
    assert [step.name for step in app.sinks] == ["sink", "named", "sink-3"]


def test_sinks_for_dead_letters_only_are_numbered_after_all_others() -> None:
    """So that giving on_error= to a step never renames the sink of an output."""
    app = Application("test", on_error=sinks.Memory())
    stream = app.source(sources.Memory(["a"]))
    stream.map(str, on_error=sinks.Memory()).sink(sinks.Memory())
    app.check()
    assert [step.name for step in app.sinks] == ["sink", "sink-2", "sink-3"]
    assert [step.index for step in app.steps] == list(range(len(app.steps)))
    mapping = app.steps[1]
    assert app.on_error is app.sinks[1]
    assert mapping.on_error is app.sinks[2]
    assert app.sinks[0].on_error is app.on_error


def test_a_sink_given_twice_is_one_step() -> None:
    app, sink = Application("test"), sinks.Memory()
    stream = app.source(sources.Memory(["a"]), on_error=sink)
    stream.sink(sink)
    stream.map(str).sink(sink)
    app.check()
    (step,) = app.sinks
    assert step.upstream == (Port(0), Port(2))
    assert app.sources[0].on_error is step
    assert app.sources[0].consumers == ([1, 2],)


def test_a_sink_given_twice_cannot_have_two_names_or_rules() -> None:
    stream, sink = new_stream(), sinks.Memory()
    stream.sink(sink, name="first")
    stream.sink(sink, name="first")
    with pytest.raises(ApplicationError, match="first.*give name= once"):
        stream.sink(sink, name="second")
    with pytest.raises(ApplicationError, match="first.*give it once"):
        stream.sink(sink, on_error="skip")


def test_repeated_recovery_ids_are_refused() -> None:
    app = Application("test")
    keyed = app.source(sources.Memory(["a"])).key_by(str)
    keyed.stateful(count, state=list).sink(sinks.Memory(), name="sink-2")
    with pytest.raises(ApplicationError, match=r"'count'.*another stateful step has this name already; give name="):
        keyed.stateful(count, state=list)
    with pytest.raises(ApplicationError, match=r"'source'.*another source"):
        app.source(sources.Memory(["a"]), name="source")
    with pytest.raises(ApplicationError, match=r"'sink-2'.*another sink"):
        keyed.sink(sinks.Memory())
    keyed.stateful(count, state=list, name="count again")


def test_a_stateful_lambda_needs_a_name() -> None:
    keyed = new_keyed()
    with pytest.raises(ApplicationError, match="lambda has no name.*give name="):
        keyed.stateful(lambda message, state: None, state=list)
    with pytest.raises(ApplicationError, match="lambda has no name"):
        keyed.stateful(functools.partial(lambda extra, message, state: None, 1), state=list)
    keyed.stateful(lambda message, state: None, state=list, name="named")
    assert application_of(keyed).stateful_steps[0].name == "named"


def test_labels_of_other_steps_are_readable_and_differ() -> None:
    stream = new_stream().map(str.lower).map(str.lower).map(lambda word: word).filter(bool).map(lambda word: word)
    stream.merge(stream)
    names = [step.name for step in application_of(stream).steps]
    assert names == ["source", "lower", "lower-2", "map", "bool", "map-2", "merge"]


def test_old_names_must_be_free() -> None:
    keyed = new_keyed()
    keyed.stateful(count, state=list, was="old").sink(sinks.Memory())
    keyed.stateful(count, state=list, name="other", was="old").sink(sinks.Memory())
    with pytest.raises(ApplicationError, match="'other'.*was='old'"):
        application_of(keyed).check()
    keyed = new_keyed()
    keyed.stateful(count, state=list).sink(sinks.Memory())
    keyed.stateful(count, state=list, name="other", was="count")
    with pytest.raises(ApplicationError, match="'other'.*was='count'"):
        application_of(keyed).check()
    with pytest.raises(ApplicationError, match="'third'.*was=''"):
        new_keyed().stateful(count, state=list, name="third", was="")


# --- the application as a whole


def test_building_does_no_io(tmp_path: Path) -> None:
    app = Application("test", on_error=sinks.JsonLines(str(tmp_path / "letters")))
    app.source(sources.TextFile(str(tmp_path / "none"))).sink(sinks.TextFile(str(tmp_path / "out")))
    app.check()
    assert list(tmp_path.iterdir()) == []


def test_incomplete_applications_are_refused() -> None:
    app = Application("test")
    with pytest.raises(ApplicationError, match="has no source"):
        app.check()
    stream = app.source(sources.Memory([1]))
    stream.map(str)
    with pytest.raises(ApplicationError, match="has no sink"):
        app.check()
    app.source(sources.Memory([1]), name="unread")
    stream.sink(sinks.Memory())
    with pytest.raises(ApplicationError, match="'unread': nothing reads this source"):
        app.check()


def test_a_complete_application_does_not_change() -> None:
    stream = new_stream()
    stream.sink(sinks.Memory())
    app = application_of(stream)
    app.check()
    app.check()
    with pytest.raises(ApplicationError, match="is complete"):
        stream.map(str)
    with pytest.raises(ApplicationError, match="is complete"):
        stream.sink(sinks.Memory())
    with pytest.raises(ApplicationError, match="is complete"):
        stream.sink(app.sinks[0].sink)
    assert len(app.steps) == 2


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "10"])
def test_a_limit_of_entities_is_a_positive_int(limit: Any) -> None:
    with pytest.raises(ApplicationError, match="entities_in_memory"):
        Application("test", entities_in_memory=limit)


@pytest.mark.parametrize("on_error", ["ignore", None, 3, sinks.Memory])
def test_an_application_has_one_of_the_rules_for_errors(on_error: Any) -> None:
    with pytest.raises(ApplicationError, match='must be "stop", "skip" or a sink'):
        Application("test", on_error=on_error)


def test_a_step_has_one_of_the_rules_for_errors() -> None:
    with pytest.raises(ApplicationError, match="step 'lower': on_error='stop it' must be"):
        new_stream().map(str.lower, on_error="stop it")  # type: ignore[arg-type]


def test_a_sink_that_cannot_write_dead_letters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="can't write a dead letter"):
        new_stream().map(str.lower, on_error=sinks.TextFile(str(tmp_path / "letters.txt")))


@pytest.mark.parametrize("thing", [None, "input.txt", sources.Memory, sinks.Memory(), 5])
def test_what_is_not_a_source_is_refused(thing: Any) -> None:
    with pytest.raises(ApplicationError, match="is not a source"):
        Application("test").source(thing)


@pytest.mark.parametrize("thing", [None, "output.txt", sinks.Memory, sources.Memory([1]), 5])
def test_what_is_not_a_sink_is_refused(thing: Any) -> None:
    with pytest.raises(ApplicationError, match="is not a sink"):
        new_stream().sink(thing)


def test_a_source_and_a_sink_of_the_users_own_are_accepted() -> None:
    class Numbers:
        def partitions(self) -> list[str]:
            return ["0"]

        def read(self, partition: str, offset: Any) -> Iterator[tuple[int, int]]:
            yield 1, 1

    class Table:
        def resume(self, partition: str, token: Any) -> int:
            return 0

        def write(self, partition: str, first_number: int, outputs: Any) -> None: ...

        def flush(self, partition: str) -> None: ...

    app = Application("test")
    app.source(Numbers()).sink(Table())
    app.check()


def test_merging_needs_streams_of_one_application_and_one_sort() -> None:
    stream, keyed = new_stream(), new_keyed()
    with pytest.raises(ApplicationError, match="belongs to application 'test'; merge streams of one"):
        stream.merge(new_stream())
    with pytest.raises(ApplicationError, match="nothing to merge with"):
        stream.merge()
    with pytest.raises(ApplicationError, match="is not a stream"):
        stream.merge([stream])  # type: ignore[arg-type]
    with pytest.raises(ApplicationError, match="one stream has keys and another has none"):
        stream.merge(stream.key_by(str))  # type: ignore[arg-type]
    assert isinstance(keyed.merge(keyed.filter(bool)), KeyedStream)


def test_keys_stay_until_a_stateful_step() -> None:
    keyed = new_keyed()
    yes, no = keyed.map(str).flat_map(list).filter(bool).branch(bool)
    assert isinstance(yes.merge(no), KeyedStream)
    assert isinstance(yes.stateful(count, state=list), Stream)
    flags = {step.kind: step.keyed for step in application_of(keyed).steps}
    assert flags[Kind.BRANCH]
    assert not flags[Kind.STATEFUL]
    assert not flags[Kind.SOURCE]


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
    with pytest.raises(ApplicationError, match="'generator': generator is a generator function.*use flat_map"):
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
    (step,) = application_of(keyed).stateful_steps
    assert (step.takes_ctx, step.name) == (takes_ctx, name)


def test_an_optional_third_argument_is_ctx_only_if_it_says_so() -> None:
    def optional(message: str, state: list[str], limit: int = 3) -> None: ...
    def optional_ctx(message: str, state: list[str], ctx: Context | None = None) -> None: ...

    keyed = new_keyed()
    keyed.stateful(optional, state=list)
    keyed.stateful(optional_ctx, state=list)
    assert [step.takes_ctx for step in application_of(keyed).stateful_steps] == [False, True]


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
    steps = application_of(keyed).stateful_steps
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
        (lambda: [], False),
        (lambda key: [key], True),
        (lambda key="x": [key], False),
    ],
)
def test_a_factory_gets_the_key_if_it_requires_one_argument(factory: Any, takes_key: bool) -> None:
    keyed = new_keyed()
    keyed.stateful(count, state=factory)
    (step,) = application_of(keyed).stateful_steps
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


def test_a_refused_step_leaves_the_application_as_it_was() -> None:
    keyed = new_keyed()
    for arguments in ({"state": []}, {"state": list, "on_timer": 5}, {"state": list, "on_error": "never"}):
        with pytest.raises(ApplicationError):
            keyed.stateful(count, **arguments)  # type: ignore[arg-type]
    keyed.stateful(count, state=list).sink(sinks.Memory())
    application_of(keyed).check()
    assert [step.name for step in application_of(keyed).steps] == ["source", "str", "count", "sink"]
