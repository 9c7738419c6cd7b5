"""Streams: the typed way to add steps to an application.

A stream stands for the messages that leave one port of one step. Its methods check what they are given, add a
step and return the new step's stream; a checker knows the type of the messages through all of them. A keyed
stream keeps the messages' keys through every step but `stateful`, whose outputs are new messages without a
key. What an application is as a whole, and its names, is application.py's business; how steps run is nobody's
here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, overload

from holdfast.core.connector import OutputWriter, Sink
from holdfast.core.context import Context
from holdfast.core.errors import ApplicationError
from holdfast.core.signatures import (
    check_function,
    check_state_factory,
    function_name,
    is_generator_function,
    is_lambda,
    takes_context,
)
from holdfast.core.steps import Kind, Port, Step

if TYPE_CHECKING:
    from holdfast.core.application import Application

T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")  # a state
U = TypeVar("U")  # an output

AnySink: TypeAlias = Sink[Any] | OutputWriter[Any]
OnError: TypeAlias = Literal["stop", "skip"] | AnySink


class _Messages(Generic[T_co]):
    """What plain and keyed streams have in common."""

    __slots__ = ("_application", "_port")

    def __init__(self, application: Application, port: Port) -> None:
        self._application = application
        self._port = port

    def sink(self, sink: AnySink, name: str | None = None, on_error: OnError | None = None) -> None:
        """Write every message. A sink given twice is one sink, which gets the messages of both streams."""
        self._application.attach_sink(sink, self._port, name, on_error)

    def _add(self, kind: Kind, function: Any, on_error: OnError | None, *, keyed: bool, several: bool = False) -> Port:
        label = self._application.label(kind, function)
        check_function(self._application.place(label), function, "message", several=several)
        step = self._application.add(kind, label, (self._port,), function=function, on_error=on_error, keyed=keyed)
        return Port(step.index)

    def _add_reply(self, *, keyed: bool) -> Port:
        label = self._application.label(Kind.REPLY, None)
        return Port(self._application.add(Kind.REPLY, label, (self._port,), keyed=keyed).index)

    def _add_merge(self, others: tuple[_Messages[Any], ...], *, keyed: bool) -> Port:
        place = self._application.place("merge")
        if not others:
            raise ApplicationError(f"{place}: there is nothing to merge with; give one or more streams")
        for other in others:
            if not isinstance(other, _Messages):
                raise ApplicationError(f"{place}: {other!r} is not a stream; give what another step returned")
            if other._application is not self._application:
                raise ApplicationError(
                    f"{place}: the other stream belongs to application {other._application.name!r}; "
                    "merge streams of one application"
                )
            if isinstance(other, KeyedStream) is not keyed:
                raise ApplicationError(
                    f"{place}: one stream has keys and another has none; put key_by into both, or behind the merge"
                )
        ports = (self._port, *(other._port for other in others))
        label = self._application.label(Kind.MERGE, None)
        return Port(self._application.add(Kind.MERGE, label, ports, keyed=keyed).index)


class Stream(_Messages[T_co]):
    """Messages without a key."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker sees by itself that there is no such method

        def stateful(self, *_given: Any, **_named: Any) -> None:
            """Refused: a state belongs to a key."""
            raise ApplicationError(
                f"{self._application.place('stateful')}: a state belongs to a key; put .key_by(…) before .stateful(…)"
            )

    def map(self, function: Callable[[T_co], U], *, on_error: OnError | None = None) -> Stream[U]:
        """Each message becomes what the function returns, None included."""
        return Stream(self._application, self._add(Kind.MAP, function, on_error, keyed=False))

    def filter(self, predicate: Callable[[T_co], object], *, on_error: OnError | None = None) -> Stream[T_co]:
        """Only messages for which the predicate is true pass on."""
        return Stream(self._application, self._add(Kind.FILTER, predicate, on_error, keyed=False))

    def flat_map(self, function: Callable[[T_co], Iterable[U] | None], *, on_error: OnError | None = None) -> Stream[U]:
        """Each message becomes the elements of what the function returns; None is none."""
        return Stream(self._application, self._add(Kind.FLAT_MAP, function, on_error, keyed=False, several=True))

    def key_by(self, function: Callable[[T_co], object], *, on_error: OnError | None = None) -> KeyedStream[T_co]:
        """Give each message the key that the function returns for it."""
        return KeyedStream(self._application, self._add(Kind.KEY_BY, function, on_error, keyed=True))

    def branch(
        self, predicate: Callable[[T_co], object], *, on_error: OnError | None = None
    ) -> tuple[Stream[T_co], Stream[T_co]]:
        """Two streams: the messages for which the predicate is true, and the others."""
        port = self._add(Kind.BRANCH, predicate, on_error, keyed=False)
        return Stream(self._application, port), Stream(self._application, port._replace(output=1))

    def merge(self, *others: Stream[U]) -> Stream[T_co | U]:
        """The messages of all these streams, in their serial order."""
        return Stream(self._application, self._add_merge(others, keyed=False))

    @overload
    def intake(self, function: Callable[[T_co], Coroutine[Any, Any, U]], *, concurrency: int = 16) -> Stream[U]: ...

    @overload
    def intake(self, function: Callable[[T_co], U], *, concurrency: int = 16) -> Stream[U]: ...

    def intake(self, function: Callable[[T_co], Any], *, concurrency: int = 16) -> Stream[Any]:
        """Directly behind a source: each record becomes what the function returns, before it is logged.

        The function may ask the outside world, and may be a coroutine function; at most `concurrency` calls are under
        way at once, and the order stays. It may be called again for a record that was not logged yet, never in a
        replay.
        """
        self._application.add_intake(self._port, function, concurrency)
        return Stream(self._application, self._port)

    def reply(self) -> Stream[T_co]:
        """Answer with every message whoever asked (`Engine.ask`) for what caused it, and pass it on."""
        return Stream(self._application, self._add_reply(keyed=False))


