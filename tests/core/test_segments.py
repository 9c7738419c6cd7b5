"""Segments: the fast and the careful form mean the same, for any shape of stateless steps and any kind of function."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest

import holdfast as hf
from holdfast import testing
from holdfast.core.application import Application
from holdfast.core.pipeline import Pipeline, ReturnNeededError, StopBeforeError
from holdfast.core.plan import Plan
from holdfast.core.positions import merge
from holdfast.core.segments import SegmentWriter
from holdfast.core.turns import Part
from holdfast.core.types import TypeRegistry
from tests.zoo import identical

FORMS = ["fast", "careful", "tracked"]


def outputs_of(app: Application, records: list[Any], form: str = "fast") -> dict[str, list[Any]]:
    """One slice through the pipeline, without a worker."""
    registry = TypeRegistry()
    for step in app.sources:
        step.source.bind(registry)
    plan = Plan(app)
    careful = frozenset(s.index for s in [*plan.stateful, *plan.sinks]) if form == "careful" else frozenset()
    pipeline = Pipeline(plan, [(plan.sources[0].index, "0")], registry, careful=careful)
    pipeline.careful_slices = 1 if form == "careful" else 0
    pipeline.track = pipeline.track or form != "fast"
    pipeline.times[0, 0] = 0
    source = plan.sources[0].source
    raw = source.open("0", None).read(None, 1 << 20).raw

    def again(part: Part) -> Part:
        return Part(part.turn, part.partition, part.first, source.decode(raw))

    pipeline.compute([again(Part(0, 0, 0, []))], again)
    for step in plan.stateful:
        columns = pipeline.columns[step.index]
        pipeline.apply(step, merge(list(columns.values())), None)
        for column in columns.values():
            column.clear()
    pipeline.collect()
    written = {number: payload for number, _, payload in pipeline.take_outputs()}
    return {step.name: list(written.get(number, ())) for number, step in enumerate(plan.sinks)}


def check(build: Callable[[], Application], records: list[Any], forms: list[str] = FORMS) -> None:
    """Every form gives what the reference gives."""
    expected = testing.run(build(), {"source": records})
    for form in forms:
        assert identical(outputs_of(build(), records, form), expected), form


def application(on_error: Any = "stop") -> Application:
    return Application("segments", on_error=on_error)


# --- shapes


@pytest.mark.parametrize("steps", [60, 500])
def test_a_chain_of_maps_is_written_in_the_fast_form(steps: int) -> None:
    def build() -> Application:
        app = application()
        stream = app.source(hf.sources.Memory([1, 2]))
        for _ in range(steps):
            stream = stream.map(lambda n: n + 1)
        stream.sink(hf.sinks.Memory())
        return app

    plan = Plan(build())
    writer = SegmentWriter(plan, plan.segments[0], careful=False, track=False)
    writer.compile({})
    check(build, [1, 2])


def test_many_nested_loops_and_choices_fit_into_functions() -> None:
    def build() -> Application:
        app = application("skip")
        stream: Any = app.source(hf.sources.Memory([1, 2, 3]))
        for number in range(30):
            stream = stream.flat_map(lambda n: [n]).filter(lambda n, number=number: n != number + 3)
        stream.map(lambda n: 6 // (n - 1)).sink(hf.sinks.Memory())
        return app

    check(build, [1, 2, 3])


def test_branches_that_meet_again_and_again_are_written_once() -> None:
    def build() -> Application:
        app = application("skip")
        stream: Any = app.source(hf.sources.Memory(list(range(30))))
        for number in range(2, 14):
            yes, no = stream.branch(lambda n, number=number: n % number)
            stream = yes.map(lambda n: n + 1).merge(no)
        stream.map(lambda n: 60 // (n - 5)).sink(hf.sinks.Memory())
        return app

    check(build, list(range(30)))
    plan = Plan(build())
    writer = SegmentWriter(plan, plan.segments[0], careful=True, track=True)
    writer.compile({})
    assert len(writer.lines) < 50 * len(plan.steps)


def test_a_stream_consumed_in_many_ways_keeps_their_order() -> None:
    def build() -> Application:
        app = application()
        stream: Any = app.source(hf.sources.Memory([[1], [2]]))
        first, second = hf.sinks.Memory(), hf.sinks.Memory()
        for number in range(4):
            stream.map(lambda m, number=number: m.append(number) or m).sink(first)
            stream.sink(second)
            stream.sink(first)
            stream.map(lambda m, number=number: m.append(-number) or m).sink(second)
        return app

    check(build, [[1], [2]])


# --- functions


class Callback:
    """Neither a function nor hashable."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, message: Any) -> Any:
        return message


