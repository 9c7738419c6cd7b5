"""A plain script that books payments from a file: `pay_in.py FILE`, a customer and an amount in cents on each line.

Kill it and start it again: the id of a payment is (name of the file, number of the line), so no line is booked twice.
"""

import sys
from pathlib import Path

from bank import Payment, make_app

import holdfast as hf


def main(path: Path) -> None:
    with hf.Engine(make_app(), data="bank-data") as engine:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            customer, cents = line.split()
            (booked,) = engine.ask("payments", Payment(customer, int(cents)), id=(path.name, number))
            print(f"{booked.customer} has {booked.balance}" + (f": {booked.refused}" if booked.refused else ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
