"""The application that is killed: what crashes like to get wrong, in one pipeline over two files.

Chained keyed steps, a branch that meets again, two sources of uneven length, awkward keys and values, states that are
dicts, sets and deques, deletion, timers, chance and identities, functions that fail and letters about it.
Its files lie in the current folder. With `time=` functions its outputs are a function of the files alone.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import holdfast as hf

ORDERS, WORDS = "orders.jsonl", "words.txt"
OUTPUTS = {"totals": "totals.jsonl", "words": "words.out", "letters": "letters.jsonl"}
CUSTOMERS = 40


def of_order(order: dict[str, Any]) -> int:
    return int(order["at"])


def of_line(line: str) -> int:
    return int(line.split(maxsplit=1)[0])


def customer(order: dict[str, Any]) -> Any:
    """Keys that a careless engine takes for each other."""
    number = order["customer"]
    return [str(number), number, (number, str(number)), number.to_bytes(2, "big"), number % 2 == 0][number % 5]


def account(order: dict[str, Any], state: dict[str, Any], ctx: hf.Context) -> Any:
    state["sum"] = state.get("sum", Decimal(0)) + Decimal(str(order["amount"]))
    state.setdefault("seen", set()).add(order["item"])
    state.setdefault("last", deque(maxlen=3)).append((order["at"], order["item"]))
    if order["amount"] == 0:
        raise ValueError(f"nothing was bought: {order['item']}")
    if order["amount"] > 90:
        ctx.set_timer(ctx.time + 700, "quiet")
    if order["amount"] == 13:
        ctx.delete()
    return {
        "customer": repr(ctx.key),
        "sum": str(state["sum"]),
        "seen": len(state["seen"]),
        "last": [list(pair) for pair in state["last"]],
        "chance": ctx.random.randrange(1000),
        "big": order["amount"] > 50,
    }


def quiet(name: str, state: dict[str, Any], ctx: hf.Context) -> Any:
    state["timers"] = state.get("timers", 0) + 1
    return {"customer": repr(ctx.key), "timer": name, "time": ctx.time, "timers": state["timers"], "big": True}


def is_big(output: dict[str, Any]) -> bool:
    return bool(output["big"])


def marked(output: dict[str, Any]) -> dict[str, Any]:
    output["marked"] = True
    return output


@dataclass
class Region:
    count: int = 0
    nested: dict[str, list[int]] = field(default_factory=dict)


def region(output: dict[str, Any]) -> int:
    return len(output["customer"]) % 3


def number_in_region(output: dict[str, Any], state: Region) -> tuple[str, int, dict[str, Any]]:
    state.count += 1
    state.nested.setdefault(output["customer"], []).append(state.count)
    del state.nested[output["customer"]][:-2]
    return output["customer"], state.count, {**output, "places": list(state.nested[output["customer"]])}


def split(line: str) -> list[str]:
    return line.split()[1:]


def shape(word: str) -> tuple[int, str]:
    return len(word), word[:1]


def count(word: str, state: list[int], ctx: hf.Context) -> Iterator[str]:
    state.append(len(state))
    if word == "bad":
        raise LookupError(word)
    yield f"{word} {len(state)} {ctx.key!r}"
    if len(state) % 7 == 0:
        yield f"seventh {ctx.uuid()} of {ctx.key!r}"
        del state[2:]


letters = hf.sinks.JsonLines(OUTPUTS["letters"])
app = hf.Application("driver", on_error="skip")
orders = (
    app.source(hf.sources.JsonLines(ORDERS, time=of_order), name="orders", on_error=letters)
    .key_by(customer)
    .stateful(account, state=dict, on_timer=quiet, on_error=letters)
)
big, small = orders.branch(is_big)
(
    big.map(marked)
    .merge(small)
    .key_by(region)
    .stateful(number_in_region, state=Region)
    .sink(hf.sinks.JsonLines(OUTPUTS["totals"]), name="totals")
)
(
    app.source(hf.sources.TextFile(WORDS, time=of_line), name="words")
    .flat_map(split)
    .key_by(shape)
    .stateful(count, state=list)
    .sink(hf.sinks.TextFile(OUTPUTS["words"]), name="words")
)


def write_inputs(folder: Path, seed: int, records: int, *, faulty: bool = True) -> None:
    """Write both files. In faulty ones some lines can't be decoded and some make a function fail."""
    random = Random(seed)
    with (folder / ORDERS).open("w") as file:
        for number in range(records):
            order = {
                "at": 10 * number + random.randrange(50),
                "customer": random.randrange(CUSTOMERS),
                "amount": random.choice([0 if faulty else 1, 13, 7.25, 49.5, 51, 99, random.randrange(1, 100)]),
                "item": f"item {random.randrange(500)}",
            }
            file.write("no json\n" if faulty and random.random() < 0.01 else json.dumps(order) + "\n")
    words = [
        "to",
        "be",
        "or",
        "not",
        "bad" if faulty else "good",
        "Übergröße",
        "x" * 40,
        *(f"w{n}" for n in range(300)),
    ]
    with (folder / WORDS).open("wb") as file:
        for number in range(records // 2):
            line = " ".join([str(20 * number), *random.choices(words, k=random.randrange(6))])
            file.write(b"\xff\xfe\n" if faulty and random.random() < 0.01 else line.encode() + b"\n")


if __name__ == "__main__":
    hf.main(app)
