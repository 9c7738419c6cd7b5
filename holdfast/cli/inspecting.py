"""`holdfast inspect`: what a data directory holds, with every digest checked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from holdfast.core.application import Application
from holdfast.core.errors import DamagedError
from holdfast.runtime.ledger import APPLICATION, STARTED_FROM
from holdfast.runtime.state_writer import HINTS
from holdfast.storage.inspection import inspect as look
from holdfast.storage.inspection import to_json, to_lines

SHOWN = (APPLICATION, STARTED_FROM, HINTS)


def inspect(arguments: argparse.Namespace, app: Application | None) -> int:
    """Print the report; damage is part of it and makes the exit code."""
    report = look(arguments.data, SHOWN)
    if arguments.json:
        print(json.dumps(to_json(report), default=str))
    else:
        report.meta = _for_people(report.meta)
        print("\n".join(to_lines(report)))
    return DamagedError.exit_code if report.problems else 0


def _for_people(meta: Mapping[str, Any]) -> dict[str, object]:
    """What of the application's record a person wants to see."""
    fields = meta.get(APPLICATION)
    if fields is None:
        return {}
    return {
        "application": fields["name"],
        "inputs": ", ".join(f"{number} {name}" for number, (_, name) in enumerate(fields["partitions"])),
        "outputs": ", ".join(fields["outputs"]) or "no files",
    }
