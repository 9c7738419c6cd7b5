"""`ctx.uuid` and `ctx.random` depend on a message's identity and the step's name, and on nothing else.

The expected values are spelled out from the definition in docs/semantics.md, not taken from the code under test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgpack
import xxhash

from holdfast import sinks, sources
from holdfast.core import keys
from holdfast.core.application import Application
from holdfast.core.context import Context
from tests.zoo.case import Case, is_not_pad, padded, time_of, timed


def draw(message: Any, state: list[int], ctx: Context) -> Iterator[tuple[Any, UUID | float]]:
    yield message, ctx.uuid()
    yield message, ctx.random.random()
    yield message, ctx.uuid()
    yield message, ctx.random.random()


def draw_at_timer(message: Any, state: list[int], ctx: Context) -> None:
    ctx.set_timer(3, "alarm")


def alarm(name: str, state: list[int], ctx: Context) -> tuple[str, UUID]:
    return name, ctx.uuid()


def pair_up(word: str) -> list[str]:
    return [word, word]


PARTITIONS = {"left": ["a"], "right": ["b", "a"]}


def drawn() -> Application:
    """The record goes to two consumers; the second one makes two messages of it, which are drawn for."""
    app = Application("drawn")
    words = app.source(sources.Memory(PARTITIONS), name="words")
    words.sink(sinks.Memory(), name="words")
    words.flat_map(pair_up).filter(bool).key_by(str).stateful(draw, state=list).sink(sinks.Memory(), name="drawn")
    return app


ALARM = padded([(1, "key")], [(5, "key")])


def drawn_at_a_timer() -> Application:
    app = Application("drawn-at-a-timer")
    source = sources.Memory(ALARM, time=time_of)
    records = app.source(source).filter(is_not_pad)
    records.key_by(lambda record: "key").stateful(draw_at_timer, state=list, on_timer=alarm).sink(sinks.Memory())
    return app


def seed_of(*parts: object) -> int:
    packed: bytes = msgpack.packb(list(parts))
    return xxhash.xxh3_128_intdigest(packed)


def identifier(seed: int, ordinal: int) -> UUID:
    drawn = xxhash.xxh3_128_intdigest(seed.to_bytes(16, "big") + ordinal.to_bytes(8, "big"))
    return UUID(int=drawn, version=4)


def expected_draws(word: str, partition: int, number: int) -> list[tuple[str, UUID | float]]:
    expected: list[tuple[str, UUID | float]] = []
    for ordinal in (0, 1):  # of the flat_map's outputs; before it, 1 is the ordinal of the consumer
        seed = seed_of("message", "words", partition, number, [1, ordinal], "draw")
        numbers = random.Random(seed)
        expected += [
            (word, identifier(seed, 1)),
            (word, numbers.random()),
            (word, identifier(seed, 2)),
            (word, numbers.random()),
        ]
    return expected


ALARM_SEED = seed_of("timer", "draw_at_timer", keys.canonical("key"), 3, "alarm", [], "draw_at_timer")

CASES = [
    Case(
        "drawn",
        drawn,
        {"words": PARTITIONS},
        {
            "words": ["a", "b", "a"],
            "drawn": [*expected_draws("a", 0, 0), *expected_draws("b", 1, 0), *expected_draws("a", 1, 1)],
        },
    ),
    Case(
        # The second record sets the timer again, for a third round that never comes.
        "drawn at a timer",
        drawn_at_a_timer,
        {"source": timed(ALARM)},
        {"sink": [("alarm", identifier(ALARM_SEED, 1))]},
    ),
]
