"""A service in front of a cluster of its own, to be killed: `python -m tests.kills.front DATA`.

Requests are lines of JSON on stdin, [producer, sequence, customer, amount]; so are answers on stdout, in any order:
[producer, sequence, reply]. The first line says who works for it: {"workers": [pid, …]}.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import holdfast as hf

WORKERS, BACKUPS = 3, 1


@dataclass
class Account:
    balance: int = 0
    count: int = 0


def customer(payment: tuple[str, int]) -> str:
    return payment[0]


def pay(payment: tuple[str, int], account: Account) -> tuple[int, int]:
    if payment[1] == 13:
        raise ValueError("unlucky")
    account.balance += payment[1]
    account.count += 1
    return account.count, account.balance


app = hf.Application("front", on_error="skip")
app.source(hf.sources.Send[Any](), name="payments").key_by(customer).stateful(pay, state=Account).reply()

strict = hf.Application("strict")
strict.source(hf.sources.Send[Any](), name="payments").key_by(customer).stateful(pay, state=Account).reply()


def pids_of(engine: hf.Engine) -> dict[str, int]:
    """The processes that work for an engine, by name."""
    session: Any = engine._session
    children = session._supervisor._children
    return {child.name: child.process.pid for child in children if child.process is not None}


def main() -> None:
    guard = threading.Lock()

    def tell(answer: object) -> None:
        with guard:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    engine = hf.Engine(app, data=sys.argv[1], workers=WORKERS, backups=BACKUPS)
    with engine as entered, ThreadPoolExecutor(8) as pool:

        def serve(request: list[Any]) -> None:
            producer, sequence, *payment = request
            tell([producer, sequence, entered.ask("payments", tuple(payment), id=(producer, sequence))])

        tell({"workers": list(pids_of(engine).values())})
        for line in sys.stdin:
            pool.submit(serve, json.loads(line))


if __name__ == "__main__":
    main()
