"""`make bench`: all measurements in one run, printed as a table and kept in benchmarks/results."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import holdfast
from benchmarks.jobs import JOBS
from benchmarks.measure import FailedError
from benchmarks.sizes import FULL, QUICK, Record

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("holdfast", "lmdb", "msgpack", "msgspec", "trio", "xxhash")
# What a column of the table shows of a record, and how; a record without the field leaves it empty.
COLUMNS = (
    ("x plain CPU", "cpu_ratio", "{:.2f}"),
    ("(min", "cpu_ratio_min", "{:.2f}"),
    ("max)", "cpu_ratio_max", "{:.2f}"),
    ("x 1 worker", "worker_ratio", "{:.2f}"),
    ("(least", "worker_ratio_min", "{:.2f}"),
    ("most)", "worker_ratio_max", "{:.2f}"),
    ("x its CPU", "worker_cpu_ratio", "{:.2f}"),
    ("CPU s/M", "cpu_seconds_per_million", "{:.2f}"),
    ("items/s", "items_per_second", "{:,.0f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("max ms", "max_ms", "{:.1f}"),
    ("p50 ms of the call", "call_p50_ms", "{:.2f}"),
    ("x in-memory rate", "rate_ratio", "{:.2f}"),
    ("seconds", "seconds", "{:.2f}"),
    ("CPU %", "cpu_percent", "{:.2f}"),
    ("RssAnon MiB", "anonymous_mib_max", "{:.0f}"),
)


def machine() -> dict[str, Any]:
    """What a reader needs to compare two runs; nothing that names the machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processors = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": next(processors, "unknown"),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "load": os.getloadavg()[0],  # of the last minute, this run's own included
    }


def _commit() -> str:
    command = ["git", "-C", str(RESULTS), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def table(records: list[Record]) -> str:
    """The records as Markdown, without columns that no record fills."""
    columns = [column for column in COLUMNS if any(column[1] in record for record in records)]
    rows = [["what", *(title for title, _, _ in columns)], ["---", *("---:" for _ in columns)]]
    for record in records:
        cells = [text.format(record[field]) if field in record else "" for _, field, text in columns]
        rows.append([str(record["what"]), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"any of {', '.join(JOBS)}; all without")
    parser.add_argument("--quick", action="store_true", help="small inputs: to try it, not to quote it")
    parser.add_argument("--scratch", type=Path, help="where data directories go; must be on a real disk")
    given = parser.parse_args()
    if unknown := sorted(set(given.jobs) - set(JOBS)):
        parser.error(f"no such job: {', '.join(unknown)}")
    return given


def main() -> int:
    given = options()
    records: list[Record] = []
    # As pip does when it installs a package: otherwise each start may compile all of it anew.
    compileall.compile_dir(Path(holdfast.__file__).parent, quiet=2)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=given.scratch) as scratch:
        for name in given.jobs or JOBS:
            folder = Path(scratch) / name
            folder.mkdir()
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                records.extend(JOBS[name](folder, QUICK if given.quick else FULL))
            except FailedError as error:
                print(error, file=sys.stderr)
                return 1
    print(table(records))
    if not given.quick:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / time.strftime("%Y-%m-%dT%H%M%SZ.json", time.gmtime())
        result = {"machine": machine(), "records": records}
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"\nkept in {path.relative_to(RESULTS.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
