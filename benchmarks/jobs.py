"""The measurements: each takes a scratch folder and sizes, runs programs and gives flat records."""

from __future__ import annotations

import filecmp
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import clusters, inputs
from benchmarks.measure import ROOT, Child, FailedError, Usage, plain_command, run_command
from benchmarks.sizes import Record, Sizes
from benchmarks.watching import delays, last, lines_with_times, running

MIB = 1 << 20


def word_count(folder: Path, sizes: Sizes) -> Iterator[Record]:
    yield _against_plain("word_count", inputs.words(sizes.words), sizes.words, sizes.rounds, folder)


def market_spread(folder: Path, sizes: Sizes) -> Iterator[Record]:
    yield _against_plain("market_spread", inputs.market(sizes.market), sizes.market, sizes.rounds, folder)


def _against_plain(name: str, source: Path, items: int, rounds: int, folder: Path) -> Record:
    """Pairs of runs, taking turns, so that what else the machine does falls on both."""
    pairs: list[tuple[Usage, Usage]] = []
    for number in range(rounds):
        scratch = folder / f"{name}-{number}"
        scratch.mkdir()
        expected, output = scratch / "expected.jsonl", scratch / "output.jsonl"
        plain = Child.start(plain_command(name, source, expected), scratch, {}).wait()
        environment = {"INPUT": str(source), "OUTPUT": str(output)}
        engine = Child.start(run_command(name, scratch / "data"), scratch, environment).wait()
        if not filecmp.cmp(expected, output, shallow=False):
            raise FailedError(f"{name}: {output} differs from {expected}")
        pairs.append((plain, engine))
    ratios = [engine.cpu_seconds / plain.cpu_seconds for plain, engine in pairs]
    millions = items / 1e6
    engine_cpu = statistics.median(engine.cpu_seconds for _, engine in pairs)
    plain_cpu = statistics.median(plain.cpu_seconds for plain, _ in pairs)
    return {
        "what": name.replace("_", " "),
        "cpu_ratio": statistics.median(ratios),
        "cpu_ratio_min": min(ratios),
        "cpu_ratio_max": max(ratios),
        "cpu_seconds_per_million": engine_cpu / millions,
        "plain_cpu_seconds_per_million": plain_cpu / millions,
        "items_per_second": items / statistics.median(engine.wall_seconds for _, engine in pairs),
        "anonymous_mib_max": max(engine.anonymous_bytes_max for _, engine in pairs) / MIB,
        "runs": rounds,
    }


def latency(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """From the yield in the source to the line in the output file, as another process sees it appear."""
    yield delays(folder, sizes.latency_seconds, "latency at 1,000 messages/s")


def ask(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """Callers in one process with an embedded engine: the round trip of durable asks, and how many there can be."""
    paces = ((1, 0, "asyncio"), (100, 0, "asyncio"), (100, 0, "trio"), (100, 5000, "asyncio"), (100, 10000, "asyncio"))
    for callers, rate, loop in paces:
        name = f"{callers}-{rate}-{loop}"
        result, seconds = folder / f"{name}.json", sizes.ask_seconds
        arguments = (folder / name, result, callers, rate, seconds, loop)
        command = [sys.executable, "-m", "benchmarks.asks", *map(str, arguments)]
        usage = Child.start(command, folder, {"PYTHONPATH": str(ROOT)}).wait()
        times = json.loads(result.read_text(encoding="utf-8"))
        took, calls = sorted(times["due"]), sorted(times["call"])
        asks = len(took) / 0.9
        pace = f"{rate:,}/s in all, from when each was due" if rate else "each as soon as answered"
        yield {
            "what": f"ask, {callers} caller{'s' * (callers > 1)} under {loop}, {pace}",
            "items_per_second": asks / seconds,
            "cpu_seconds_per_million": usage.cpu_seconds / asks * 1e6,
            "p50_ms": took[len(took) // 2] / 1e6,
            "p99_ms": took[len(took) * 99 // 100] / 1e6,
            "max_ms": took[-1] / 1e6,
            "call_p50_ms": calls[len(calls) // 2] / 1e6,
        }


def idle(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """CPU of a worker whose source gives nothing, after it has settled."""
    output = folder / "idle.jsonl"
    environment = {"OUTPUT": str(output), "RATE": "0", "SECONDS": str(10 * sizes.idle_seconds)}
    with running("ticks", folder, environment) as child:
        next(lines_with_times(output, 1, child))
        time.sleep(3)
        before = child.cpu_seconds()
        time.sleep(sizes.idle_seconds)
        used = child.cpu_seconds() - before
    yield {"what": "idle worker", "cpu_percent": 100 * used / sizes.idle_seconds}


def cold_start(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """A start after a kill with all entities in the checkpoint and as many messages behind it."""
    entities, output = sizes.restart_entities, folder / "restart.jsonl"
    environment = {"OUTPUT": str(output), "STEPS": str(folder), "ENTITIES": str(entities)}
    with running("restart", folder, environment) as child:
        last(lines_with_times(output, entities, child))
        time.sleep(5)  # a checkpoint that covers them all is complete by now
        (folder / "hold").touch()
        (folder / "second").touch()
        last(lines_with_times(output, 2 * entities, child))
    (folder / "hold").unlink()
    (folder / "third").touch()
    started = time.perf_counter()
    with running("restart", folder, environment) as child:
        last(lines_with_times(output, 2 * entities + 1, child))
        seconds = time.perf_counter() - started
        memory = child.anonymous_bytes_max
    yield {
        "what": f"cold start, {entities:,} entities and as many messages",
        "seconds": seconds,
        "anonymous_mib_max": memory / MIB,
    }


def larger_than_memory(folder: Path, sizes: Sizes) -> Iterator[Record]:
    """The same keys with all entities in memory and with a tenth of them, one after the other."""
    for distribution in ("zipf", "uniform"):
        source = inputs.keys(sizes.keys, entities=sizes.key_entities, distribution=distribution)
        in_memory, expected = _keys_run(folder / f"{distribution}-in-memory", source, "")
        bounded, output = _keys_run(folder / f"{distribution}-bounded", source, str(sizes.keys_in_memory))
        if not filecmp.cmp(expected, output, shallow=False):
            raise FailedError(f"{output} differs from {expected}")
        yield {
            "what": f"{sizes.key_entities:,} keys, {sizes.keys_in_memory:,} in memory, {distribution}",
            "rate_ratio": in_memory.wall_seconds / bounded.wall_seconds,
            "items_per_second": sizes.keys / bounded.wall_seconds,
            "cpu_seconds_per_million": bounded.cpu_seconds / sizes.keys * 1e6,
            "anonymous_mib_max": bounded.anonymous_bytes_max / MIB,
            "in_memory_anonymous_mib_max": in_memory.anonymous_bytes_max / MIB,
        }


def _keys_run(scratch: Path, source: Path, limit: str) -> tuple[Usage, Path]:
    scratch.mkdir()
    output = scratch / "keys.jsonl"
    environment = {"INPUT": str(source), "OUTPUT": str(output), "ENTITIES_IN_MEMORY": limit}
    return Child.start(run_command("keys", scratch / "data"), scratch, environment).wait(), output


JOBS: dict[str, Callable[[Path, Sizes], Iterator[Record]]] = {
    "word-count": word_count,
    "market-spread": market_spread,
    "latency": latency,
    "ask": ask,
    "idle": idle,
    "cold-start": cold_start,
    "larger-than-memory": larger_than_memory,
    **clusters.JOBS,
}
