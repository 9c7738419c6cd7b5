"""How much of everything the measurements take: enough to quote, or little to try them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    words: int
    market: int
    rounds: int
    latency_seconds: int
    ask_seconds: int
    idle_seconds: int
    restart_entities: int
    keys: int
    key_entities: int
    keys_in_memory: int
    handled: int  # messages for the function that costs 20 µs
    kills: int


FULL = Sizes(6_000_000, 3_000_000, 5, 20, 10, 10, 1_000_000, 10_000_000, 5_000_000, 500_000, 300_000, 30)
QUICK = Sizes(1_000_000, 200_000, 3, 5, 3, 5, 100_000, 1_000_000, 500_000, 50_000, 50_000, 3)
