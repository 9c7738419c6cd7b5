"""Writes the .jsonl files of this folder, always the same bytes; run it from anywhere after a change here."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
START_MS = 1_700_000_000_000
SYMBOLS = ("ALDR", "BRCH", "CEDR", "ELMS", "FIRS", "HAZL", "MAPL", "OAKS", "PINE", "YEWS")
COUNTRIES = ("AT", "DE", "FR", "IT")


def trades(random: Random) -> Iterator[dict[str, Any]]:
    price = {symbol: 5_000 + 1_000 * index for index, symbol in enumerate(SYMBOLS)}
    for number in range(400):
        symbol = random.choice(SYMBOLS)
        price[symbol] += random.randrange(-40, 41, 5)
        late = random.randrange(5_000) if random.random() < 0.2 else 0
        yield {"symbol": symbol, "price": price[symbol] / 100, "time": START_MS + number * 250 - late}


def quotes(random: Random) -> Iterator[dict[str, Any]]:
    for _ in range(300):
        bid = random.randrange(1_000, 9_000)
        gap = random.choice((1, 2, 3, 4, 5, 8))
        yield {"symbol": random.choice(SYMBOLS), "bid": bid / 100, "offer": (bid + gap) / 100}


def orders(random: Random) -> Iterator[dict[str, Any]]:
    for number in range(300):
        side, quantity = random.choice(("buy", "sell")), random.randrange(1, 100) * 10
        yield {"order": number, "symbol": random.choice(SYMBOLS), "side": side, "quantity": quantity}


def payments(random: Random) -> Iterator[dict[str, Any]]:
    time = START_MS
    home = {f"card-{number:02}": random.choice(COUNTRIES) for number in range(30)}
    for _ in range(600):
        time += random.randrange(60_000, 900_000)
        card = random.choice(list(home))
        odd = random.random()
        yield {
            "card": card,
            "merchant": f"shop-{random.randrange(6)}",
            "country": random.choice(COUNTRIES) if odd < 0.05 else home[card],
            "cents": random.randrange(60_000, 90_000) if odd > 0.94 else random.randrange(500, 9_000),
            "time": time,
        }


def main() -> None:
    for seed, records in enumerate((trades, quotes, orders, payments)):
        lines = [json.dumps(record) + "\n" for record in records(Random(seed))]
        (HERE / f"{records.__name__}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
