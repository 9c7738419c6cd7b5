"""RATE messages a second, counted from the moment START; a new owner of the source goes on at once where it stands."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import holdfast as hf

KEYS = 997
RATE = int(os.environ["RATE"])
START = float(os.environ["START"])  # Unix seconds


@dataclass
class Total:
    count: int = 0


class Feed:
    """The message number n is due n / RATE seconds after START."""

    live = True

    def partitions(self) -> list[str]:
        return ["feed"]

    def read(self, partition: str, offset: int | None) -> Iterator[tuple[int, int]]:
        number = offset or 0
        while True:
            wait = START + number / RATE - time.time()
            if wait > 0:
                time.sleep(wait)
            yield number, number + 1
            number += 1


def key_of(number: int) -> int:
    return number % KEYS


def count(number: int, total: Total) -> int:
    total.count += 1
    return number


app = hf.Application("feed")
(
    app.source(Feed())
    .key_by(key_of)
    .stateful(count, state=Total)
    .sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
)
