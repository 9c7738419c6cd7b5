"""Plain loop of market spread, with the standard library's json. Usage: market_spread.py INPUT OUTPUT"""

import json
import sys

source, target = sys.argv[1:]
wide: dict[str, bool] = {}
with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as output:
    for line in lines:
        message = json.loads(line)
        if "bid" in message:
            spread, middle = message["offer"] - message["bid"], (message["offer"] + message["bid"]) / 2
            wide[message["symbol"]] = spread >= 0.05 or spread / middle >= 0.05
        elif wide.get(message["symbol"], True):
            rejected = {"order": message["order"], "symbol": message["symbol"]}
            output.write(json.dumps(rejected, ensure_ascii=False, separators=(",", ":")) + "\n")
