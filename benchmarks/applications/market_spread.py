"""Market spread from JSON lines: few outputs, so decoding is most of the work."""

import os
from dataclasses import dataclass
from typing import Any

import holdfast as hf


@dataclass
class Market:
    wide: bool = True


def symbol_of(message: dict[str, Any]) -> str:
    symbol: str = message["symbol"]
    return symbol


def check(message: dict[str, Any], market: Market) -> dict[str, Any] | None:
    if "bid" in message:
        spread, middle = message["offer"] - message["bid"], (message["offer"] + message["bid"]) / 2
        market.wide = spread >= 0.05 or spread / middle >= 0.05
        return None
    return {"order": message["order"], "symbol": message["symbol"]} if market.wide else None


app = hf.Application("market-spread")
(
    app.source(hf.sources.JsonLines(os.environ["INPUT"]))
    .key_by(symbol_of)
    .stateful(check, state=Market)
    .sink(hf.sinks.JsonLines(os.environ["OUTPUT"]))
)
