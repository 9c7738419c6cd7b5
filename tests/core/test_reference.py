"""The reference: order, time, epochs, failures; laws that hold for any application."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import sinks, sources, testing
from holdfast.core import turns
from holdfast.core.application import Application
from holdfast.core.connector import Undecodable
from holdfast.core.context import Context
from holdfast.core.epochs import EpochRow
from holdfast.core.errors import StoppedError, UsageError
from holdfast.core.reference import Reference
from holdfast.core.serial_order import ROUND
from holdfast.core.streams import Stream
from holdfast.testing import At
from tests.zoo import identical
from tests.zoo.random_apps import draw

NUMBERS = st.lists(st.integers(-9, 9), max_size=30)


class LiveSource:
    """A live source, of which the reference needs to know no more."""

    live = True

    def decode(self, raw: bytes) -> list[Any]:
        raise AssertionError("records are given decoded")

    def times(self, records: list[Any]) -> None:
        return None


def outputs_over(partitions: dict[str, list[int]] | list[int], build: Any) -> list[Any]:
    """The outputs of the stream that `build` makes of a source over these records."""
    app = Application("law")
    build(app.source(sources.Memory(partitions))).sink(sinks.Memory())
    return testing.run(app, {"source": partitions})["sink"]


def digits(number: int) -> list[int]:
    return [int(digit) for digit in str(abs(number))]


def running_total(number: int, total: int, ctx: Context) -> tuple[int, str, float]:
    ctx.state = total + number
    return ctx.state, str(ctx.uuid()), ctx.random.random()


# --- laws


@pytest.mark.parametrize("number", range(12))
def test_any_application_gives_the_same_every_time(number: int) -> None:
    """Also when it is built again, and whatever was run in between."""
    case = draw(random.Random(number))
    first = Reference(case.build()).run(case.inputs)
    random.seed(number)
    app = case.build()
    Reference(app).run(case.inputs)
    assert identical(Reference(app).run(case.inputs), first)


@given(NUMBERS)
def test_a_stream_merged_with_itself_gives_each_message_twice_in_a_row(numbers: list[int]) -> None:
    assert outputs_over(numbers, lambda s: s.merge(s)) == [number for number in numbers for _ in range(2)]


@given(NUMBERS)
def test_the_arms_of_a_branch_merged_again_are_the_stream(numbers: list[int]) -> None:
    def build(stream: Stream[int]) -> Stream[int]:
        yes, no = stream.branch(lambda number: number > 0)
        return no.merge(yes)

    assert outputs_over(numbers, build) == numbers


@given(NUMBERS)
def test_map_and_filter_are_forms_of_flat_map(numbers: list[int]) -> None:
    mapped = outputs_over(numbers, lambda s: s.map(abs).filter(bool))
    flat = outputs_over(numbers, lambda s: s.flat_map(lambda n: [abs(n)]).flat_map(lambda n: [n] if n else []))
    assert mapped == flat == [abs(number) for number in numbers if number]


@given(NUMBERS)
def test_two_flat_maps_are_one(numbers: list[int]) -> None:
    twice = outputs_over(numbers, lambda s: s.flat_map(digits).flat_map(lambda digit: [digit] * digit))
    once = outputs_over(numbers, lambda s: s.flat_map(lambda n: [digit for digit in digits(n) for _ in range(digit)]))
    assert twice == once


@given(NUMBERS)
def test_a_stateful_step_sees_its_key_in_order_whatever_else_there_is(numbers: list[int]) -> None:
    """The outputs of one key are those of an application that gets this key's messages only (but for identities)."""

    def totals(stream: Stream[int]) -> Stream[Any]:
        keyed = stream.key_by(lambda number: number % 3)
        return keyed.stateful(running_total, state=int).map(lambda out: out[0])

    together = outputs_over(numbers, totals)
    for residue in range(3):
        alone = outputs_over([n for n in numbers if n % 3 == residue], totals)
        assert [out for n, out in zip(numbers, together, strict=True) if n % 3 == residue] == alone


