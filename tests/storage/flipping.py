"""A child process that flips bytes of a data directory one at a time and says what became of each.

Run as `python -m tests.storage.flipping TEMPLATE SCRATCH` with lines "file offset xor" on stdin; answers
each with `same` (everything reads back exactly, also after more was written), `damaged: …` or `WRONG: …`.
LMDB may take a process down over a damaged file, which is why this is one of its own and says before each
flip which it is.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from holdfast.core.errors import DamagedError
from holdfast.storage.directory import DataDirectory
from holdfast.storage.inspection import inspect
from tests.storage.contents import go_on, read_all


def expected_of(template: Path, scratch: Path) -> list[list[object]]:
    """Return what an undamaged directory gives at once and after more was written."""
    shutil.copytree(template, scratch)
    try:
        with DataDirectory.open(scratch, create=False, wait=0, sync=False) as directory:
            first = read_all(directory)
            go_on(directory)
        with DataDirectory.open(scratch, create=False, wait=0, sync=False) as directory:
            return [first, read_all(directory)]
    finally:
        shutil.rmtree(scratch)


def outcome(scratch: Path, expected: list[list[object]]) -> str:
    """Open and read a directory that has one wrong byte."""
    problems = inspect(scratch).problems
    try:
        with DataDirectory.open(scratch, create=False, wait=0, sync=False) as directory:
            if read_all(directory) != expected[0]:
                return "WRONG: something else was read"
            go_on(directory)
        with DataDirectory.open(scratch, create=False, wait=0, sync=False) as directory:
            if read_all(directory) != expected[1]:
                return "WRONG: something else was read after more was written"
    except DamagedError as error:
        return f"damaged: {error}" if problems else f"WRONG: inspect did not find {error}"
    if not all("marks" in problem.split(":")[0] for problem in problems):
        return f"WRONG: inspect found {problems[0]}, reading did not"
    return "same"


def main(template: Path, scratch: Path) -> None:
    expected = expected_of(template, scratch)
    for line in sys.stdin:
        name, offset, mask = line.split()
        sys.stdout.write(f"{name} {offset} {mask} ")
        sys.stdout.flush()
        shutil.copytree(template, scratch)
        with (scratch / name).open("r+b") as file:
            file.seek(int(offset))
            byte = file.read(1)[0]
            file.seek(int(offset))
            file.write(bytes([byte ^ int(mask)]))
        try:
            said = outcome(scratch, expected)
        except Exception as error:  # noqa: BLE001 - any other error is an outcome too, a wrong one
            said = f"WRONG: {type(error).__name__}: {error}"
        sys.stdout.write(said.replace("\n", " ") + "\n")
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
