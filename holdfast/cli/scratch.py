"""The scratch folder of `verify` and `chaos`, and the child processes that work in it.

    data/        data directory of the captured run       outcome.json   how the run ended, once it has
    engine/      what its sinks would have written         watch          where it is (runtime/rehearsal.py)

The children are this same program with other arguments, so that they meet the interpreter, the hash seed and the
application exactly as a user's run does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.cli import interpreter
from holdfast.core.errors import UsageError

# What `verify` and `chaos` do with sources that never end.
LIVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a captured run ended."""

    error: str  # name of the error's class, empty for none
    text: str
    exit_code: int

    def write(self, path: Path) -> None:
        """Leave it for the parent."""
        path.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder and how children are started in it."""

    folder: Path
    program: tuple[str, ...]  # this program, without arguments
    target: tuple[str, ...]  # APP, or nothing where the program is the application
    debug: bool
    seconds: float
    workers: int = 1
    backups: int = 0
    log: str | None = None  # the form in which the children say what happens

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def engine(self) -> Path:
        return self.folder / "engine"

    @property
    def watch(self) -> Path:
        return self.folder / "watch"

    def clear(self) -> None:
        """Begin with nothing."""
        for path in (self.data, self.engine):
            shutil.rmtree(path, ignore_errors=True)
        self.forget_outcome()
        self.engine.mkdir()

    def forget_outcome(self) -> None:
        """Make room for how the next run ends."""
        (self.folder / "outcome.json").unlink(missing_ok=True)

    def start_run(
        self, environment: Mapping[str, str] | None = None, *, quiet: bool = False, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the captured run; it goes on where the one before was killed. What it says may go into a file."""
        arguments = ["--data", str(self.data), "--capture", str(self.folder), "--seconds", str(self.seconds)]
        arguments += ["--workers", str(self.workers), "--backups", str(self.backups)]
        seed = {"PYTHONHASHSEED": interpreter.HASH_SEED}
        log = Path(os.devnull) if quiet else log
        return self._start("run", arguments, seed | dict(environment or {}), log=log)

    def start_reference(self, *, seed: int, trace: Path | None = None) -> subprocess.Popen[bytes]:
        """Start the comparison with the reference; it says what it found on stdout."""
        arguments = ["--scratch", str(self.folder)] + ([] if trace is None else ["--trace", str(trace)])
        return self._start("reference", arguments, {"PYTHONHASHSEED": str(seed)})

    def outcome(self) -> RunOutcome | None:
        """Return how the run ended; None where it was killed or never started to run."""
        path = self.folder / "outcome.json"
        return RunOutcome(**json.loads(path.read_text())) if path.exists() else None

    def _start(
        self, command: str, arguments: list[str], environment: Mapping[str, str], *, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        debug = [*(["--debug"] if self.debug else []), *([] if self.log is None else ["--log", self.log])]
        with nullcontext() if log is None else log.open("ab") as stderr:
            return subprocess.Popen(
                [*self.program, command, *self.target, *arguments, *debug],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )


@contextmanager
def scratch(arguments: argparse.Namespace) -> Iterator[Scratch]:
    """Make a scratch folder and delete it afterwards, unless the user wants to keep it."""
    keep: Path | None = arguments.keep
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty; --keep takes a new folder")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=True)
    target = () if getattr(arguments, "app", None) is None else (arguments.app,)
    seconds = LIVE_SECONDS if arguments.seconds is None else arguments.seconds
    cluster = (arguments.workers, arguments.backups)
    made = Scratch(
        folder.absolute(), arguments.program, target, arguments.debug, seconds, *cluster, log=arguments.log
    )
    made.clear()
    try:
        yield made
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def child(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Never leave a child behind."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
