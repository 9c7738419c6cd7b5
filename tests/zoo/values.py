"""Values: reused buffers, state that changes after it was emitted, sets and dicts, odd numbers, awkward keys."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from tests.zoo.case import Case
from tests.zoo.shapes import count, itself, nothing_in_common


def growing_buffer(length: int) -> Iterator[list[int]]:
    buffer: list[int] = []
    for number in range(length):
        buffer.append(number)
        yield buffer


def spoil(buffer: list[int]) -> int:
    buffer.append(99)
    return len(buffer)


def same_buffer_thrice(length: int) -> list[list[int]]:
    buffer = [length]
    return [buffer, buffer, buffer]


def reused_buffer() -> Application:
    """The first consumer changes its message; the second one has a message of its own."""
    app = Application("reused-buffer")
    lengths = app.source(sources.Memory([3]))
    buffers = lengths.flat_map(growing_buffer)
    buffers.map(spoil).sink(sinks.Memory(), name="lengths")
    buffers.sink(sinks.Memory(), name="buffers")
    lengths.flat_map(same_buffer_thrice).map(spoil).sink(sinks.Memory(), name="thrice")
    return app


def append_and_give_state(message: int, state: list[int]) -> list[int]:
    state.append(message)
    return state


def give_state_twice(message: int, state: dict[str, int]) -> Iterator[dict[str, int]]:
    yield state
    state[str(message)] = message
    yield state


def clear(message: list[int]) -> int:
    message.clear()
    return len(message)


def state_changed_after_emission() -> Application:
    app = Application("state-changed-after-emission")
    numbers = app.source(sources.Memory([1, 2])).key_by(nothing_in_common)
    states = numbers.stateful(append_and_give_state, state=list)
    states.sink(sinks.Memory(), name="lists")
    states.map(clear).sink(sinks.Memory(), name="cleared")
    numbers.stateful(give_state_twice, state=dict).sink(sinks.Memory(), name="dicts")
    return app


def keep_message(message: list[int], kept: list[list[int]]) -> list[list[int]]:
    """Keeps the message itself, changes it at every later call, and gives everything it has kept."""
    for old in kept:
        old.append(0)
    kept.append(message)
    return kept


def message_kept_in_state() -> Application:
    """Two steps keep the same message: neither sees what the other one does to it."""
    app = Application("message-kept-in-state")
    lists = app.source(sources.Memory([[1], [2]])).key_by(nothing_in_common)
    lists.stateful(keep_message, state=list, name="left").sink(sinks.Memory(), name="left")
    lists.stateful(keep_message, state=list, name="right").sink(sinks.Memory(), name="right")
    return app


def seen_before(word: str, seen: set[str]) -> tuple[str, bool, list[str], set[str]]:
    known = word in seen
    seen.add(word)
    return word, known, sorted(seen), seen


def tally(word: str, counts: dict[str, Any]) -> dict[str, Any]:
    """Puts the word at the end: the order of a dict is part of it."""
    number = counts.pop(word, 0) + 1
    counts[word] = number
    return counts


def sets_and_dicts() -> Application:
    app = Application("sets-and-dicts")
    words = app.source(sources.Memory(["b", "a", "b"])).key_by(nothing_in_common)
    words.stateful(seen_before, state=set).sink(sinks.Memory(), name="sets")
    words.stateful(tally, state=dict).sink(sinks.Memory(), name="dicts")
    return app


FLOATS = [-0.0, 0.0, math.nan, math.inf, -0.0, 5e-324]


def keep_least(number: float, state: list[float]) -> list[float]:
    state.append(number)
    return state[-3:]


def odd_floats() -> Application:
    app = Application("odd-floats")
    floats = app.source(sources.Memory(FLOATS))
    floats.map(lambda number: -number).sink(sinks.Memory(), name="negated")
    floats.key_by(nothing_in_common).stateful(keep_least, state=list).sink(sinks.Memory(), name="last")
    return app


HUGE = [2**64, -(2**63) - 1, 10**40]


def multiply(number: int, state: int, ctx: Context) -> int:
    ctx.state = state * number
    return state * number


def huge_ints() -> Application:
    app = Application("huge-ints")
    numbers = app.source(sources.Memory(HUGE))
    numbers.key_by(itself).stateful(count, state=dict).sink(sinks.Memory(), name="keys")
    numbers.key_by(nothing_in_common).stateful(multiply, state=lambda: 1).sink(sinks.Memory(), name="products")
    return app


class Colour(enum.Enum):
    RED = 1
    GREEN = "1"


class Level(enum.IntEnum):
    LOW = 1


# All of these are different keys, though many are equal in Python or look alike.
AWKWARD: list[Any] = [
    1,
    True,
    "1",
    b"1",
    0,
    False,
    "",
    b"",
    (),
    (1,),
    (True,),
    ("1",),
    (b"1",),
    (1, 1),
    ((1,), 1),
    (1, (1,)),
    ((),),
    Colour.RED,
    Colour.GREEN,
    Level.LOW,
    date(1970, 1, 2),
    "1970-01-02",
    UUID(int=1),
    str(UUID(int=1)),
    UUID(int=1).bytes,
    "x" * 2000,
    "x" * 1999,
    b"x" * 2000,
    -1,
    2**64,
    2**64 + 1,
    -(2**64),
    2**200,
    "\x00",
    "\ud800",
    "é",
    "e\u0301",
    (("nested", (1, (True, (b"\x00", Colour.RED)))),),
]


def count_key(message: Any, counts: list[Any], ctx: Context) -> tuple[Any, int]:
    counts.append(ctx.key)
    return ctx.key, len(counts)


def awkward_keys() -> Application:
    app = Application("awkward-keys")
    app.source(sources.Memory(AWKWARD * 2)).key_by(itself).stateful(count_key, state=list).sink(sinks.Memory())
    return app


CASES = [
    Case(
        "reused buffer",
        reused_buffer,
        {"source": [3]},
        {
            "lengths": [2, 3, 4],  # one more than each buffer held when it was yielded
            "buffers": [[0], [0, 1], [0, 1, 2]],
            "thrice": [2, 2, 2],  # three messages, not one that grows to 4
        },
    ),
    Case(
        "state changed after emission",
        state_changed_after_emission,
        {"source": [1, 2]},
        {
            "lists": [[1], [1, 2]],
            "cleared": [0, 0],
            "dicts": [{}, {"1": 1}, {"1": 1}, {"1": 1, "2": 2}],
        },
    ),
    Case(
        "message kept in state",
        message_kept_in_state,
        {"source": [[1], [2]]},
        {"left": [[[1]], [[1, 0], [2]]], "right": [[[1]], [[1, 0], [2]]]},
    ),
    Case(
        "sets and dicts",
        sets_and_dicts,
        {"source": ["b", "a", "b"]},
        {
            "sets": [
                ("b", False, ["b"], {"b"}),
                ("a", False, ["a", "b"], {"a", "b"}),
                ("b", True, ["a", "b"], {"a", "b"}),
            ],
            "dicts": [{"b": 1}, {"b": 1, "a": 1}, {"a": 1, "b": 2}],
        },
    ),
    Case(
        "odd floats",
        odd_floats,
        {"source": FLOATS},
        {
            "negated": [0.0, -0.0, -math.nan, -math.inf, 0.0, -5e-324],
            "last": [
                [-0.0],
                [-0.0, 0.0],
                [-0.0, 0.0, math.nan],
                [0.0, math.nan, math.inf],
                [math.nan, math.inf, -0.0],
                [math.inf, -0.0, 5e-324],
            ],
        },
    ),
    Case(
        "huge ints",
        huge_ints,
        {"source": HUGE},
        {
            "keys": [(2**64, 1), (-(2**63) - 1, 1), (10**40, 1)],
            "products": [2**64, -(2**127) - 2**64, (-(2**127) - 2**64) * 10**40],
        },
    ),
    Case(
        "awkward keys",
        awkward_keys,
        {"source": AWKWARD * 2},
        {"sink": [*((key, 1) for key in AWKWARD), *((key, 2) for key in AWKWARD)]},
    ),
]
