"""Failures: what becomes of a call that raises, under each `on_error`, at every kind of step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.streams import OnError
from tests.zoo.case import PAD, Case, is_not_pad, padded, time_of, timed


class UnluckyError(Exception):
    """What the functions of this module raise."""


def fail_at(*unlucky: object) -> Any:
    """A function that raises for these messages and passes all others on."""

    def check(message: Any) -> Any:
        if message in unlucky:
            raise UnluckyError(f"no {message}")
        return message

    return check


def twice(number: int) -> list[int]:
    return [number, number * 10]


def stopped_in_the_middle() -> Application:
    """Record 2 becomes 2 and 20; 20 fails, so nothing of record 2 is put out, although 2 had gone through."""
    app = Application("stopped-in-the-middle")
    numbers = app.source(sources.Memory([1, 2, 3]))
    numbers.sink(sinks.Memory(), name="records")
    numbers.flat_map(twice).map(fail_at(20)).sink(sinks.Memory(), name="numbers")
    return app


def half_of(number: int) -> Iterator[int]:
    yield number
    if number == 2:
        raise UnluckyError("half-way")
    yield number + 100


def keyed_by_failure(number: int) -> int:
    if number == 4:
        raise UnluckyError("no key")
    return number % 2


def append_then_fail(number: int, state: list[int]) -> list[int]:
    """Changes its state before it fails; also at the first message of a key."""
    state.append(number)
    if number in {5, 7}:
        raise UnluckyError("after the change")
    return state


def yield_then_fail(number: int, state: list[int], ctx: Context) -> Iterator[list[int]]:
    state.append(number)
    yield state
    if number == 3:
        ctx.state = ["spoiled"]
        ctx.delete()
        raise UnluckyError("after an output")


SKIPPED = [7, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def skipping() -> Application:
    app = Application("skipping", on_error="skip")
    numbers = app.source(sources.Memory(SKIPPED))
    numbers.flat_map(half_of).sink(sinks.Memory(), name="flat")
    checked = numbers.map(fail_at(8)).filter(fail_at(6))
    checked.sink(sinks.Memory(), name="checked")
    odd, _ = checked.branch(lambda number: fail_at(9)(number) % 2)
    odd.sink(sinks.Memory(), name="odd")
    keyed = numbers.key_by(keyed_by_failure)
    keyed.stateful(append_then_fail, state=list).sink(sinks.Memory(), name="appended")
    keyed.filter(lambda number: number < 6).stateful(yield_then_fail, state=list).sink(sinks.Memory(), name="yielded")
    return app


class WordSink(sinks.Memory):
    """Takes str, and dicts, which is what dead letters are."""

    def encode(self, value: object) -> object:
        if not isinstance(value, str | dict):
            raise TypeError(f"not a word: {value!r}")
        return super().encode(value)

    def encode_column(self, values: list[Any]) -> list[Any] | None:
        return None


def letter(offset: int, step: str, key: str, error: str, message: str) -> dict[str, object]:
    return {
        "source": "source",
        "partition": "0",
        "offset": offset,
        "step": step,
        "key": key,
        "error": error,
        "message": message,
    }


def itself(message: Any) -> Any:
    return message


def explode(message: Any, state: list[Any]) -> Any:
    if message == "bad state":
        raise KeyError("missing")
    return message


def weigh(message: Any) -> Any:
    if message == "bad map":
        raise UnluckyError
    return message


NOT_A_KEY = "KeyTypeError: a key can't be a {}: keys are str, bytes, int, bool, UUID, date, Enum and tuples of these"
LETTERS: list[Any] = ["one", "bad map", "two", 3.5, 4, {"b": {2}}, "bad state", "three"]


def dead_letters() -> Application:
    """Every failure goes to the sink of the outputs themselves: a letter stands where the outputs would have."""
    out = WordSink()
    app = Application("dead-letters", on_error=out)
    (
        app.source(sources.Memory(LETTERS))
        .map(weigh)
        .key_by(itself)
        .stateful(explode, state=list)
        .sink(out, name="words")
    )
    return app


def letters_beside_the_outputs() -> Application:
    """Two sinks for dead letters; one of them the sink of a stream as well. Other steps stop."""
    letters, shared = sinks.Memory(), sinks.Memory()
    app = Application("letters-beside-the-outputs")
    numbers = app.source(sources.Memory([1, 2, 3]))
    numbers.map(fail_at(2), on_error=letters).sink(sinks.Memory())
    numbers.map(fail_at(3), on_error=shared).sink(shared)
    numbers.flat_map(itself, on_error="skip").sink(sinks.Memory(), name="nothing")
    return app


def set_alarm(record: tuple[int, str], state: list[str], ctx: Context) -> list[str]:
    state.append(record[1])
    ctx.set_timer(5, "once")
    ctx.set_timer(7, "twice")
    return state


def failing_alarm(name: str, state: list[str], ctx: Context) -> list[str]:
    state.append(name)
    ctx.set_timer(0, "undone")
    if name == "once":
        raise UnluckyError("at the timer")
    return state


ALARMS = padded([(1, "first")], [(9, "second")], [(9, PAD)], [(9, PAD)])


def failing_timer(on_error: OnError) -> Application:
    app = Application("failing-timer")
    source = sources.Memory(ALARMS, time=time_of)
    records = app.source(source).filter(is_not_pad).key_by(lambda record: "key")
    records.stateful(set_alarm, state=list, on_timer=failing_alarm, on_error=on_error).sink(sinks.Memory())
    return app


CASES = [
    Case(
        "stopped in the middle",
        stopped_in_the_middle,
        {"source": [1, 2, 3]},
        {"records": [1], "numbers": [1, 10]},
        stops="check",
    ),
    Case(
        "skipping",
        skipping,
        {"source": SKIPPED},
        {
            # half_of(2) fails half-way: neither 2 nor 102.
            "flat": [7, 107, 1, 101, 3, 103, 4, 104, 5, 105, 6, 106, 7, 107, 8, 108, 9, 109],
            "checked": [7, 1, 2, 3, 4, 5, 7, 9],
            "odd": [7, 1, 3, 5, 7],
            # Key 1 gets 7 (fails, so the entity isn't made), 1, 3, 5 (fails), 7 (fails), 9; key 0 gets 2, 6, 8.
            "appended": [[1], [2], [1, 3], [2, 6], [2, 6, 8], [1, 3, 9]],
            # Key 1 gets 1, 3 (fails), 5; key 0 gets 2.
            "yielded": [[1], [2], [1, 5]],
        },
    ),
    Case(
        "dead letters",
        dead_letters,
        {"source": LETTERS},
        {
            "words": [
                "one",
                letter(1, "weigh", "", "UnluckyError", "'bad map'"),
                "two",
                letter(3, "itself", "", NOT_A_KEY.format("float"), "3.5"),
                letter(4, "words", "", "TypeError: not a word: 4", "4"),
                letter(5, "itself", "", NOT_A_KEY.format("dict"), "{'b': {2}}"),
                letter(6, "explode", "'bad state'", "KeyError: 'missing'", "'bad state'"),
                "three",
            ]
        },
    ),
    Case(
        "letters beside the outputs",
        letters_beside_the_outputs,
        {"source": [1, 2, 3]},
        {
            "sink": [1, 3],
            "sink-2": [1, 2, letter(2, "check-2", "", "UnluckyError: no 3", "3")],
            "nothing": [],
            "sink-4": [letter(1, "check", "", "UnluckyError: no 2", "2")],
        },
    ),
    Case(
        # "once" fails: neither its output nor its change of the state nor its timer; it doesn't fire again.
        # "twice" fires and sets "undone", which is due at once, so it fires first in the round after, and sets
        # itself for the next one. "second" sets "once" and "twice" again, which fire in the third round.
        "failing timer skipped",
        lambda: failing_timer("skip"),
        {"source": timed(ALARMS)},
        {
            "sink": [
                ["first"],
                ["first", "twice"],  # second round
                ["first", "twice", "second"],
                ["first", "twice", "second", "undone"],  # third round
                ["first", "twice", "second", "undone", "twice"],
                ["first", "twice", "second", "undone", "twice", "undone"],  # fourth round
            ]
        },
    ),
    Case(
        "failing timer stops",
        lambda: failing_timer("stop"),
        {"source": timed(ALARMS)},
        {"sink": [["first"]]},
        stops="set_alarm",
    ),
]
