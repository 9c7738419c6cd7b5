"""Kills a real cluster again and again: workers, all at once, the coordinator, the supervisor. One verdict a seed.

    python -m chaos.cluster_kills [--seeds 5] [--workers 3] [--backups 1] [--kills 10] [--lines 60000]

The application counts words, keeps a second keyed step behind the first, and has a sink in partitions. What one worker
without a cluster writes, in a run that nobody disturbs, is what the cluster must have written in the end.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

APPLICATION = '''
from dataclasses import dataclass

import holdfast as hf


@dataclass
class Total:
    count: int = 0


def count(word: str, total: Total) -> tuple[str, int]:
    total.count += 1
    return word, total.count


def longest(pair: tuple[str, int], seen: list[int]) -> tuple[str, int, int] | None:
    seen.append(pair[1])
    return (pair[0], pair[1], len(seen)) if len(seen) % 3 == 0 else None


def word(pair: tuple[str, int]) -> str:
    return pair[0]


app = hf.Application("words")
lines = app.source(hf.sources.TextFile("lines-*.txt"))
counts = lines.flat_map(str.split).key_by(str).stateful(count, state=Total)
counts.sink(hf.sinks.JsonLines("counts.jsonl"))
counts.sink(hf.sinks.JsonLines("parted-{partition}.jsonl", partitions=5, by=word))
counts.key_by(lambda pair: pair[0][0]).stateful(longest, state=list).sink(hf.sinks.JsonLines("longest.jsonl"))
'''
OUTPUTS = ("counts.jsonl", "longest.jsonl", *(f"parted-{number}.jsonl" for number in range(5)))
VICTIMS = ("worker", "worker", "worker", "worker", "coordinator", "all", "supervisor")
END_SECONDS = 240.0
PROGRAM = (sys.executable, "-m", "holdfast", "run", "app.py")


@dataclass(slots=True)
class Story:
    """What happened to one cluster."""

    identical: bool = False
    struck: list[str] = field(default_factory=list)
    code: int | None = None
    seconds: float = 0.0


def prepare(folder: Path, *, lines: int, seed: int) -> None:
    """The application, three uneven inputs, and the outputs that nobody disturbed."""
    random = Random(seed)
    words = [f"{chr(97 + i % 7)}{i}" for i in range(2000)]
    (folder / "app.py").write_text(APPLICATION)
    for number, share in enumerate((0.2, 0.35, 0.45)):
        with (folder / f"lines-{number}.txt").open("w") as file:
            for _ in range(int(lines * share)):
                file.write(" ".join(random.choices(words, k=random.randint(0, 6))) + "\n")
    subprocess.run([*PROGRAM, "--data", "single"], cwd=folder, check=True, capture_output=True)
    for name in OUTPUTS:
        (folder / name).rename(folder / f"expected-{name}")


def run(
    folder: Path,
    *,
    workers: int,
    backups: int,
    kills: int,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> Story:
    """One cluster in a prepared folder, disturbed `kills` times; it is started again when it was killed whole."""
    random, story = Random(seed), Story()
    command = [*PROGRAM, "--data", f"cluster-{seed}", "--workers", str(workers), "--backups", str(backups)]
    for name in OUTPUTS:
        (folder / name).unlink(missing_ok=True)
    began = time.monotonic()
    with (folder / f"cluster-{seed}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stderr=log)
        try:
            while process.poll() is None and time.monotonic() - began < END_SECONDS:
                time.sleep(random.uniform(0.1, 1.5))
                if len(story.struck) < kills and len(children(process.pid)) > workers:
                    victim = random.choice(VICTIMS)
                    say(f"{time.monotonic() - began:6.1f} s: kill {victim}")
                    story.struck.append(victim)
                    if _strike(process, victim, random):
                        process = subprocess.Popen(command, cwd=folder, stderr=log)
        finally:
            story.code = process.poll()
            process.kill()
            process.wait()
    story.seconds = time.monotonic() - began
    story.identical = story.code == 0 and all(
        filecmp.cmp(folder / name, folder / f"expected-{name}", shallow=False) for name in OUTPUTS
    )
    return story


def _strike(supervisor: subprocess.Popen[bytes], victim: str, random: Random) -> bool:
    """Kill; True if the cluster has to be started again."""
    if victim == "supervisor":
        supervisor.kill()
        supervisor.wait()
        return True
    found = children(supervisor.pid)
    chosen = [pid for pid, role in found if victim in ("all", role)]
    for pid in chosen if victim == "all" else random.sample(chosen, k=min(1, len(chosen))):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended
    return False


def children(pid: int) -> list[tuple[int, str]]:
    """Processes of a supervisor: (process id, "coordinator" or "worker")."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            arguments = (status.parent / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        if parent == pid and b"--leashed" in arguments:
            found.append((int(status.parent.name), "coordinator" if b"coordinator" in arguments else "worker"))
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.cluster_kills")
    for name, usual in (("seeds", 5), ("workers", 3), ("backups", 1), ("kills", 10), ("lines", 60_000), ("first", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="holdfast-chaos-") as name:
        folder = Path(name)
        prepare(folder, lines=given.lines, seed=0)
        for seed in range(given.first, given.first + given.seeds):
            story = run(
                folder, workers=given.workers, backups=given.backups, kills=given.kills, seed=seed, say=print
            )
            failed += not story.identical
            verdict = "IDENTICAL" if story.identical else f"NOT IDENTICAL, exit code {story.code}"
            print(f"seed {seed}: {len(story.struck)} kills, {story.seconds:.1f} s, {verdict}", flush=True)
            if not story.identical:
                print((folder / f"cluster-{seed}.log").read_text()[-4000:])
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
