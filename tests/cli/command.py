"""Running the `holdfast` command as a user does, on small applications written into a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.repository import ROOT

SECONDS_MAX = 60.0
POLL_SECONDS = 0.01

COUNT = """
import holdfast as hf


def split(line: str) -> list[str]:
    return line.split()


def count(word: str, state: list[int]) -> tuple[str, int]:
    state.append(0)
    return word, len(state)


app = hf.Application("count")
(
    app.source(hf.sources.TextFile("input.txt"))
    .flat_map(split)
    .key_by(str)
    .stateful(count, state=list)
    .sink(hf.sinks.JsonLines("output.jsonl"))
)

if __name__ == "__main__":
    hf.main(app)
"""

# Yields one line after the other, slowly, and tells in a file how far it is.
TICKER = """
import time
from pathlib import Path

import holdfast as hf


def ticks():
    for tick in range(1_000_000):
        yield f"tick {tick}"
        time.sleep(0.001)


app = hf.Application("ticker")
app.source(hf.sources.Generator(ticks)).sink(hf.sinks.TextFile("ticks.txt"))
"""


def write(folder: Path, text: str = COUNT, name: str = "app.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def write_lines(folder: Path, count: int, *, start: int = 0, name: str = "input.txt") -> None:
    with (folder / name).open("a") as file:
        for number in range(start, start + count):
            file.write(f"line {number} of w{number % 7} and w{number % 31}\n")


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def counted(folder: Path) -> bytes:
    """What COUNT must write for the input that stands in the folder."""
    totals: dict[str, int] = {}
    lines = []
    for word in (folder / "input.txt").read_text().split():
        totals[word] = totals.get(word, 0) + 1
        lines.append(f'["{word}",{totals[word]}]\n')
    return "".join(lines).encode()


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "PYTHONHASH"))}
    return kept | {"PYTHONPATH": str(ROOT)} | variables


def holdfast(
    folder: Path,
    *arguments: str,
    program: tuple[str, ...] = ("-m", "holdfast"),
    patience: float = SECONDS_MAX,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


@contextmanager
def running(
    folder: Path, *arguments: str, stderr: int = subprocess.PIPE, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on beside the test, and is killed behind it if it still does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", *arguments],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def wait_for(path: Path, size: int = 1) -> None:
    """Wait until a file has so many bytes."""
    deadline = time.monotonic() + SECONDS_MAX
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path} did not grow to {size} bytes"
        time.sleep(POLL_SECONDS)


def last_line(text: str) -> str:
    """The last line of what a command printed: where its error stands."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
