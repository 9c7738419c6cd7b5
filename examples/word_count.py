"""Word count: every word of a text with the number of times it has been seen so far.

    python examples/word_count.py run

writes counts.jsonl into the current folder, one line for every word of data/sentences.txt.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import holdfast as hf

DATA = Path(__file__).parent / "data"


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
    app.source(hf.sources.TextFile(DATA / "sentences.txt"))
    .flat_map(split)
    .key_by(str)
    .stateful(count, state=Total)
    .sink(hf.sinks.JsonLines(os.environ.get("OUTPUT", "counts.jsonl")))
)

if __name__ == "__main__":
    hf.main(app)
