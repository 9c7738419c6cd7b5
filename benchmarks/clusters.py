"""The measurements of clusters: several workers against one, and what passes when one of them is killed."""

from __future__ import annotations

import filecmp
import itertools
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import Child, FailedError, Usage, descendants, run_command
from benchmarks.sizes import Record, Sizes
from benchmarks.watching import POLL_SECONDS, START_SECONDS_MAX, Growth, delays, running

SPIN_SECONDS = 20e-6
LOOK_SECONDS = 0.005
STEADY = (0.15, 0.9)  # of the output: what lies outside is start, first entities and end
KILL_RATE = 5_000  # messages a second while workers are killed
SOON_SECONDS = 0.3  # in which what was on its way has come
SETTLED_SECONDS = 4.0  # from a kill until the next: the worker is back, has its share, and a checkpoint of it


def handler(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """A function whose own work is most of it."""
    source = inputs.keys(sizes.handled, entities=10_000, distribution="uniform")
    environment = {"SPINS": str(spins(SPIN_SECONDS))}
    what = "a function of 20 µs, 2 workers with a backup each"
    yield _against_one_worker("handler", what, source, sizes.handled, sizes.rounds, folder, environment)


def word_count(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """Hardly any work but the engine's own."""
    what = "word count, 2 workers with a backup each"
    source = inputs.words(sizes.words)
    yield _against_one_worker("word_count", what, source, sizes.words, sizes.rounds, folder, {})


def _against_one_worker(
    application: str, what: str, source: Path, items: int, rounds: int, folder: Path, environment: dict[str, str]
) -> Record:
    """Pairs of runs, taking turns; rates over the steady part of each."""
    ratios: list[float] = []
    single: list[Usage] = []
    several: list[Usage] = []
    seconds: list[float] = []
    for number in range(rounds):
        outputs: list[Path] = []
        for workers, usages in ((1, single), (2, several)):
            scratch = folder / f"{application}-{number}-{workers}"
            scratch.mkdir()
            outputs.append(scratch / "output.jsonl")
            growth = Growth(outputs[-1])
            given = {**environment, "INPUT": str(source), "OUTPUT": str(outputs[-1])}
            command = run_command(application, scratch / "data", workers=workers, backups=workers - 1)
            usages.append(Child.start(command, scratch, given).wait(look=growth.look, every=LOOK_SECONDS))
            growth.look()
            seconds.append(growth.between(*STEADY))
        if not filecmp.cmp(outputs[0], outputs[1], shallow=False):
            raise FailedError(f"{application}: the output of two workers differs from that of one")
        ratios.append(seconds[-2] / seconds[-1])
    steady = items * (STEADY[1] - STEADY[0])
    cpu = [usage.cpu_seconds for usage in several]
    cpu_ratios = [s.cpu_seconds / o.cpu_seconds for s, o in zip(several, single, strict=True)]
    return {
        "what": what,
        "worker_ratio": statistics.median(ratios),
        "worker_ratio_min": min(ratios),
        "worker_ratio_max": max(ratios),
        "worker_cpu_ratio": statistics.median(cpu_ratios),
        "cpu_seconds_per_million": statistics.median(cpu) / items * 1e6,
        "items_per_second": steady / statistics.median(seconds[1::2]),
        "one_worker_items_per_second": steady / statistics.median(seconds[::2]),
        "runs": rounds,
    }


def spins(seconds: float) -> int:
    """How many turns of the application's loop take so long here, at best."""
    turns, best = 100_000, float("inf")
    for _ in range(20):
        start = time.perf_counter()
        total = 0
        for number in range(turns):
            total += number
        best = min(best, time.perf_counter() - start)
    return max(1, round(turns * seconds / best))


def latency(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """Of three workers; most messages change worker twice and wait for two disks."""
    what = "latency at 1,000 messages/s, 3 workers with a backup each"
    yield delays(folder, sizes.latency_seconds, what, workers=3, backups=1)


def idle(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """CPU of all processes of a cluster whose source gives nothing."""
    output = folder / "idle.jsonl"
    environment = {"OUTPUT": str(output), "RATE": "0", "SECONDS": str(10 * sizes.idle_seconds)}
    with running("ticks", folder, environment, workers=3, backups=1) as child:
        _until_growing(Growth(output), child)
        time.sleep(3)
        before = child.cpu_seconds()
        time.sleep(sizes.idle_seconds)
        used = child.cpu_seconds() - before
    yield {"what": "idle cluster of 3 workers, all processes", "cpu_percent": 100 * used / sizes.idle_seconds}


def kill(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """From SIGKILL of a worker under load until outputs flow again; each worker in turn."""
    output = folder / "feed.jsonl"
    environment = {"OUTPUT": str(output), "RATE": str(KILL_RATE), "START": str(time.time())}
    pauses: list[float] = []
    with running("feed", folder, environment, workers=3, backups=1) as child:
        growth = Growth(output)
        _until_growing(growth, child)
        begun, used = time.perf_counter(), child.cpu_seconds()
        for number in range(sizes.kills):
            _watch(growth, SETTLED_SECONDS)
            pauses.append(_pause(growth, _worker(child, 1 + number % 3)))
        took = time.perf_counter() - begun
        cpu_percent = 100 * (child.cpu_seconds() - used) / took
    pauses.sort()
    yield {
        "what": f"kill -9 of one of 3 workers at {KILL_RATE:,} messages/s until outputs flow again",
        "p50_ms": pauses[len(pauses) // 2] * 1e3,
        "p99_ms": pauses[len(pauses) * 99 // 100] * 1e3,
        "max_ms": pauses[-1] * 1e3,
        "cpu_percent": cpu_percent,
        "kills": len(pauses),
    }


def _worker(child: Child, number: int) -> int:
    """The process of a worker of a cluster."""
    for process in descendants(child.process.pid):
        if f"worker-{number}" in Path(f"/proc/{process}/cmdline").read_bytes().decode():
            return process
    raise FailedError(f"worker {number} does not run")


def _pause(growth: Growth, process: int) -> float:
    """Kill it; when the longest time without output that began soon after had ended, since the kill."""
    os.kill(process, signal.SIGKILL)
    killed = time.perf_counter()
    known = len(growth.looks)
    _watch(growth, SETTLED_SECONDS / 2, at_least=known + 1)
    # What was durable and on its way still comes; then nothing does, until the others have gone back to the last cut.
    moments = [killed, *(moment for moment, _ in growth.looks[known:])]
    pairs = [pair for pair in itertools.pairwise(moments) if pair[0] < killed + SOON_SECONDS]
    _, end = max(pairs, key=lambda pair: pair[1] - pair[0])
    return end - killed


def _watch(growth: Growth, seconds: float, at_least: int = 0) -> None:
    """Look for so long, and until it was seen to grow so often."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(growth.looks) < at_least:
        growth.look()
        time.sleep(10 * POLL_SECONDS)
        if time.perf_counter() > end + START_SECONDS_MAX:
            raise FailedError("no output flows any more")


def _until_growing(growth: Growth, child: Child) -> None:
    while not growth.looks:
        growth.look()
        time.sleep(LOOK_SECONDS)
        if child.process.poll() is not None:
            raise FailedError(f"{child.process.args!r} has ended")


JOBS: dict[str, Callable[[Path, Sizes], Iterator[Record]]] = {
    "cluster-handler": handler,
    "cluster-word-count": word_count,
    "cluster-latency": latency,
    "cluster-idle": idle,
    "cluster-kill": kill,
}