@given(st.lists(st.integers(0, 150), min_size=1, max_size=4))
def test_finite_partitions_interleave_in_rounds(lengths: list[int]) -> None:
    partitions = {str(p): [p * 1000 + n for n in range(length)] for p, length in enumerate(lengths)}
    expected = sorted(
        (number for part in partitions.values() for number in part),
        key=lambda number: (number % 1000 // 64, number // 1000, number % 1000),
    )
    assert outputs_over(partitions, lambda s: s.map(abs)) == expected


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_how_an_epoch_table_cuts_finite_partitions_does_not_matter(number: int, cuts: list[int]) -> None:
    """As long as epochs take whole rounds and the records carry their time."""
    case = draw(random.Random(number))
    lengths = [len(records) for partitions in case.inputs.values() for records in partitions.values()]
    if not all(isinstance(r, At) for parts in case.inputs.values() for records in parts.values() for r in records):
        return
    rows: list[EpochRow] = []
    taken = [0] * len(lengths)
    while taken != lengths:
        rounds = cuts[len(rows) % len(cuts)]
        counts = [min(rounds * 64, length - t) for length, t in zip(lengths, taken, strict=True)]
        taken = [t + count for t, count in zip(taken, counts, strict=True)]
        rows.append(EpochRow(len(rows) + 1, 0, tuple((i, count, 0, False) for i, count in enumerate(counts))))
    assert identical(testing.run(case.build(), case.inputs, epochs=rows), testing.run(case.build(), case.inputs))


def test_the_engine_has_rounds_of_the_same_length() -> None:
    assert turns.ROUND == ROUND == 64


# --- time and epochs


def tell_time(message: Any, state: list[Any], ctx: Context) -> tuple[Any, int]:
    return message, ctx.time


def set_alarm(message: Any, state: list[Any], ctx: Context) -> tuple[Any, int]:
    ctx.set_timer(100)
    return message, ctx.time


def ring(name: str, state: list[Any], ctx: Context) -> tuple[str, int]:
    return "rang", ctx.time


def timed_application(*connectors: Any) -> Application:
    app = Application("times")
    streams = [app.source(connector).key_by(lambda message: 0) for connector in connectors]
    merged = streams[0].merge(*streams[1:]) if len(streams) > 1 else streams[0]
    merged.stateful(set_alarm, state=list, on_timer=ring).sink(sinks.Memory())
    return app


def test_a_message_has_the_time_of_its_chunk_which_never_goes_back() -> None:
    app = timed_application(sources.Memory({"a": ["x"], "b": ["y"]}))
    a = [At(5, "a0"), At(9, "a1"), *[At(1, "a")] * 62, At(7, "a64")]
    b = [At(3, "b0")]
    outputs = testing.run(app, {"source": {"a": a, "b": b}})["sink"]
    assert outputs == [("a0", 9), ("a1", 9), *[("a", 9)] * 62, ("b0", 3), ("a64", 9)]


def test_records_without_a_time_are_at_0_and_time_is_never_before_it() -> None:
    app = timed_application(sources.Memory([1]))
    assert testing.run(app, {"source": ["x"]})["sink"] == [("x", 0)]
    assert testing.run(timed_application(sources.Memory([1])), {"source": [At(-5, "x")]})["sink"] == [("x", 0)]


def test_the_logged_clock_counts_where_records_have_no_time() -> None:
    app = timed_application(sources.Memory([1]))
    rows = [EpochRow(1, 50, ((0, 64, 50, False),)), EpochRow(2, 120, ((0, 2, 120, True),))]
    outputs = testing.run(app, {"source": list(range(66))}, epochs=rows)["sink"]
    assert outputs[63:] == [(63, 50), ("rang", 120), (64, 120), (65, 120)]


def test_live_partitions_are_ordered_by_epoch_then_partition() -> None:
    """Also finite ones beside them; a timer fires in an epoch of its own, without records."""
    app = timed_application(LiveSource(), sources.Memory([1]))
    inputs = {"source": ["l0", "l1", "l2"], "source-2": [f"f{n}" for n in range(70)]}
    rows = [
        EpochRow(1, 10, ((0, 1, 9, False), (1, 66, 10, False))),
        EpochRow(2, 101, ((0, 0, 101, False), (1, 0, 101, False))),
        EpochRow(3, 102, ((1, 4, 102, True), (0, 2, 90, False))),
    ]
    assert testing.run(app, inputs, epochs=rows)["sink"] == [
        ("l0", 9),
        *((f"f{n}", 10) for n in range(66)),
        ("rang", 101),
        ("l1", 101),
        ("l2", 101),
        *((f"f{n}", 102) for n in range(66, 70)),
    ]


def test_without_an_epoch_table_live_records_are_one_epoch() -> None:
    app = timed_application(LiveSource())
    inputs = {"source": {"b": [At(200, "b0"), At(3, "b1")], "a": [At(5, "a0")]}}
    assert testing.run(app, inputs)["sink"] == [("b0", 200), ("b1", 200), ("a0", 5)]


def test_an_epoch_table_ends_the_run() -> None:
    app = timed_application(sources.Memory([1]))
    rows = [EpochRow(1, 0, ((0, 2, 0, False),))]
    assert testing.run(app, {"source": ["a", "b", "c"]}, epochs=rows)["sink"] == [("a", 0), ("b", 0)]
    with pytest.raises(UsageError, match="holds more than the 1 records"):
        testing.run(timed_application(sources.Memory([1])), {"source": ["a"]}, epochs=rows)


# --- inputs


def test_unknown_sources_are_refused_and_missing_ones_are_empty() -> None:
    app = timed_application(sources.Memory([1]), sources.Memory([1]))
    with pytest.raises(UsageError, match="has no source 'sauce'; its sources are source, source-2"):
        testing.run(app, {"sauce": [1]})
    assert testing.run(app, {"source-2": [1]})["sink"] == [(1, 0)]
    assert testing.run(app, {})["sink"] == []


def test_inputs_and_outputs_belong_to_the_caller() -> None:
    def keep(message: list[int], state: list[Any]) -> list[Any]:
        message.append(0)
        state.append(message)
        return state

    app = Application("keeping")
    app.source(sources.Memory([[1]])).key_by(len).stateful(keep, state=list).sink(sinks.Memory())
    records = [[1], [2]]
    outputs = testing.run(app, {"source": records})["sink"]
    assert records == [[1], [2]]
    assert outputs == [[[1, 0]], [[1, 0], [2, 0]]]
    assert app.sinks[0].sink.outputs == []


# --- failures


def fail(message: object) -> Any:
    raise ValueError(f"not {message}")


def test_an_error_stops_before_the_record_and_says_where() -> None:
    app = Application("stopping")
    keyed = app.source(sources.Memory([1]), name="numbers").key_by(str)
    keyed.map(lambda number: number if number != 65 else fail(number)).sink(sinks.Memory())
    with pytest.raises(StoppedError) as stopped:
        testing.run(app, {"numbers": {"a": [1], "b": list(range(70))}})
    error: Any = stopped.value
    assert (error.source, error.partition, error.offset, error.step) == ("numbers", "b", 65, "map")
    assert (error.key, error.error, error.message) == ("'65'", "ValueError: not 65", "65")
    assert error.outputs == {"sink": [1, *range(65)]}
    assert isinstance(error.__cause__, ValueError)


UNDECODABLE = Undecodable(b"\xff\n", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))


