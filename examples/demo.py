"""The application behind `make demo`: word count over every text file below a folder.

The folder is named by the environment variable TEXT. Without it, it is source code of Python's own standard
library, which is on every machine. A few of its files are not UTF-8 on purpose, so lines that can't be
decoded are skipped.
"""

import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import holdfast as hf

ENDINGS = {".md", ".py", ".rst", ".txt"}
# Half of its modules, and its tests' subfolders, where the odd encodings are: with all of it, comparing with the
# reference would take longer than the demo may.
LIBRARY = ("[a-l]*.py", "test/*/*.py")


@dataclass
class Total:
    count: int = 0


def split(line: str) -> list[str]:
    return line.split()


def count(word: str, total: Total) -> tuple[str, int]:
    total.count += 1
    return word, total.count


def texts() -> list[str]:
    if given := os.environ.get("TEXT"):
        folder = Path(given)
        found = [path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file()]
    else:
        folder = Path(sysconfig.get_path("stdlib"))
        found = [path for pattern in LIBRARY for path in folder.glob(pattern)]
    if not found:
        raise hf.UsageError(f"there is no text in {folder}: no file named {', '.join(sorted(ENDINGS))}")
    return sorted(map(str, found))


app = hf.Application("demo")
(
    app.source(hf.sources.TextFile(*texts()), on_error="skip")
    .flat_map(split)
    .key_by(str)
    .stateful(count, state=Total)
    .sink(hf.sinks.JsonLines("counts.jsonl"))
)

if __name__ == "__main__":
    hf.main(app)
