"""The examples do what their first lines say, in the reference and in the engine alike."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
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


class Service:
    """`bank_service.py` in a process of its own, which can be killed."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.folder = folder
        self.workers = workers
        self.port = 0
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        """Start it; the first time at any port, then at the same."""
        command = [sys.executable, str(EXAMPLES / "bank_service.py"), str(self.port)]
        environment = os.environ | {"WORKERS": str(self.workers)}
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        self.port = int(line.split()[-1])
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return json.loads(response.read())


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_the_bank_service_books_every_payment_once_through_kills(workers: int, tmp_path: Path) -> None:
    payments = 400
    service = Service(tmp_path, workers)
    try:
        client = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "bank_client.py"), str(service.port), "ann", str(payments)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for booked in (40, 120, 250):
            wait_for_lines(tmp_path / "booked.jsonl", booked)
            service.kill()
            service.process = service.start()
        told, _ = client.communicate(timeout=60)
        account = service.get("/ann")
    finally:
        service.kill()

    retries = re.fullmatch(r"400 payments, (\d+) retries\n", told)
    assert retries is not None
    assert int(retries[1]) >= 3
    assert account == {"cents": payments, "payments": payments}
    lines = (tmp_path / "booked.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines == [f'["ann",{number}]' for number in range(1, payments + 1)]


def wait_for_lines(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline, "the service makes no progress"
        time.sleep(0.005)


def test_the_bank_service_is_an_asgi_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server calls it: lifespan around requests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    app = load("bank_service", monkeypatch).app

    async def request(method: str, path: str, identity: bytes = b"") -> tuple[int, Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "http", "method": method, "path": path, "headers": [(b"x-id", identity)]}, None, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def main() -> list[tuple[int, Any]]:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        lifespan = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, outbox.put))
        await inbox.put({"type": "lifespan.startup"})
        assert await outbox.get() == {"type": "lifespan.startup.complete"}
        paths = [("POST", "/ann/250"), ("POST", "/ann/250"), ("POST", "/ann/-900"), ("GET", "/ann"), ("GET", "/bob")]
        answers = [await request(method, path, b"till-7 %d" % (len(path) % 7)) for method, path in paths]
        await inbox.put({"type": "lifespan.shutdown"})
        assert await outbox.get() == {"type": "lifespan.shutdown.complete"}
        await lifespan
        return answers

    refusal = "there is not that much money"
    assert asyncio.run(main()) == [
        (200, {"customer": "ann", "balance": 250, "refused": None}),
        (200, {"customer": "ann", "balance": 250, "refused": None}),
        (200, {"customer": "ann", "balance": 250, "refused": refusal}),
        (200, {"cents": 250, "payments": 1}),
        (404, None),
    ]


def test_the_plain_script_books_no_line_twice(tmp_path: Path) -> None:
    (tmp_path / "payments.txt").write_text("ann 5\nbob 7\nann -9\nann 1\n", encoding="utf-8")
    command = [sys.executable, str(EXAMPLES / "pay_in.py"), "payments.txt"]
    runs = [subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True) for _ in range(2)]

    assert runs[0].stdout == "ann has 5\nbob has 7\nann has 5: there is not that much money\nann has 6\n"
    assert runs[1].stdout == runs[0].stdout
    assert (tmp_path / "booked.jsonl").read_text(encoding="utf-8") == '["ann",5]\n["bob",7]\n["ann",6]\n'


def test_the_notebook_session_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "notebook.py")]
    runs = [subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True) for _ in range(2)]

    assert runs[0].stdout.splitlines()[-1] == "Account(cents=500, payments=1)"
    assert runs[1].stdout.splitlines()[-1] == "Account(cents=200, payments=3)"
