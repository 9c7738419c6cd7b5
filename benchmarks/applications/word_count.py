"""Word count: every word gives an output."""

import os
from dataclasses import dataclass

import holdfast as hf


@dataclass
class Total:
    count: int = 0


def split(line: str) -> list[str]:
    return line.split()


def count(word: str, total: Total) -> tuple[str, int]:
    total.count += 1
    return word, total.count


app = hf.Application("word-count")
(
    app.source(hf.sources.TextFile(os.environ["INPUT"]))
    .flat_map(split)
    .key_by(str)
    .stateful(count, state=Total)
    .sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
)
