"""Stock prices: the latest price of every symbol, from trades that may arrive late.

    python examples/stock_prices.py run

writes prices.jsonl into the current folder: one line whenever the latest price of a symbol changes.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast as hf

DATA = Path(__file__).parent / "data"


@dataclass
class Latest:
    """The youngest trade of a symbol; `time` is None until there was one."""

    price: float = 0.0
    time: int | None = None


def time_of(trade: dict[str, Any]) -> int:
    return int(trade["time"])


def symbol_of(trade: dict[str, Any]) -> str:
    return str(trade["symbol"])


def update(trade: dict[str, Any], latest: Latest) -> dict[str, Any] | None:
    if latest.time is not None and trade["time"] < latest.time:
        return None  # a trade that arrives late tells nothing about the latest price
    before, first = latest.price, latest.time is None
    latest.price, latest.time = trade["price"], trade["time"]
    if not first and latest.price == before:
        return None
    return {"symbol": trade["symbol"], "price": latest.price, "time": latest.time}


app = hf.Application("stock-prices")
(
    app.source(hf.sources.JsonLines(DATA / "trades.jsonl", time=time_of))
    .key_by(symbol_of)
    .stateful(update, state=Latest)
    .sink(hf.sinks.JsonLines(os.environ.get("OUTPUT", "prices.jsonl")))
)

if __name__ == "__main__":
    hf.main(app)
