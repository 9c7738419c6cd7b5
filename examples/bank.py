"""An account per customer, for the examples that embed an engine: `bank_service.py`, `pay_in.py`, `notebook.py`.

A payment is answered with the new balance, or with why it was refused; what was booked also stands in `booked.jsonl`.
"""

import os
from dataclasses import dataclass

import holdfast as hf


@dataclass
class Payment:
    customer: str
    cents: int  # negative: taken out


@dataclass
class Account:
    cents: int = 0
    payments: int = 0


@dataclass
class Booked:
    customer: str
    balance: int
    refused: str | None = None


def pay(payment: Payment, account: Account) -> Booked:
    if account.cents + payment.cents < 0:
        return Booked(payment.customer, account.cents, "there is not that much money")
    account.cents += payment.cents
    account.payments += 1
    return Booked(payment.customer, account.cents)


def make_app() -> hf.Application:
    """A new application: one for each engine."""
    app = hf.Application("bank", on_error="skip")
    booked = (
        app.source(hf.sources.Send[Payment](), name="payments")
        .key_by(lambda payment: payment.customer)
        .stateful(pay, state=Account)
        .reply()
    )
    accepted = booked.filter(lambda one: one.refused is None)
    accepted.map(lambda one: [one.customer, one.balance]).sink(
        hf.sinks.JsonLines(os.environ.get("OUTPUT", "booked.jsonl"))
    )
    return app


app = make_app()  # where the workers of a cluster find it
