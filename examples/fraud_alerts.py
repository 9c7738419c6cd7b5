"""Fraud alerts: two keyed steps in a chain, by card and then by merchant, with a timer that forgets.

    python examples/fraud_alerts.py run

A payment is suspicious when it is far above what its card usually pays, or in another country within an hour.
A merchant where three different cards became suspicious within a day has probably lost its card data.
suspicions.jsonl gets the first, merchants.jsonl the second kind of line, both in the current folder.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import holdfast as hf

DATA = Path(__file__).parent / "data"
OUTPUT = Path(os.environ.get("OUTPUT", "."))
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PAYMENTS_MIN = 4  # before that a card has no habits
TIMES_USUAL_MAX = 5
CARDS_MIN = 3


@dataclass
class Card:
    payments: int = 0
    total_cents: int = 0
    country: str = ""
    time: int = 0


@dataclass
class Merchant:
    """The cards that became suspicious here within the last day, with the time of their last suspicion."""

    cards: dict[str, int] = field(default_factory=dict)
    reported: bool = False


@dataclass
class Suspicion:
    card: str
    merchant: str
    reason: str
    time: int


def time_of(payment: dict[str, Any]) -> int:
    return int(payment["time"])


def card_of(payment: dict[str, Any]) -> str:
    return str(payment["card"])


def watch_card(payment: dict[str, Any], card: Card) -> Iterator[Suspicion]:
    cents, now = payment["cents"], payment["time"]
    reasons = []
    if card.payments >= PAYMENTS_MIN and cents * card.payments > TIMES_USUAL_MAX * card.total_cents:
        reasons.append("amount")
    if card.payments and payment["country"] != card.country and now - card.time < HOUR_MS:
        reasons.append("country")
    card.payments += 1
    card.total_cents += cents
    card.country, card.time = payment["country"], now
    for reason in reasons:
        yield Suspicion(payment["card"], payment["merchant"], reason, now)


def merchant_of(suspicion: Suspicion) -> str:
    return suspicion.merchant


def watch_merchant(suspicion: Suspicion, merchant: Merchant, ctx: hf.Context) -> dict[str, Any] | None:
    merchant.cards[suspicion.card] = suspicion.time
    ctx.set_timer(suspicion.time + DAY_MS, name=suspicion.card)
    if merchant.reported or len(merchant.cards) < CARDS_MIN:
        return None
    merchant.reported = True
    return {"merchant": suspicion.merchant, "cards": sorted(merchant.cards), "time": suspicion.time}


def forget_card(name: str, merchant: Merchant, ctx: hf.Context) -> None:
    del merchant.cards[name]
    if not merchant.cards:
        ctx.delete()


def describe(suspicion: Suspicion) -> dict[str, Any]:
    return {"card": suspicion.card, "merchant": suspicion.merchant, "reason": suspicion.reason}


app = hf.Application("fraud-alerts")
suspicions = (
    app.source(hf.sources.JsonLines(DATA / "payments.jsonl", time=time_of))
    .key_by(card_of)
    .stateful(watch_card, state=Card)
)
suspicions.map(describe).sink(hf.sinks.JsonLines(OUTPUT / "suspicions.jsonl"), name="suspicions")
(
    suspicions.key_by(merchant_of)
    .stateful(watch_merchant, state=Merchant, on_timer=forget_card)
    .sink(hf.sinks.JsonLines(OUTPUT / "merchants.jsonl"), name="merchants")
)

if __name__ == "__main__":
    hf.main(app)
