"""Shapes of streams: diamonds, fan-outs, merges, branches, uneven partitions, several sources and sinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast import sinks, sources
from holdfast.core.application import Application
from tests.zoo.case import Case


def double(number: int) -> int:
    return number * 2


def negate(number: int) -> int:
    return -number


def is_even(number: int) -> bool:
    return number % 2 == 0


def itself(message: Any) -> Any:
    return message


def nothing_in_common(message: object) -> str:
    return "all"


def remember(message: Any, seen: list[Any]) -> tuple[int, Any]:
    seen.append(message)
    return len(seen), message


def count(message: Any, counts: dict[str, int]) -> tuple[Any, int]:
    counts["n"] = counts.get("n", 0) + 1
    return message, counts["n"]


def diamond() -> Application:
    app = Application("diamond")
    numbers = app.source(sources.Memory([1, 2, 3]))
    numbers.map(double).merge(numbers.map(negate)).sink(sinks.Memory())
    return app


def diamond_through_an_entity() -> Application:
    """The direct arm is defined first, so its message reaches the log first, although it is merged second."""
    app = Application("diamond-through-an-entity")
    words = app.source(sources.Memory(["a", "b", "a"]))
    direct = words.map(str.upper)
    counted = words.key_by(itself).stateful(count, state=dict)
    merged = counted.merge(direct)
    merged.key_by(nothing_in_common).stateful(remember, state=list).sink(sinks.Memory())
    return app


LENGTHS = {"a": 130, "b": 3, "c": 70}
UNEVEN = {name: [f"{name}{number}" for number in range(length)] for name, length in LENGTHS.items()}


def uneven_files() -> Application:
    app = Application("uneven-files")
    app.source(sources.Memory(UNEVEN)).key_by(nothing_in_common).stateful(remember, state=list).sink(sinks.Memory())
    return app


# Rounds of 64 of each partition, in their order: a 0-63, b 0-2, c 0-63; then a 64-127, c 64-69; then a 128-129.
UNEVEN_ORDER = [
    *(f"a{number}" for number in range(64)),
    *("b0", "b1", "b2"),
    *(f"c{number}" for number in range(64)),
    *(f"a{number}" for number in range(64, 128)),
    *(f"c{number}" for number in range(64, 70)),
    *("a128", "a129"),
]


def lines(text: str) -> list[str]:
    return text.split("/")


def words(line: str) -> Iterator[str]:
    yield from line.split()


def letters(word: str) -> tuple[str, ...] | None:
    return tuple(word) if word != "-" else None


def fan_out_of_fan_out() -> Application:
    app = Application("fan-out-of-fan-out")
    split = app.source(sources.Memory(["ab c/d", "- e"])).flat_map(lines).flat_map(words)
    single = split.flat_map(letters)
    single.sink(sinks.Memory(), name="letters")
    single.key_by(nothing_in_common).stateful(remember, state=list).sink(sinks.Memory(), name="numbered")
    split.sink(sinks.Memory(), name="words")
    return app


def merged_with_itself() -> Application:
    app = Application("merged-with-itself")
    numbers = app.source(sources.Memory([1, 2]))
    numbers.merge(numbers, numbers).key_by(nothing_in_common).stateful(remember, state=list).sink(sinks.Memory())
    return app


QUOTES = [("quote", number) for number in range(65)]
ORDERS = [("order", 0), ("order", 1)]


def latest_quote(message: tuple[str, int], latest: list[int]) -> tuple[str, int, int] | None:
    kind, number = message
    if kind == "quote":
        latest[:] = [number]
        return None
    return kind, number, latest[0]


def is_last_quote_or_order(message: tuple[str, int]) -> bool:
    return message[0] == "order" or message[1] > 63


def kind_of(message: tuple[str, int]) -> str:
    return message[0]


def two_sources() -> Application:
    """Both are keyed before they are merged, and filtered after it."""
    app = Application("two-sources")
    quotes = app.source(sources.Memory(QUOTES), name="quotes").key_by(nothing_in_common)
    orders = app.source(sources.Memory(ORDERS), name="orders").key_by(nothing_in_common)
    both = quotes.merge(orders)
    both.stateful(latest_quote, state=list).sink(sinks.Memory(), name="checked")
    both.filter(is_last_quote_or_order).sink(sinks.Memory(), name="passed")
    return app


def several_sinks() -> Application:
    """Two sinks on one stream, one sink on two streams, an arm of a branch that goes nowhere."""
    app = Application("several-sinks")
    shared, first, second = sinks.Memory(), sinks.Memory(), sinks.Memory()
    numbers = app.source(sources.Memory([1, 2, 3, 4]))
    even, odd = numbers.branch(is_even)
    odd.sink(shared)
    large, _ = even.branch(lambda number: number > 2)
    large.sink(first)
    large.sink(second, name="also-large")
    even.map(negate).sink(shared)
    return app


def gives_none_for_odd(number: int) -> int | None:
    return None if number % 2 else number


def none_or_list(message: int | None) -> list[int | None] | None:
    return None if message is None else [message, None]


def echo(message: int | None, state: list[None]) -> int | None:
    return message


def echo_twice(message: int | None, state: list[None]) -> Iterator[int | None]:
    yield message
    yield None
    yield -1


def nothing_and_none() -> Application:
    """`map` and the elements of a flat_map pass None on; a stateful step takes it for nothing."""
    app = Application("nothing-and-none")
    mapped = app.source(sources.Memory([1, 2])).map(gives_none_for_odd)
    mapped.sink(sinks.Memory(), name="mapped")
    flat = mapped.flat_map(none_or_list)
    flat.sink(sinks.Memory(), name="flat")
    keyed = flat.key_by(nothing_in_common)
    keyed.stateful(echo, state=list).sink(sinks.Memory(), name="stateful")
    keyed.stateful(echo_twice, state=list).sink(sinks.Memory(), name="generator")
    return app


LONG_CHAIN = 500


def long_chain() -> Application:
    app = Application("long-chain")
    stream = app.source(sources.Memory([0, 10]))
    for _ in range(LONG_CHAIN):
        stream = stream.map(lambda number: number + 1)
    stream.sink(sinks.Memory())
    return app


def nested_branches() -> Application:
    """Four ways that meet again in an order of their own; a message takes one of them only."""
    app = Application("nested-branches")
    even, odd = app.source(sources.Memory([1, 2, 3, 4, 5])).key_by(is_even).branch(is_even)
    small_odd, large_odd = odd.branch(lambda number: number < 4)
    met = large_odd.map(lambda number: ("large odd", number)).merge(
        even.map(lambda number: ("even", number)), small_odd.map(lambda number: ("small odd", number))
    )
    met.stateful(remember, state=list).sink(sinks.Memory())
    return app


CASES = [
    Case("diamond", diamond, {"source": [1, 2, 3]}, {"sink": [2, -1, 4, -2, 6, -3]}),
    Case(
        "diamond through an entity",
        diamond_through_an_entity,
        {"source": ["a", "b", "a"]},
        {"sink": [(1, "A"), (2, ("a", 1)), (3, "B"), (4, ("b", 1)), (5, "A"), (6, ("a", 2))]},
    ),
    Case("uneven files", uneven_files, {"source": UNEVEN}, {"sink": list(enumerate(UNEVEN_ORDER, 1))}),
    Case(
        "fan-out of fan-out",
        fan_out_of_fan_out,
        {"source": ["ab c/d", "- e"]},
        {
            "letters": ["a", "b", "c", "d", "e"],
            "numbered": [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")],
            "words": ["ab", "c", "d", "-", "e"],
        },
    ),
    Case(
        "merged with itself",
        merged_with_itself,
        {"source": [1, 2]},
        {"sink": [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]},
    ),
    Case(
        # The first round holds quotes 0-63 and both orders; quote 64 comes in the second.
        "two sources",
        two_sources,
        {"quotes": QUOTES, "orders": ORDERS},
        {
            "checked": [("order", 0, 63), ("order", 1, 63)],
            "passed": [("order", 0), ("order", 1), ("quote", 64)],
        },
    ),
    Case(
        "several sinks",
        several_sinks,
        {"source": [1, 2, 3, 4]},
        {"sink": [1, -2, 3, -4], "sink-2": [4], "also-large": [4]},
    ),
    Case(
        "nothing and None",
        nothing_and_none,
        {"source": [1, 2]},
        {
            "mapped": [None, 2],  # 1 became None, and passed on
            "flat": [2, None],  # None gave nothing, 2 gave [2, None]
            "stateful": [2],
            "generator": [2, -1, -1],  # for 2: 2, nothing, -1; for None: nothing, nothing, -1
        },
    ),
    Case("long chain", long_chain, {"source": [0, 10]}, {"sink": [500, 510]}),
    Case(
        "nested branches",
        nested_branches,
        {"source": [1, 2, 3, 4, 5]},
        {  # two entities: odd numbers under False, even ones under True
            "sink": [
                (1, ("small odd", 1)),
                (1, ("even", 2)),
                (2, ("small odd", 3)),
                (2, ("even", 4)),
                (3, ("large odd", 5)),
            ]
        },
    ),
]
