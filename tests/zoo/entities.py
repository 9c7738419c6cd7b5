"""Entities: made on first use, replaced, deleted and made again; chains of keyed steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast import sinks, sources
from holdfast.core.application import Application
from holdfast.core.context import Context
from tests.zoo.case import Case


@dataclass
class Account:
    owner: str
    balance: int = 100


def first_word(line: str) -> str:
    return line.split()[0]


def book(line: str, account: Account, ctx: Context) -> Iterator[tuple[str, int] | None]:
    """`close` deletes the account, `reset` makes it anew at once, anything else is an amount to pay in."""
    owner, action = line.split()
    assert owner == account.owner
    assert owner == ctx.key
    if action == "close":
        ctx.delete()
        account.balance = -1  # the deleted entity's state: without effect on the next one
        yield "closed", account.balance
    elif action == "reset":
        ctx.delete()
        ctx.state = Account(owner, 5)
        yield "reset", ctx.state.balance
    else:
        account.balance += int(action)
        yield owner, account.balance


ACCOUNT_LINES = [
    "ann 1",
    "bob 2",
    "ann close",
    "ann 3",
    "bob 4",
    "ann close",
    "ann close",
    "bob reset",
    "bob 1",
    "ann 1",
]


def deletion() -> Application:
    app = Application("deletion")
    app.source(sources.Memory(ACCOUNT_LINES)).key_by(first_word).stateful(book, state=Account).sink(sinks.Memory())
    return app


def count_to_three(word: str, number: int, ctx: Context) -> tuple[str, int]:
    """A state that can only be replaced; it goes away at three."""
    ctx.state = number + 1
    seen = ctx.state
    if seen == 3:
        ctx.delete()
    return word, seen


def latest_and_before(word: str, latest: str | None, ctx: Context) -> tuple[str | None, str]:
    ctx.state = word
    return latest, word


def replaced_state() -> Application:
    app = Application("replaced-state")
    words = app.source(sources.Memory(["a", "a", "b", "a", "a"]))
    words.key_by(str).stateful(count_to_three, state=int).sink(sinks.Memory(), name="counts")
    words.key_by(len).stateful(latest_and_before, state=lambda: None, name="latest").sink(sinks.Memory(), name="pairs")
    return app


def count_word(word: str, counts: list[str]) -> tuple[str, int]:
    counts.append(word)
    return word, len(counts)


def of_length(counted: tuple[str, int]) -> int:
    return len(counted[0])


def total_of_length(counted: tuple[str, int], totals: dict[str, int]) -> tuple[int, int]:
    word, number = counted
    totals[word] = number
    return len(word), sum(totals.values())


def parity(total: tuple[int, int]) -> bool:
    return total[1] % 2 == 0


def number_in_parity(total: tuple[int, int], seen: list[tuple[int, int]]) -> tuple[bool, int, int, int]:
    seen.append(total)
    length, number = total
    return number % 2 == 0, len(seen), length, number


def split(line: str) -> list[str]:
    return line.split()


def chain() -> Application:
    app = Application("chain")
    (
        app.source(sources.Memory(["to be or", "not to be"]))
        .flat_map(split)
        .key_by(str)
        .stateful(count_word, state=list)
        .key_by(of_length)
        .stateful(total_of_length, state=dict)
        .key_by(parity)
        .stateful(number_in_parity, state=list)
        .sink(sinks.Memory())
    )
    return app


CASES = [
    Case(
        "deletion",
        deletion,
        {"source": ACCOUNT_LINES},
        {
            "sink": [
                ("ann", 101),
                ("bob", 102),
                ("closed", -1),
                ("ann", 103),  # made again, with the factory's 100
                ("bob", 106),
                ("closed", -1),
                ("closed", -1),  # made for this message, and deleted by it
                ("reset", 5),
                ("bob", 6),
                ("ann", 101),
            ]
        },
    ),
    Case(
        "replaced state",
        replaced_state,
        {"source": ["a", "a", "b", "a", "a"]},
        {
            "counts": [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("a", 1)],
            "pairs": [(None, "a"), ("a", "a"), ("a", "b"), ("b", "a"), ("a", "a")],
        },
    ),
    Case(
        # word counts:      to 1, be 1, or 1, not 1, to 2, be 2
        # totals by length: (2,1) (2,2) (2,3) (3,1) (2,4) (2,5)
        # parities:         odd   even  odd   odd   even  odd
        "chain",
        chain,
        {"source": ["to be or", "not to be"]},
        {
            "sink": [
                (False, 1, 2, 1),
                (True, 1, 2, 2),
                (False, 2, 2, 3),
                (False, 3, 3, 1),
                (True, 2, 2, 4),
                (False, 4, 2, 5),
            ]
        },
    ),
]
