"""A function that works for SPINS turns of a loop on each message."""

import os
from dataclasses import dataclass

import holdfast as hf

SPINS = int(os.environ["SPINS"])


@dataclass
class Total:
    count: int = 0


def handle(key: str, total: Total) -> tuple[str, int]:
    work = 0
    for number in range(SPINS):
        work += number
    total.count += 1
    return key, total.count


app = hf.Application("handler")
(
    app.source(hf.sources.TextFile(os.environ["INPUT"]))
    .key_by(str)
    .stateful(handle, state=Total)
    .sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
)
