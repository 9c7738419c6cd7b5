"""Callers that ask an engine in their process: `python -m benchmarks.asks DATA RESULT CALLERS RATE SECONDS LOOP`.

RATE 0: each asks again as soon as it is answered. Otherwise RATE asks a second in all, each caller at even distances;
an ask is timed from the moment at which it was due, so that one which had to wait for its turn is not flattered, and
beside it from its call, without what the loop's own clock and the caller's own last answer had it wait.
Every ask carries an id. RESULT gets a line of JSON with nanoseconds, without the first tenth, as {"due": [...],
"call": [...]}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

import holdfast as hf

Sleep = Callable[[float], Awaitable[Any]]


@dataclass
class Account:
    cents: int = 0


def pay(payment: tuple[str, int], account: Account) -> tuple[str, int]:
    account.cents += payment[1]
    return payment[0], account.cents


def make_app() -> hf.Application:
    app = hf.Application("asks")
    payments = app.source(hf.sources.Send[tuple[str, int]](), name="payments")
    payments.key_by(lambda payment: payment[0]).stateful(pay, state=Account).reply()
    return app


@dataclass
class Took:
    """Nanoseconds of all asks."""

    due: list[int] = field(default_factory=list)
    call: list[int] = field(default_factory=list)


async def call(engine: Any, number: int, spacing: float, end: float, took: Took, sleep: Sleep) -> None:
    """One caller."""
    name, due, clock = f"caller-{number}", time.perf_counter() + spacing * number / 100, time.perf_counter
    asked = 0
    while (now := clock()) < end:
        if spacing:
            if due > now:
                await sleep(due - now)
            now, due = due, due + spacing
        asked += 1
        called = clock()
        await engine.ask("payments", (name, 1), id=(name, asked))
        answered = clock()
        took.due.append(int((answered - now) * 1e9))
        took.call.append(int((answered - called) * 1e9))


async def under_asyncio(engine: hf.Engine, callers: int, spacing: float, seconds: float, took: Took) -> None:
    async with engine as entered:
        end = time.perf_counter() + seconds
        calls = (call(entered, number, spacing, end, took, asyncio.sleep) for number in range(callers))
        await asyncio.gather(*calls)


async def under_trio(engine: hf.Engine, callers: int, spacing: float, seconds: float, took: Took) -> None:
    async with engine as entered, trio.open_nursery() as nursery:
        end = time.perf_counter() + seconds
        for number in range(callers):
            nursery.start_soon(call, entered, number, spacing, end, took, trio.sleep)


def main(data: str, result: str, callers: int, rate: int, seconds: float, loop: str) -> None:
    took = Took()
    engine = hf.Engine(make_app(), data=data)
    spacing = callers / rate if rate else 0.0
    if loop == "trio":
        trio.run(under_trio, engine, callers, spacing, seconds, took)
    else:
        asyncio.run(under_asyncio(engine, callers, spacing, seconds, took))
    kept = {name: times[len(times) // 10 :] for name, times in vars(took).items()}
    Path(result).write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
