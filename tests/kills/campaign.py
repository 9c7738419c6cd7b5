"""A campaign: one application started and killed many times until its input is worked off, its output always compared.

What stands in an output file must at every moment be a prefix of what the reference says, and all of it at the end.
The seed fixes which kills come; where a random moment finds the process is up to the machine.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from holdfast.runtime.points import KILL_POINTS
from holdfast.runtime.rehearsal import KILL, PACE, REPLAY, WATCH, look
from tests.kills.spawner import PLANT
from tests.repository import ROOT

LIFE_SECONDS_MAX = 30.0  # a life that applies nothing for so long hangs
PACED = "0:2048"  # small epochs, not held back
# A random moment: when so many records more than ever before are applied, and then some time has passed. Counted in
# records, so that a campaign takes about as much input on a fast machine as on a slow one.
MOMENT_RECORDS_MAX = 256
MOMENT_SECONDS_MAX = 0.01
PASSAGES_MAX = 3  # of a named point before the kill there
PASSAGES_OF_CHECKPOINTS_MAX = 1  # the same for what is passed once a checkpoint
RANDOM_EACH_ROUND = 3
REPLAY_SHARE = 0.25  # of the kills at points: while the run is catching up
ONCE_A_CHECKPOINT = ("before-completion", "while-trimming")


class WrongOutputError(AssertionError):
    """The promise was broken."""


@dataclass(slots=True)
class Campaign:
    """Lives of one application in one folder."""

    folder: Path
    expected: Mapping[str, bytes]
    seed: int
    plant: str = ""
    module: str = "tests.kills.driver"
    struck: Counter[str] = field(default_factory=Counter)  # what the process was doing when it was killed
    points: Counter[str] = field(default_factory=Counter)  # kills at named points
    progressed: int = 0  # kills before which the run got further than ever before
    checked: dict[str, int] = field(default_factory=dict)  # bytes of each output that are known to be right
    records: int = 0

    @property
    def kills(self) -> int:
        """How many there were."""
        return self.struck.total()

    def run(self, kills: int) -> None:
        """Kill so often, or until the input is worked off; then let the run finish."""
        schedule = lives(Random(self.seed))
        with spawner(self.folder, self.module) as process:
            while self.kills < kills and self.live(process, next(schedule)):
                self.check(whole=False)
            assert self.kills < kills or not self.live(process, Life()), "nobody killed it, and yet it was"
        self.check(whole=True)

    def live(self, process: subprocess.Popen[str], life: Life) -> bool:
        """One life; return whether it was killed."""
        environment = {WATCH: str(self.folder / "watch"), PACE: PACED, PLANT: self.plant, KILL: life.kill}
        pid = request(process, environment)
        if life.moment is not None:
            self.wait_for_progress(process, *life.moment)
            os.kill(pid, signal.SIGKILL)  # the spawner has not buried it, so it is still this one
        status = self.end(process, pid, life)
        if status == -signal.SIGKILL:
            self.note(life.point)
            return True
        if status != 0:
            raise WrongOutputError(f"exit code {status}: {self.said}")
        return False

    def end(self, process: subprocess.Popen[str], pid: int, life: Life) -> int:
        """How the life ends; one that hangs says before where all its threads are."""
        assert process.stdout is not None
        applied = -1
        while not select.select([process.stdout], [], [], LIFE_SECONDS_MAX)[0]:
            before, applied = applied, self.applied
            if applied <= before:
                os.kill(pid, signal.SIGABRT)
                answer(process)
                raise WrongOutputError(f"{life} hangs behind {applied} records: {self.said}")
        return answer(process)["status"]

    @property
    def applied(self) -> int:
        """How many records the life has applied, as far as it has said."""
        watch = self.folder / "watch"
        return look(watch).records if watch.exists() and watch.stat().st_size else 0

    @property
    def said(self) -> str:
        """The last of what the lives have written to their stdout and stderr."""
        return (self.folder / "run.log").read_text()[-5000:]

    def wait_for_progress(self, process: subprocess.Popen[str], records: int, seconds: float) -> None:
        """Wait until the run is further than any before it, and then for a moment; or until it ends."""
        assert process.stdout is not None
        deadline = time.monotonic() + LIFE_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.applied > self.records + records:
                select.select([process.stdout], [], [], seconds)
                return
            if select.select([process.stdout], [], [], 0.002)[0]:
                return

    def note(self, point: str) -> None:
        place = look(self.folder / "watch")
        self.struck[place.point] += 1
        if point:
            self.points[point] += 1
        self.progressed += place.records > self.records
        self.records = max(self.records, place.records)

    def check(self, *, whole: bool) -> None:
        """Compare what stands beyond what is known to be right."""
        for name, expected in self.expected.items():
            path = self.folder / name
            right = self.checked.get(name, 0)
            with path.open("rb") if path.exists() else open(os.devnull, "rb") as file:
                file.seek(right)
                found = file.read()
            if expected[right : right + len(found)] != found:
                raise WrongOutputError(f"{name} differs somewhere behind byte {right}, seed {self.seed}")
            if whole and right + len(found) != len(expected):
                raise WrongOutputError(f"{name} has {right + len(found)} bytes of {len(expected)}, seed {self.seed}")
            self.checked[name] = max(right, len(found) + right)


@dataclass(frozen=True, slots=True)
class Life:
    """How one life is to end: at a named point, at a random moment, or by itself."""

    point: str = ""
    kill: str = ""  # as the environment says it
    moment: tuple[int, float] | None = None  # records beyond those of earlier lives, and seconds then


def lives(random: Random) -> Iterator[Life]:
    """All named points in turn and in any order, each time with some random moments among them."""
    while True:
        round_ = [*KILL_POINTS, *("",) * RANDOM_EACH_ROUND]
        random.shuffle(round_)
        for point in round_:
            if not point:
                moment = random.randrange(MOMENT_RECORDS_MAX), random.uniform(0.0, MOMENT_SECONDS_MAX)
                yield Life(moment=moment)
                continue
            most = PASSAGES_OF_CHECKPOINTS_MAX if point in ONCE_A_CHECKPOINT else PASSAGES_MAX
            when = f":{REPLAY}" if random.random() < REPLAY_SHARE else ""
            yield Life(point, f"{point}:{random.randint(1, most)}{when}")


def request(process: subprocess.Popen[str], environment: Mapping[str, str]) -> int:
    """Have the next life begin; return its process id."""
    assert process.stdin is not None
    print(json.dumps({"argv": ["run", "--data", "data"], "env": environment}), file=process.stdin, flush=True)
    return answer(process)["pid"]


def answer(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], LIFE_SECONDS_MAX)
    line = process.stdout.readline() if readable else ""
    assert line, "the spawner ended or hangs"
    answered: dict[str, int] = json.loads(line)
    return answered


@contextmanager
def spawner(folder: Path, module: str) -> Iterator[subprocess.Popen[str]]:
    """A spawner that works in `folder`; whatever it has started ends with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.spawner", module],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: it and the life it has started
        process.communicate()
