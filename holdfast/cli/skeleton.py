"""What `holdfast new` writes: a small application that runs, with its input and its test.

Texts only, one for each file. NAME stands for the application's name, PROJECT for a name that packaging tools take.
"""

from __future__ import annotations

import re
from typing import Final

APP: Final = '''\
"""Orders come in, each customer's total goes out. test_app.py calls the functions."""

from dataclasses import dataclass
from typing import Any

import holdfast as hf


@dataclass
class Account:
    """What is kept for each customer."""

    orders: int = 0
    cents: int = 0


def customer(order: dict[str, Any]) -> str:
    """The key: every customer has an account of their own."""
    return str(order["customer"])


def book(order: dict[str, Any], account: Account) -> dict[str, Any]:
    """Called for one order after the other, with the account of its customer."""
    account.orders += 1
    account.cents += order["cents"]
    total = {"orders": account.orders, "cents": account.cents}
    return {"customer": order["customer"], **total}


app = hf.Application("NAME")
(
    app.source(hf.sources.JsonLines("orders.jsonl"))
    .key_by(customer)
    .stateful(book, state=Account)
    .sink(hf.sinks.JsonLines("totals.jsonl"))
)

if __name__ == "__main__":
    hf.main(app)
'''

TEST: Final = '''\
"""The application in one thread, without disk: every run gives what it gives here."""

from holdfast import testing

from app import Account, app, book


def test_an_order_is_added_to_its_account() -> None:
    account = Account(orders=1, cents=500)

    total = book({"customer": "ann", "cents": 250}, account)

    assert total == {"customer": "ann", "orders": 2, "cents": 750}


def test_customers_have_accounts_of_their_own() -> None:
    placed = [("ann", 500), ("bob", 300), ("ann", 250)]
    orders = [{"customer": name, "cents": cents} for name, cents in placed]

    totals = testing.run(app, {"source": orders})["sink"]

    booked = [(total["customer"], total["cents"]) for total in totals]
    assert booked == [("ann", 500), ("bob", 300), ("ann", 750)]
'''

# Enough of them that there is something to kill.
CUSTOMERS: Final = ("ann", "bob", "ann", "eve", "bob", "joe", "sue")
FIRST_CENTS: Final = (500, 300, 250)
ORDER_COUNT: Final = 2500


def orders() -> str:
    """The input, one order a line."""
    cents = [*FIRST_CENTS, *(100 + 7919 * number % 4900 for number in range(len(FIRST_CENTS), ORDER_COUNT))]
    return "".join(
        f'{{"customer": "{CUSTOMERS[number % len(CUSTOMERS)]}", "cents": {each}}}\n'
        for number, each in enumerate(cents)
    )


PROJECT: Final = """\
[project]
name = "PROJECT"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["holdfast"]

[project.optional-dependencies]
test = ["pytest"]

[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
py-modules = ["app"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

README: Final = """\
# NAME

Adds up the orders of each customer: `orders.jsonl` in, `totals.jsonl` out.

    python app.py run                # kill it at any time: started again it goes on, and the output is the same
    python app.py run --fresh        # from the beginning
    python app.py verify             # compares the output with what one plain thread would write
    python app.py chaos --kills 5    # the same while it is killed
    python -m pytest                 # needs pytest: pip install pytest
"""

IGNORED: Final = """\
__pycache__/
holdfast-data/
totals.jsonl
"""

FILES: Final = {
    "app.py": APP,
    "orders.jsonl": orders(),
    "test_app.py": TEST,
    "pyproject.toml": PROJECT,
    "README.md": README,
    ".gitignore": IGNORED,
}


def files(name: str) -> dict[str, str]:
    """The texts of a project of this name, by file name."""
    project = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "project"
    return {file: text.replace("NAME", name).replace("PROJECT", project) for file, text in FILES.items()}
