"""ENTITIES entities, then as many messages that no checkpoint covers, then one more: what a cold start meets.

The source waits between the three for files that the benchmark makes in the folder STEPS. The second sink
gets no outputs; it only holds up checkpoints while the file `hold` is there.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import holdfast as hf

STEPS = Path(os.environ["STEPS"])
ENTITIES = int(os.environ["ENTITIES"])
POLL_SECONDS = 0.01


@dataclass
class Total:
    count: int = 0


class Feed:
    """Numbers from 0; their remainders are the keys, so that every entity is touched twice."""

    live = True

    def partitions(self) -> list[str]:
        return ["feed"]

    def read(self, partition: str, offset: int | None) -> Iterator[tuple[int, int]]:
        stops = {ENTITIES: "second", 2 * ENTITIES: "third"}
        for number in range(offset or 0, 2 * ENTITIES + 1):
            if number in stops:
                wait_for(STEPS / stops[number])
            yield number, number + 1
        wait_for(STEPS / "end")


class Gate:
    """Makes nothing durable, slowly: a checkpoint needs every sink's flush."""

    def resume(self, partition: str, token: object) -> int:
        return 0

    def write(self, partition: str, first_number: int, outputs: Sequence[object]) -> None:
        raise AssertionError("the gate is given no outputs")

    def flush(self, partition: str) -> None:
        while (STEPS / "hold").exists():
            time.sleep(POLL_SECONDS)


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(POLL_SECONDS)


def key_of(number: int) -> int:
    return number % ENTITIES


def count(number: int, total: Total) -> int:
    total.count += 1
    return number


app = hf.Application("restart")
counted = app.source(Feed()).key_by(key_of).stateful(count, state=Total)
counted.sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
counted.filter(lambda number: number < 0).sink(Gate())
