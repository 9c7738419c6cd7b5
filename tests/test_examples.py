"""The examples do what their first lines say, in the reference and in the engine alike."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast import testing
from tests.repository import ROOT

EXAMPLES = ROOT / "examples"
DATA = EXAMPLES / "data"
Outputs = dict[str, list[Any]]


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def records(name: str) -> list[Any]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines] if name.endswith(".jsonl") else lines


def timed(name: str) -> list[testing.At]:
    return [testing.At(record["time"], record) for record in records(name)]


@pytest.fixture
def word_count(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    return testing.run(load("word_count", monkeypatch).app, {"source": records("sentences.txt")})


@pytest.fixture
def stock_prices(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    return testing.run(load("stock_prices", monkeypatch).app, {"source": timed("trades.jsonl")})


@pytest.fixture
def market_spread(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    given = {"quotes": records("quotes.jsonl"), "orders": records("orders.jsonl")}
    return testing.run(load("market_spread", monkeypatch).app, given)


@pytest.fixture
def fraud_alerts(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    return testing.run(load("fraud_alerts", monkeypatch).app, {"source": timed("payments.jsonl")})


def test_word_count_gives_each_word_its_running_total(word_count: Outputs) -> None:
    words = [word for line in records("sentences.txt") for word in line.split()]
    last = dict(word_count["sink"])

    assert [word for word, _ in word_count["sink"]] == words
    assert last == Counter(words)


def test_stock_prices_ends_with_the_youngest_price_of_every_symbol(stock_prices: Outputs) -> None:
    youngest: dict[str, tuple[int, float]] = {}
    for trade in records("trades.jsonl"):
        if trade["time"] >= youngest.get(trade["symbol"], (0, 0.0))[0]:
            youngest[trade["symbol"]] = trade["time"], trade["price"]
    last = {output["symbol"]: output["price"] for output in stock_prices["sink"]}

    assert last == {symbol: price for symbol, (_, price) in youngest.items()}
    assert len(stock_prices["sink"]) < len(records("trades.jsonl"))


def test_market_spread_rejects_orders_while_the_spread_is_wide(market_spread: Outputs) -> None:
    # Finite sources take turns in rounds of 64 records, in order of their definition.
    quotes, orders = records("quotes.jsonl"), records("orders.jsonl")
    wide: dict[str, bool] = {}
    rejected = []
    for start in range(0, 300, 64):
        for quote in quotes[start : start + 64]:
            spread = quote["offer"] - quote["bid"]
            wide[quote["symbol"]] = spread >= 0.05 or spread / ((quote["offer"] + quote["bid"]) / 2) >= 0.05
        in_time = orders[start : start + 64]
        rejected += [order["order"] for order in in_time if wide.get(order["symbol"], True)]

    assert [output["order"] for output in market_spread["sink"]] == rejected
    assert 0 < len(rejected) < len(orders)


def test_fraud_alerts_reports_merchants_where_three_cards_became_suspicious(fraud_alerts: Outputs) -> None:
    suspicions, merchants = fraud_alerts["suspicions"], fraud_alerts["merchants"]

    assert {suspicion["reason"] for suspicion in suspicions} == {"amount", "country"}
    assert merchants
    for alert in merchants:
        assert len(alert["cards"]) == 3
        assert set(alert["cards"]) <= {s["card"] for s in suspicions if s["merchant"] == alert["merchant"]}


FILES = {
    "word_count": {"sink": "counts.jsonl"},
    "stock_prices": {"sink": "prices.jsonl"},
    "market_spread": {"sink": "rejected.jsonl"},
    "fraud_alerts": {"suspicions": "suspicions.jsonl", "merchants": "merchants.jsonl"},
}


@pytest.mark.parametrize("name", FILES)
def test_the_engine_writes_what_the_reference_gives(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    outputs: Outputs = request.getfixturevalue(name)
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for sink, file in FILES[name].items():
        lines = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in outputs[sink]]
        assert (tmp_path / file).read_text(encoding="utf-8").splitlines() == lines


def test_the_data_of_the_examples_is_what_their_generator_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load("data/generate", monkeypatch)
    monkeypatch.setattr(generator, "HERE", tmp_path)
    generator.main()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert written == {path.name: path.read_bytes() for path in DATA.glob("*.jsonl")}