def test_functions_may_be_builtins_partials_classes_and_instances() -> None:
    def build() -> Application:
        app = application()
        source: Any = app.source(hf.sources.Memory(["a b", "c"]))
        stream = source.flat_map(str.split).map(Callback()).map(str.upper)
        keyed = stream.key_by(len).filter(partial(max, 0, key=lambda m: m == 0))
        keyed.stateful(partial(lambda n, m, s: (n, m, len(s)), 3), state=dict, name="counted").sink(hf.sinks.Memory())
        stream.key_by(str).stateful(lambda m, s: s.append(m) or list(s), state=list, name="kept").map(tuple).sink(
            hf.sinks.Memory()
        )
        return app

    check(build, ["a b", "c"])


def failing_generator(message: int) -> Iterator[int]:
    yield message
    if message == 1:
        raise ValueError("half-way")
    yield message


STRANGE: list[Callable[[Any], Any]] = [
    lambda m: {"a": m, "b": 2},
    lambda m: "xyz"[:m],
    lambda m: iter([m, [m]]),
    lambda m: map(abs, [m, -m]),
    lambda m: 5 if m == 1 else [m],
    lambda m: {m},
    range,
    lambda m: [None, m, None],
    failing_generator,
    lambda m: (n for n in [m, 1 // m]),
]


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_flat_map_takes_whatever_can_be_iterated(number: int) -> None:
    def build() -> Application:
        letters = hf.sinks.Memory()
        app = application(letters)
        stream = app.source(hf.sources.Memory([0, 1, 2])).flat_map(STRANGE[number])
        stream.sink(hf.sinks.Memory())
        stream.filter(lambda m: True).sink(letters)
        return app

    check(build, [0, 1, 2])


class Color(enum.Enum):
    """A key."""

    RED = 1


class Shade:
    """Holds another class of the same name at its end."""

    class Color(enum.Enum):
        RED = 1


KEYS = [2**70, -(2**63), 2**64 - 1, True, 1, "1", b"1", b"T", (1, True), ("a", (Color.RED,)), Shade.Color.RED, "\ud800"]
NO_KEYS = [1.5, None, [1], (1, 2.5), {"a": 1}]


def test_keys_of_every_type_are_told_apart_and_refused_alike() -> None:
    def build() -> Application:
        app = application(hf.sinks.Memory())
        stream = app.source(hf.sources.Memory(list(range(len(KEYS + NO_KEYS))) * 2))
        stream.key_by(lambda n: (KEYS + NO_KEYS)[n]).stateful(seen, state=int).sink(hf.sinks.Memory())
        return app

    check(build, list(range(len(KEYS + NO_KEYS))) * 2, ["careful"])


def seen(message: int, state: int, ctx: hf.Context) -> tuple[str, int]:
    ctx.state = state + 1
    return repr(ctx.key), state


# --- values


class Labels(dict[str, int]):
    """Can be copied and written, but is no value that could go to another step."""


def test_what_a_sink_can_write_passes_in_every_form() -> None:
    def build() -> Application:
        app = application("skip")
        stream = app.source(hf.sources.Memory([1, 2, 3]))
        stream.map(lambda n: Labels(a=6 // (n - 2))).sink(hf.sinks.Memory())
        stream.flat_map(lambda n: [Labels(b=n)]).sink(hf.sinks.Memory())
        keyed = stream.key_by(lambda n: n)
        keyed.stateful(lambda n, s: Labels(c=6 // (n - 2)), state=list, name="one").sink(hf.sinks.Memory())
        keyed.stateful(lambda n, s: (Labels(d=m) for m in [n]), state=list, name="many").sink(hf.sinks.Memory())
        return app

    check(build, [1, 2, 3], ["careful"])


def test_what_cannot_be_copied_fails_as_in_the_reference() -> None:
    def build() -> Application:
        app = application(hf.sinks.Memory())
        stream = app.source(hf.sources.Memory([1, 2]))
        stream.map(lambda n: (m for m in [n])).map(list).sink(hf.sinks.Memory())
        stream.flat_map(lambda n: [threading.Lock()]).filter(bool).sink(hf.sinks.Memory())
        return app

    check(build, [1, 2])


def test_outputs_that_nobody_reads_are_made_all_the_same() -> None:
    def build() -> Application:
        app = application(hf.sinks.Memory())
        stream = app.source(hf.sources.Memory([1, 2]))
        stream.sink(hf.sinks.Memory())
        stream.map(lambda n: (m for m in [n]))
        stream.flat_map(lambda n: [threading.Lock()])
        return app

    check(build, [1, 2])


def test_a_generator_that_nobody_reads_is_run_to_its_end() -> None:
    def late(n: int, state: list[int]) -> Iterator[int]:
        state.append(n)
        yield n
        raise ValueError("late")

    def hidden(n: int, state: list[int]) -> object:
        return late(n, state)

    def build() -> Application:
        app = application(hf.sinks.Memory())
        stream = app.source(hf.sources.Memory([1, 2]))
        stream.sink(hf.sinks.Memory())
        stream.key_by(lambda n: 0).stateful(hidden, state=list, name="late")
        return app

    with pytest.raises(ReturnNeededError):
        outputs_of(build(), [1, 2], "fast")
    check(build, [1, 2], ["careful"])


def test_a_reused_buffer_is_what_it_was_when_yielded() -> None:
    def fill(n: int, buffer: list[int]) -> Iterator[list[int]]:
        for number in range(3):
            buffer.append(n * number)
            yield buffer

    def build() -> Application:
        app = application()
        stream: Any = app.source(hf.sources.Memory([1, 2])).key_by(lambda n: 0).stateful(fill, state=list)
        stream.sink(hf.sinks.Memory())
        stream.map(lambda m: m.append("mine") or m).sink(hf.sinks.Memory())
        stream.key_by(len).stateful(lambda m, s: s.append(m) or s, state=list, name="kept").sink(hf.sinks.Memory())
        return app

    check(build, [1, 2])


# --- careful calls


def test_a_failed_call_leaves_its_entity_as_it_was() -> None:
    def keep(n: int, state: list[int], ctx: hf.Context) -> list[int]:
        state.append(n)
        if n % 3 == 0:
            ctx.delete()
        if n % 2 == 0:
            raise ValueError(n)
        return state

    def build() -> Application:
        app = application(hf.sinks.Memory())
        app.source(hf.sources.Memory(list(range(12)))).key_by(lambda n: n % 2 + n // 6).stateful(
            keep, state=list
        ).sink(hf.sinks.Memory())
        return app

    check(build, list(range(12)), ["careful"])


def test_a_state_that_cannot_be_copied_fails_its_next_careful_call() -> None:
    def lock(n: int, state: dict[str, Any]) -> int:
        if n == 1:
            state["lock"] = threading.Lock()
        return n

    def build() -> Application:
        app = application(hf.sinks.Memory())
        keyed = app.source(hf.sources.Memory(records)).key_by(lambda n: n < 9)
        keyed.stateful(lock, state=dict).sink(hf.sinks.Memory())
        return app

    records = [9, 0, 1, 2, 3]  # the entity of the first is looked at, and is fine
    check(build, records, ["careful"])


def test_a_new_state_need_not_be_copied_for_its_first_call() -> None:
    def new(key: int) -> list[Any]:
        return [] if key == 9 else [threading.Lock()]

    def build() -> Application:
        app = application(hf.sinks.Memory())
        keyed = app.source(hf.sources.Memory([9, 0, 1, 2, 1])).key_by(lambda n: n)
        keyed.stateful(lambda n, s: n, state=new, name="new").sink(hf.sinks.Memory())
        return app

    check(build, [9, 0, 1, 2, 1], ["careful"])


def test_a_factory_that_raises_fails_the_call_that_needed_it() -> None:
    def make(key: int) -> list[int]:
        return [10 // (key - 1)]

    def build() -> Application:
        app = application(hf.sinks.Memory())
        app.source(hf.sources.Memory([0, 1, 2, 1])).key_by(lambda n: n).stateful(
            lambda n, s: s, state=make, name="made"
        ).sink(hf.sinks.Memory())
        return app

    check(build, [0, 1, 2, 1], ["careful"])


def test_an_error_of_our_own_code_is_not_taken_for_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    app = application("skip")
    app.source(hf.sources.Memory([1])).map(abs).sink(hf.sinks.Memory())
    emit = SegmentWriter._emit
    monkeypatch.setattr(SegmentWriter, "_emit", lambda own, *rest: emit(own, *rest) if own.careful else 1 // 0)

    with pytest.raises(ZeroDivisionError):
        outputs_of(app, [1])


def test_noted_failures_stop_nothing_and_have_their_places() -> None:
    app = application()
    stream = app.source(hf.sources.Memory([0]))
    stream.map(lambda n: n).key_by(lambda n: n).stateful(lambda n, s: 1 // n, state=list, name="behind").sink(
        hf.sinks.Memory()
    )
    stream.map(lambda n: 2 // n).sink(hf.sinks.Memory())
    registry = TypeRegistry()
    plan = Plan(app)
    pipeline = Pipeline(plan, [(plan.sources[0].index, "0")], registry)
    part = Part(0, 0, 0, [0])
    with pytest.raises(StopBeforeError):
        pipeline.compute([part], lambda part: part)
    pipeline.drop_slice()

    failures = pipeline.note_failures()
    pipeline.compute([part], lambda part: part)
    step = plan.stateful[0]
    pipeline.apply(step, merge(list(pipeline.columns[step.index].values())), None)

    places = [(position, error.step) for position, error in failures]
    assert places == [((0, 0, 0, 1), "map-2"), ((0, 0, 0, 0), "behind")]


@pytest.mark.parametrize("seed", range(40))
def test_random_stateless_shapes_mean_the_same_in_every_form(seed: int) -> None:
    def build() -> Application:
        random = Random(seed)
        app = application(hf.sinks.Memory())
        sinks = [hf.sinks.Memory(), hf.sinks.Memory()]
        streams: list[Any] = [app.source(hf.sources.Memory([[n] for n in range(9)]))]
        for number in range(random.randrange(3, 25)):
            stream = random.choice(streams[-4:])
            match random.randrange(6):
                case 0:
                    streams.append(stream.map(lambda m, n=number: m.append(n) or m))
                case 1:
                    streams.append(stream.filter(lambda m, n=number: (m[0] + n) % 5))
                case 2:
                    streams.append(stream.flat_map(lambda m, n=number: [m] * (n % 3)))
                case 3:
                    streams.extend(stream.branch(lambda m, n=number: (m[0] + n) % 2))
                case 4:
                    streams.append(stream.merge(random.choice(streams[-4:])) if len(streams) < 12 else stream)
                case _:
                    streams.append(stream.map(lambda m, n=number: [*m, 9 // ((m[0] + n) % 7)]))
        for stream in streams[-3:]:
            stream.sink(random.choice(sinks))
        return app

    check(build, [[n] for n in range(9)])