class KeyedStream(_Messages[T_co]):
    """Messages with a key."""

    __slots__ = ()

    def map(self, function: Callable[[T_co], U], *, on_error: OnError | None = None) -> KeyedStream[U]:
        """Each message becomes what the function returns, None included, under its key."""
        return KeyedStream(self._application, self._add(Kind.MAP, function, on_error, keyed=True))

    def filter(self, predicate: Callable[[T_co], object], *, on_error: OnError | None = None) -> KeyedStream[T_co]:
        """Only messages for which the predicate is true pass on."""
        return KeyedStream(self._application, self._add(Kind.FILTER, predicate, on_error, keyed=True))

    def flat_map(
        self, function: Callable[[T_co], Iterable[U] | None], *, on_error: OnError | None = None
    ) -> KeyedStream[U]:
        """Each message becomes the elements of what the function returns, under its key; None is none."""
        return KeyedStream(self._application, self._add(Kind.FLAT_MAP, function, on_error, keyed=True, several=True))

    def key_by(self, function: Callable[[T_co], object], *, on_error: OnError | None = None) -> KeyedStream[T_co]:
        """Give each message another key."""
        return KeyedStream(self._application, self._add(Kind.KEY_BY, function, on_error, keyed=True))

    def branch(
        self, predicate: Callable[[T_co], object], *, on_error: OnError | None = None
    ) -> tuple[KeyedStream[T_co], KeyedStream[T_co]]:
        """Two streams: the messages for which the predicate is true, and the others."""
        port = self._add(Kind.BRANCH, predicate, on_error, keyed=True)
        return KeyedStream(self._application, port), KeyedStream(self._application, port._replace(output=1))

    def merge(self, *others: KeyedStream[U]) -> KeyedStream[T_co | U]:
        """The messages of all these streams, in their serial order, each under its key."""
        return KeyedStream(self._application, self._add_merge(others, keyed=True))

    def reply(self) -> KeyedStream[T_co]:
        """Answer with every message whoever asked (`Engine.ask`) for what caused it, and pass it on under its key."""
        return KeyedStream(self._application, self._add_reply(keyed=True))

    @overload
    def stateful(
        self,
        function: Callable[[T_co, S, Context], Iterator[U | None]] | Callable[[T_co, S], Iterator[U | None]],
        state: Callable[..., S],
        on_timer: Callable[[str, S, Context], Iterator[U | None] | U | None] | None = None,
        name: str | None = None,
        was: str | None = None,
        on_error: OnError | None = None,
    ) -> Stream[U]: ...

    @overload
    def stateful(
        self,
        function: Callable[[T_co, S, Context], U | None] | Callable[[T_co, S], U | None],
        state: Callable[..., S],
        on_timer: Callable[[str, S, Context], Iterator[U | None] | U | None] | None = None,
        name: str | None = None,
        was: str | None = None,
        on_error: OnError | None = None,
    ) -> Stream[U]: ...

    def stateful(
        self,
        function: Callable[..., Any],
        state: Callable[..., Any],
        on_timer: Callable[..., Any] | None = None,
        name: str | None = None,
        was: str | None = None,
        on_error: OnError | None = None,
    ) -> Stream[Any]:
        """Apply each message to the entity of its key: `function(message, state[, ctx])` returns an output or
        None.

        A generator gives several outputs. `state` is a class or factory, called with nothing, or with the key
        if it requires one argument. `name` (the function's by default) and `was` are how its entities are
        found again.
        """
        step = define_stateful(self._application, self._port, function, state, on_timer, name, was, on_error)
        return Stream(self._application, Port(step.index))


def define_stateful(
    application: Application,
    port: Port,
    function: Callable[..., Any],
    state: Callable[..., Any],
    on_timer: Callable[..., Any] | None,
    name: str | None,
    was: str | None,
    on_error: OnError | None,
) -> Step:
    """Check everything that makes up a stateful step, and add it."""
    if name is None:
        if is_lambda(function):
            raise ApplicationError(
                f"{application.place('stateful')}: a lambda has no name under which its entities "
                "could be found again; give name="
            )
        name = function_name(function)
    place = application.place(name)
    takes_ctx = takes_context(place, function)
    if on_timer is not None:
        check_function(f"{place}, on_timer", on_timer, "name", "state", "ctx", several=True)
    takes_key = check_state_factory(place, state, takes_ctx=takes_ctx)
    if was is not None and (type(was) is not str or not was):
        raise ApplicationError(f"{place}: was={was!r} must be the step's old name")
    step = application.add(Kind.STATEFUL, name, (port,), function=function, on_error=on_error, keyed=False)
    step.state_factory, step.takes_key, step.takes_ctx = state, takes_key, takes_ctx
    step.on_timer, step.was = on_timer, was
    step.is_generator = is_generator_function(function)
    step.timer_is_generator = on_timer is not None and is_generator_function(on_timer)
    return step
