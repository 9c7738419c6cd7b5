"""RATE messages a second for SECONDS seconds, each holding the moment of its own yield; RATE 0 only waits."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import holdfast as hf

KEYS = 997


@dataclass
class Total:
    count: int = 0


def ticks() -> Iterator[int]:
    rate, seconds = int(os.environ["RATE"]), float(os.environ["SECONDS"])
    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        wait = start + number / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        yield time.perf_counter_ns()
    if rate == 0:
        yield 0
        time.sleep(seconds)


def key_of(sent: int) -> int:
    return sent % KEYS


def count(sent: int, total: Total) -> int:
    total.count += 1
    return sent


app = hf.Application("ticks")
(
    app.source(hf.sources.Generator(ticks))
    .key_by(key_of)
    .stateful(count, state=Total)
    .sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
)
