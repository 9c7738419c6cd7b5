"""Sequences of crashes, waits and recoveries at which other engines were found to hang, on clusters of real processes.

    python -m chaos.sequences [R2 R3 …] [--seeds 3]

R2 to R5 and R7 are those of Wallaroo's conformance and resilience tests, by their numbers: "Crash 2" kills two workers
and keeps them down until "Recover". Here "Rotate" waits for a checkpoint, behind which the logs are trimmed. The loops
are those of its manual soak script: any process dies again and again, whatever the others are doing just then.
Each sequence ends with `holdfast`'s own verdict against the reference.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from holdfast.chaos.cluster_processes import WORKER, Process
from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.live_cluster import LiveCluster

APPLICATION = '''
from dataclasses import dataclass

import holdfast as hf


@dataclass
class Total:
    count: int = 0


def count(word: str, total: Total) -> tuple[str, int]:
    total.count += 1
    return word, total.count


app = hf.Application("sequences")
counts = app.source(hf.sources.TextFile("lines-*.txt")).flat_map(str.split).key_by(str).stateful(count, state=Total)
counts.sink(hf.sinks.JsonLines("counts.jsonl"))
lengths = counts.key_by(lambda pair: len(pair[0])).stateful(count, state=Total, name="lengths")
lengths.sink(hf.sinks.JsonLines("lengths.jsonl"))
'''
LINES = 6_000
PACE = "150:2048"  # small epochs, so that something always flows …
HURRY = "hurry"  # … until the sequence is over
PATIENCE_SECONDS = 120.0
LOOP_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Sequence:
    """What is done to a cluster of a size."""

    workers: int
    backups: int
    steps: str  # as in Wallaroo's tests: "Wait 3, Crash 1, Wait 2, Recover, Wait 5"


SEQUENCES = {
    "R2": Sequence(2, 1, "Wait 3, Crash 1, Wait 2, Recover, Wait 5"),
    "R3": Sequence(3, 1, "Wait 3, Crash 2, Wait 2, Recover, Wait 5"),
    "R4": Sequence(1, 0, "Wait 3, Rotate, Wait 2"),
    "R5": Sequence(2, 1, "Wait 3, Rotate, Wait 2, Crash 1, Wait 2, Recover, Wait 2"),
    "R7": Sequence(3, 1, "Crash 2, Wait 2, Recover"),
    "R7-two-backups": Sequence(3, 2, "Crash 2, Wait 2, Recover"),
    "crash-loops": Sequence(4, 1, "Loop workers"),
    "coordinator-loop": Sequence(3, 1, "Loop coordinator"),
    "everything-loop": Sequence(3, 1, "Loop any"),
    "power-off-loop": Sequence(3, 1, "Loop power"),
}


class Player:
    """One cluster that a sequence is played to."""

    def __init__(self, cluster: LiveCluster, sight: Sight, random: Random) -> None:
        self._cluster = cluster
        self._sight = sight
        self._random = random
        self._is_held = False

    def play(self, steps: str) -> None:
        """Play all steps; at the end nobody is kept down."""
        actions: dict[str, Callable[[str], None]] = {
            "Wait": lambda seconds: self._sight.pass_time(float(seconds)),
            "Crash": lambda count: self._crash(int(count)),
            "Recover": lambda _: self._recover(),
            "Rotate": lambda _: self._rotate(),
            "Loop": self._loop,
        }
        try:
            for step in steps.split(", "):
                name, _, argument = step.partition(" ")
                actions[name](argument)
        finally:
            self._recover()

    def _crash(self, count: int) -> None:
        """Kill workers and keep them down, by stopping who would start them again."""
        self._see(lambda: len(self._workers()) == self._cluster.workers)
        self._is_held = True
        self._cluster.send_supervisor(signal.SIGSTOP)
        for victim in self._random.sample(self._workers(), count):
            self._cluster.send(victim, signal.SIGKILL)

    def _recover(self) -> None:
        if self._is_held:
            self._cluster.send_supervisor(signal.SIGCONT)
            self._is_held = False

    def _rotate(self) -> None:
        """A checkpoint that is not there yet."""
        before = self._checkpoint()
        self._see(lambda: self._checkpoint() > before)

    def _loop(self, who: str) -> None:
        end = time.monotonic() + LOOP_SECONDS
        while time.monotonic() < end and self._cluster.code is None:
            self._sight.pass_time(self._random.uniform(0.05, 1.5))
            if who == "power":
                self._cluster.kill_supervisor()
                self._cluster.start()
                self._sight.pass_time(self._random.uniform(0.5, 3.0))
                continue
            for victim in self._cluster.processes():
                is_meant = who == "any" or (victim.role == WORKER) == (who == "workers")
                if is_meant and self._random.random() < 0.4:
                    self._cluster.send(victim, signal.SIGKILL)

    def _workers(self) -> list[Process]:
        return [process for process in self._cluster.processes() if process.role == WORKER]

    def _checkpoint(self) -> int:
        told = (self._sight.status or {}).get("checkpoint") or {}
        return int(told.get("number", 0))

    def _see(self, until: Callable[[], bool]) -> None:
        if not self._sight.wait(lambda: self._cluster.code is not None or until(), PATIENCE_SECONDS):
            raise TimeoutError(f"nothing moved for {PATIENCE_SECONDS:g} s")


def prepare(folder: Path, seed: int) -> None:
    """The application and its inputs."""
    random = Random(seed)
    words = [chr(97 + i % 7) * (1 + i % 5) + str(i) for i in range(500)]
    (folder / "app.py").write_text(APPLICATION)
    for number, share in enumerate((0.2, 0.35, 0.45)):
        lines = (" ".join(random.choices(words, k=random.randint(0, 5))) for _ in range(int(LINES * share)))
        (folder / f"lines-{number}.txt").write_text("\n".join(lines) + "\n")


def play(folder: Path, sequence: Sequence, seed: int) -> str:
    """Play a sequence in a prepared folder; returns an empty string where the output is right, else what is not."""
    program = [sys.executable, "-m", "holdfast"]
    size = ["--workers", str(sequence.workers), "--backups", str(sequence.backups)]
    scratch = folder / "scratch"
    (scratch / "engine").mkdir(parents=True)
    places = ["--data", str(scratch / "data"), "--capture", str(scratch)]
    environment = {"HOLDFAST_PACE": PACE, "HOLDFAST_HURRY": str(folder / HURRY), "PYTHONHASHSEED": "0"}

    def start() -> subprocess.Popen[bytes]:
        with (folder / "cluster.log").open("ab") as log:
            command = [*program, "run", "app.py", *size, *places]
            return subprocess.Popen(command, cwd=folder, stderr=log, env=os.environ | environment)

    cluster = LiveCluster(start, scratch, sequence.workers)
    try:
        with Sight(scratch / "data", scratch / "engine") as sight:
            cluster.start()
            player = Player(cluster, sight, Random(seed))
            sight.wait(lambda: cluster.code is not None or bool(sight.growths), PATIENCE_SECONDS)
            player.play(sequence.steps)
            (folder / HURRY).touch()
            if not sight.wait(lambda: cluster.code is not None, PATIENCE_SECONDS):
                return f"nothing moved for {PATIENCE_SECONDS:g} s"
        if cluster.code != 0:
            return f"exit code {cluster.code}"
    finally:
        cluster.close()
    judged = [*program, "reference", "app.py", "--scratch", str(scratch)]
    done = subprocess.run(judged, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def runs(names: list[str], seeds: int) -> Iterator[tuple[str, int]]:
    """Every sequence that was asked for, with every seed."""
    for name in names or list(SEQUENCES):
        for seed in range(1, seeds + 1):
            yield name, seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.sequences")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SEQUENCES))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    failed = 0
    for name, seed in runs(given.names, given.seeds):
        with tempfile.TemporaryDirectory(prefix="holdfast-sequence-") as folder:
            began = time.monotonic()
            prepare(Path(folder), seed)
            said = play(Path(folder), SEQUENCES[name], seed)
            verdict = "IDENTICAL" if not said else "DIFFERS"
            print(f"{name} seed {seed}: {time.monotonic() - began:.1f} s, {verdict}", flush=True)
            if said:
                print(said, (Path(folder) / "cluster.log").read_text()[-3000:], sep="\n", flush=True)
            failed += bool(said)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
