"""`holdfast status`: how a cluster is doing, or what a data directory holds that nobody runs.

Invariant: it changes nothing, and needs nothing of the application but its data directory or the coordinator's address.
docs/clusters.md lists the fields of its JSON. Not here: how that is shown to people (status_text).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import trio

from holdfast.cli.cluster_screen import CLEAR_SCREEN
from holdfast.cli.status_text import lines
from holdfast.core.application import Application
from holdfast.core.errors import DirectoryInUseError, UsageError
from holdfast.recovery.description import describe_kept
from holdfast.recovery.wire import unpack_kept
from holdfast.runtime import window
from holdfast.runtime.coordinator_process import LAST_STATUS
from holdfast.runtime.ledger import APPLICATION
from holdfast.runtime.one_worker_answers import STATUS as STATUS_OF_ONE
from holdfast.runtime.supervisor import ADDRESS
from holdfast.runtime.transport import secret
from holdfast.runtime.transport.addresses import Address, parse
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.question import ask
from holdfast.runtime.worker_process import STATUS
from holdfast.storage.inspection import Report, coordinator_record, glance
from holdfast.worker.record import Record

WATCH_SECONDS = 1.0


def status(arguments: argparse.Namespace, given: Application | None) -> int:
    """Say how it is, once or again and again."""
    while True:
        found = look(arguments)
        text = json.dumps(found) if arguments.json else "\n".join(lines(found))
        if not arguments.watch:
            print(text)
            return 0
        print(f"{CLEAR_SCREEN if sys.stdout.isatty() and not arguments.json else ''}{text}", flush=True)
        time.sleep(WATCH_SECONDS)


def look(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is to be said, from wherever the arguments point."""
    if arguments.coordinator is not None:
        return asked(parse(arguments.coordinator), arguments)
    if arguments.data is None:
        raise UsageError("say which cluster: --data DIR or --coordinator HOST:PORT")
    data: Path = arguments.data
    if is_cluster(data):
        return of_cluster(data, arguments)
    return of_one_worker(data)


def is_cluster(data: Path) -> bool:
    """Whether a cluster has written there."""
    return (data / "coordinator").is_dir()


def asked(address: Address, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the coordinator there says."""
    secrets = secret.load(arguments.secret_file, os.environ)
    found: dict[str, Any] = json.loads(trio.run(ask, address, secrets, STATUS, Limits()))
    return found


def of_cluster(data: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Of the cluster of a data directory on this machine, running or not."""
    try:
        packed = coordinator_record(data / "coordinator")
    except DirectoryInUseError:
        return asked(parse((data / ADDRESS).read_text()), arguments)
    found: dict[str, Any] = {"application": None, "running": False}
    try:
        found |= json.loads((data / LAST_STATUS).read_text())
    except (OSError, ValueError):
        found["application"] = _ledger(glance(data / "application", (APPLICATION,))).get("name")
    kept = describe_kept(unpack_kept(packed)) if packed is not None else {}
    workers = found.get("workers", {})
    held = kept.pop("workers", {})
    found["workers"] = {node: workers.get(node, {}) | own | {"alive": False} for node, own in held.items()}
    return found | kept


def _ledger(report: Report) -> dict[str, Any]:
    """What is recorded of the application."""
    return cast("dict[str, Any]", report.meta.get(APPLICATION, {}))


def of_one_worker(data: Path) -> dict[str, Any]:
    """Of the data directory of one worker without a cluster."""
    sizes = {path.parent.name: path.stat().st_blocks * 512 for path in sorted(data.glob("*/data.mdb"))}
    found: dict[str, Any] = {"workers_wanted": 1, "disk_bytes": sizes}
    try:
        report = glance(data, (APPLICATION,))
    except DirectoryInUseError as error:
        told = window.ask(data, STATUS_OF_ONE)
        if told:
            answer: dict[str, Any] = json.loads(told)
            return answer
        return found | {"application": None, "running": True, "pid": error.holder}
    fields = _ledger(report)
    record = Record.unpack(report.record) if report.record is not None else None
    return found | {
        "application": fields.get("name"),
        "running": False,
        "pid": None,
        "epochs_logged": report.tail,
        "epochs_trimmed": report.base,
        "checkpoint": {"number": record.checkpoint, "epoch": record.epoch, "ended": record.ended} if record else None,
        "epochs_to_replay": max(0, report.tail - (record.epoch if record is not None else 0)),
        "clean": record is not None and record.clean,
        "sources": [{"source": source, "partition": name} for source, name in fields.get("partitions", [])],
        "outputs": fields.get("outputs", []),
    }