def test_an_undecodable_record_is_a_failure_of_its_source() -> None:
    letters = sinks.Memory()
    for on_error in ("stop", "skip", letters):
        app = Application("decoding")
        rule: Any = on_error
        app.source(sources.Memory([1]), on_error=rule).sink(sinks.Memory())
        reference = Reference(app)
        inputs = {"source": ["a", UNDECODABLE, "b"]}
        text = "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
        if on_error == "stop":
            with pytest.raises(StoppedError) as stopped:
                reference.run(inputs)
            assert (stopped.value.step, stopped.value.offset, stopped.value.error) == ("source", 1, text)
            assert (stopped.value.key, stopped.value.message) == (None, r"b'\xff\n'")
            continue
        outputs = reference.run(inputs)
        assert outputs["sink"] == ["a", "b"]
        assert reference.skipped == {"source": 1}
        if on_error is letters:
            assert outputs["sink-2"] == [
                {
                    "source": "source",
                    "partition": "0",
                    "offset": 1,
                    "step": "source",
                    "key": "",
                    "error": text,
                    "message": r"b'\xff\n'",
                }
            ]


def test_a_failed_timer_has_no_record() -> None:
    def bad_ring(name: str, state: list[Any], ctx: Context) -> None:
        raise ValueError("too loud")

    app = Application("ringing", on_error=sinks.Memory())
    keyed = app.source(sources.Memory([1])).key_by(str)
    keyed.stateful(set_alarm, state=list, on_timer=bad_ring).sink(sinks.Memory())
    outputs = testing.run(app, {"source": [*[At(1, "x")] * 64, At(100, "y"), *[At(100, "y")] * 64]})
    assert outputs["sink-2"] == [
        {
            "source": "",
            "partition": "",
            "offset": None,
            "step": "set_alarm",
            "key": "'x'",
            "error": "ValueError: too loud",
            "message": "''",
        },
        {
            "source": "",
            "partition": "",
            "offset": None,
            "step": "set_alarm",
            "key": "'y'",
            "error": "ValueError: too loud",
            "message": "''",
        },
    ]


