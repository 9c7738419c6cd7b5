"""Sinks in partitions: each partition is an ordered sequence of its own, wherever it is written.

What they get rises from output to output, so that the partitions can be put together again in the serial order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast import sinks, sources
from holdfast.connectors.interface import OpenSink, Writer
from holdfast.core import keys
from holdfast.core.application import Application
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from tests.zoo.case import Case

WORDS = ["to", "be", "or", "not", "to", "be", "that", "is", "the", "question", "to", "be"]


class PartedMemory:
    """Memory sinks, one for each partition."""

    def __init__(self, partitions: int, by: Callable[[Any], object]) -> None:
        self.partitions = partitions
        self.by = by
        self.parts = [sinks.Memory() for _ in range(partitions)]

    @property
    def outputs(self) -> list[Any]:
        return list(heapq.merge(*(part.outputs for part in self.parts)))

    def bind(self, registry: TypeRegistry) -> None:
        """As a memory sink."""

    def partition_of(self, value: Any) -> int:
        return keys.range_of(keys.key_hash(keys.canonical(self.by(value))), self.partitions)

    def encode(self, value: object, /) -> object:
        return self.parts[0].encode(value)

    def encode_column(self, values: list[Any], /) -> list[Any] | None:
        return self.parts[0].encode_column(values)

    def paths(self) -> list[str]:
        return []

    def part(self, partition: int) -> OpenSink:
        return self.parts[partition]

    def open(self, token: object | None, number: int, owned: bool) -> Writer:
        raise AssertionError("its parts are opened")


def gathered(app: Application, outputs: Mapping[int, Sequence[Any]]) -> dict[str, list[Any]]:
    """Outputs by number of the sink's partition as outputs by the sink's name."""
    parts: dict[str, list[list[Any]]] = {}
    for number, own in enumerate(Plan(app).sink_partitions):
        given = list(outputs.get(number, ()))
        assert own.of(given) == given, "outputs in a partition that is not theirs"
        parts.setdefault(own.step.name, []).append(given)
    return {name: own[0] if len(own) == 1 else list(heapq.merge(*own)) for name, own in parts.items()}


def number_of(message: str, numbers: dict[str, int]) -> tuple[int, str]:
    numbers["all"] = numbers.get("all", 0) + 1
    return numbers["all"], message


def constant(message: object) -> int:
    return 0


def word_of(output: tuple[int, str]) -> str:
    return output[1]


def word_but_not_or(output: tuple[int, str]) -> object:
    if output[1] == "or":
        raise ValueError("no partition for it")
    return output[1] if output[1] != "is" else 1.5  # a float is no key


def numbered(partitions: int, by: Callable[[Any], object]) -> Callable[[], Application]:
    def build() -> Application:
        app = Application("parted")
        words = app.source(sources.Memory(WORDS))
        words.key_by(constant).stateful(number_of, state=dict).sink(PartedMemory(partitions, by))
        return app

    return build


def two_streams_to_one_sink() -> Application:
    app = Application("parted-merge")
    sink = PartedMemory(3, word_of)
    numbers = app.source(sources.Memory([(10 * n, word) for n, word in enumerate(WORDS, 1)]))
    numbers.sink(sink)
    numbers.key_by(constant).stateful(one_more, state=dict).sink(sink)
    return app


def one_more(message: tuple[int, str], state: dict[str, int]) -> tuple[int, str]:
    return message[0] + 1, message[1]


def skipped_by_the_key() -> Application:
    app = Application("parted-failures")
    letters = sinks.Memory()
    words = app.source(sources.Memory(WORDS))
    keyed = words.key_by(constant)
    keyed.stateful(number_of, state=dict).sink(PartedMemory(4, word_but_not_or), on_error=letters)
    return app


ALL = [(n, word) for n, word in enumerate(WORDS, 1)]


def letter(offset: int, error: str) -> dict[str, object]:
    return {
        "source": "source",
        "partition": "0",
        "offset": offset,
        "step": "sink",
        "key": "",
        "error": error,
        "message": repr(ALL[offset]),
    }


CASES = [
    Case("parted sink", numbered(5, word_of), {"source": WORDS}, {"sink": ALL}),
    Case("parted sink of one partition", numbered(1, word_of), {"source": WORDS}, {"sink": ALL}),
    Case(
        "parted sink of two streams",
        two_streams_to_one_sink,
        {"source": [(10 * n, word) for n, word in ALL]},
        {"sink": [(10 * n + more, word) for n, word in ALL for more in (0, 1)]},
    ),
    Case(
        "parted sink whose by fails stops",
        numbered(4, word_but_not_or),
        {"source": WORDS},
        {"sink": ALL[:2]},
        stops="sink",
    ),
    Case(
        "parted sink whose by fails skipped",
        skipped_by_the_key,
        {"source": WORDS},
        {
            "sink": [one for one in ALL if one[1] not in ("or", "is")],
            "sink-2": [
                letter(2, "ValueError: no partition for it"),
                letter(
                    7,
                    "KeyTypeError: a key can't be a float: "
                    "keys are str, bytes, int, bool, UUID, date, Enum and tuples of these",
                ),
            ],
        },
    ),
]
