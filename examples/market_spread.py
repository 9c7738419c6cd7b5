"""Market spread: orders checked against the latest quote of their symbol; two sources meet in one step.

    python examples/market_spread.py run

writes rejected.jsonl into the current folder: the orders that came while the gap between bid and offer was
wide (at least 0.05, or at least 5 % of the price in the middle), or before any quote of their symbol.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast as hf

DATA = Path(__file__).parent / "data"
SPREAD_MAX = 0.05
SPREAD_SHARE_MAX = 0.05


@dataclass
class Market:
    bid: float = 0.0
    offer: float = 0.0
    wide: bool = True  # until the first quote says otherwise


def symbol_of(message: dict[str, Any]) -> str:
    return str(message["symbol"])


def check(message: dict[str, Any], market: Market) -> dict[str, Any] | None:
    if "bid" in message:
        market.bid, market.offer = message["bid"], message["offer"]
        spread, middle = market.offer - market.bid, (market.offer + market.bid) / 2
        market.wide = spread >= SPREAD_MAX or spread / middle >= SPREAD_SHARE_MAX
        return None
    if not market.wide:
        return None
    return {"order": message["order"], "symbol": message["symbol"], "bid": market.bid, "offer": market.offer}


app = hf.Application("market-spread")
quotes = app.source(hf.sources.JsonLines(DATA / "quotes.jsonl"), name="quotes")
orders = app.source(hf.sources.JsonLines(DATA / "orders.jsonl"), name="orders")
(
    quotes.merge(orders)
    .key_by(symbol_of)
    .stateful(check, state=Market)
    .sink(hf.sinks.JsonLines(os.environ.get("OUTPUT", "rejected.jsonl")))
)

if __name__ == "__main__":
    hf.main(app)