class NoRepr:
    """A value whose repr names its address."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_dead_letters_hold_nothing_that_differs_from_run_to_run() -> None:
    words = [f"word-{number}" for number in range(20)]
    message = [{*words}, {"object": (NoRepr(), frozenset(words))}]
    app = Application("texts", on_error=sinks.Memory())
    app.source(sources.Memory([1])).map(fail).sink(sinks.Memory())
    (letter,) = testing.run(app, {"source": [message]})["sink-2"]
    quoted = "{" + ", ".join(sorted(repr(word) for word in words)) + "}"
    assert letter["message"] == f"[{quoted}, {{'object': (<{__name__}.NoRepr object>, frozenset({quoted}))}}]"
    assert " at 0x" not in letter["message"]


def test_texts_of_failures_can_always_be_had_and_written() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    def raise_rude(message: object) -> Any:
        class RudeError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        raise RudeError if isinstance(message, Rude) else ValueError(message)

    app = Application("rude", on_error=sinks.Memory())
    app.source(sources.Memory([1])).map(raise_rude).sink(sinks.Memory())
    first, second = testing.run(app, {"source": [Rude(), "\ud800"]})["sink-2"]
    assert (first["error"], first["message"]) == (
        "RudeError: <str() raised RuntimeError>",
        "<repr() of Rude raised RuntimeError>",
    )
    assert (second["error"], second["message"]) == ("ValueError: \\ud800", r"'\ud800'")


def test_a_dead_letter_that_cannot_be_written_stops() -> None:
    class FullSink(sinks.Memory):
        full = False

        def encode(self, value: object) -> object:
            if self.full:
                raise OSError("full")
            return value

    sink = FullSink()
    app = Application("full", on_error=sink)
    app.source(sources.Memory([1])).map(fail).sink(sink)
    sink.full = True
    with pytest.raises(StoppedError) as stopped:
        testing.run(app, {"source": [1]})
    assert (stopped.value.step, stopped.value.error, stopped.value.offset) == ("sink", "OSError: full", 0)


def test_interrupts_are_no_failures() -> None:
    def interrupt(message: object) -> None:
        raise KeyboardInterrupt

    app = Application("interrupted", on_error="skip")
    app.source(sources.Memory([1])).map(interrupt).sink(sinks.Memory())
    with pytest.raises(KeyboardInterrupt):
        testing.run(app, {"source": [1]})


# --- what a call gives


def test_a_generator_gives_several_outputs_wherever_it_comes_from() -> None:
    def wrapper(function: Any) -> Any:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            return function(*arguments)

        return call

    @wrapper
    def yielding(message: int, state: list[int]) -> Iterator[int]:
        yield message
        yield message + 1

    def expression(message: int, state: list[int]) -> Any:
        return (message + number for number in (0, 1))

    for function in (yielding, expression, functools.partial(yielding)):
        app = Application("several")
        app.source(sources.Memory([1])).key_by(abs).stateful(function, state=list).sink(sinks.Memory())
        assert testing.run(app, {"source": [1, 3]})["sink"] == [1, 2, 3, 4]


def test_a_call_on_a_new_key_that_fails_makes_no_entity() -> None:
    def append(message: int, state: list[int]) -> None:
        state.append(message)
        if message < 0:
            raise ValueError

    app = Application("entities", on_error="skip")
    app.source(sources.Memory([1])).key_by(abs).stateful(append, state=list).sink(sinks.Memory())
    reference = Reference(app)
    reference.run({"source": [-1, 2, -2, -3, 3]})
    assert [reference.state("append", key) for key in (1, 2, 3)] == [None, [2], [3]]
    assert reference.skipped == {"append": 3}


def test_a_factory_that_fails_is_a_failure_of_the_step() -> None:
    def make(key: int) -> list[int]:
        return [10 // key]

    app = Application("factory", on_error="skip")
    app.source(sources.Memory([1])).key_by(abs).stateful(lambda n, s: s[0], state=make, name="n").sink(sinks.Memory())
    assert testing.run(app, {"source": [5, 0, 2]})["sink"] == [2, 5]


def test_reloading_happens_between_messages_only() -> None:
    reloaded = []

    def reload(state: list[int]) -> list[int]:
        reloaded.append(list(state))
        return list(state)

    def append(message: int, state: list[int], ctx: Context) -> Iterator[int]:
        state.append(message)
        yield len(state)
        state.append(-message)
        if message == 3:
            ctx.delete()

    app = Application("reloading")
    app.source(sources.Memory([1])).key_by(lambda n: 0).stateful(append, state=list).sink(sinks.Memory())
    assert Reference(app, reload=reload).run({"source": [1, 2, 3, 4]})["sink"] == [1, 3, 5, 1]
    assert reloaded == [[1, -1], [1, -1, 2, -2], [4, -4]]
