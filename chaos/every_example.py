"""Kills every example again and again: one verdict a line, and an exit code for the night.

    python -m chaos.every_example [--seeds 10] [--kills 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TOO_LARGE = {"demo.py"}  # has a recipe of its own: make demo


def verdict(example: Path, *, kills: int, seed: int) -> str:
    """The last line of `holdfast chaos`, or what it complained about."""
    command = [sys.executable, "-m", "holdfast", "chaos", f"{example}:app"]
    options = ["--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() or [""]
    if done.returncode == 0 and lines[-1] == "IDENTICAL":
        return "IDENTICAL"
    return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.every_example")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=5)
    given = parser.parse_args()
    failed = 0
    for example in sorted(path for path in EXAMPLES.glob("*.py") if path.name not in TOO_LARGE):
        for seed in range(1, given.seeds + 1):
            said = verdict(example, kills=given.kills, seed=seed)
            failed += said != "IDENTICAL"
            print(f"{example.stem} --kills {given.kills} --seed {seed}: {said}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
