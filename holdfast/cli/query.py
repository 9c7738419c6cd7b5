"""`holdfast query STEP KEY`: the state of one key, of what runs (a cluster or one worker) or of what has stopped.

Stdout carries the state alone, or one JSON object; where it comes from is said on stderr. Changes nothing.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import trio

from holdfast.cli import loading
from holdfast.cli.reports import Reports
from holdfast.cli.status import is_cluster
from holdfast.core import keys
from holdfast.core.application import Application
from holdfast.core.errors import DamagedError, DirectoryInUseError, KeyTypeError, UsageError
from holdfast.core.plan import Plan
from holdfast.core.types import TypeRegistry
from holdfast.runtime import window
from holdfast.runtime.engine_thread import known_types
from holdfast.runtime.plain_values import plain
from holdfast.runtime.query import QUERY, Question, pack, unpack_answer
from holdfast.runtime.stored_entity import NOTHING, Stored, of_cluster, of_one_worker
from holdfast.runtime.supervisor import ADDRESS
from holdfast.runtime.transport import secret
from holdfast.runtime.transport.addresses import Address, parse
from holdfast.runtime.transport.limits import Limits
from holdfast.runtime.transport.question import ask

FORMS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "literal": ast.literal_eval,
    "uuid": UUID,
    "date": date.fromisoformat,
}


def query(arguments: argparse.Namespace, given: Application | None) -> int:
    """Print a state."""
    key = key_of(arguments.key, arguments.key_as)
    if arguments.coordinator is not None:
        return _ask(arguments, key, parse(arguments.coordinator))
    if arguments.data is None:
        raise UsageError("say of what: --data DIR or --coordinator HOST:PORT")
    data: Path = arguments.data
    if not is_cluster(data):
        try:
            return _show_stored(arguments, key, _read(of_one_worker, arguments, key, given))
        except DirectoryInUseError as error:
            packed = window.ask(data, _question_of(arguments, key))
            if packed is None:
                raise DirectoryInUseError(f"{error}, and does not answer", error.holder) from error
            return _show_answer(arguments, key, packed, "worker")
    try:
        return _show_stored(arguments, key, _read(of_cluster, arguments, key, given))
    except DirectoryInUseError:
        return _ask(arguments, key, parse((data / ADDRESS).read_text()))


def key_of(text: str, form: str) -> Any:
    """The key that a text means; UsageError if it is none."""
    try:
        key = FORMS[form](text)
        keys.canonical(key)
    except KeyTypeError as error:
        raise UsageError(str(error)) from error
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        hint = "; a text needs quotes there, as in \"'w1'\"" if form == "literal" else ""
        raise UsageError(f"{text!r} is no key as {form}{hint}") from error
    return key


def _ask(arguments: argparse.Namespace, key: Any, address: Address) -> int:
    secrets = secret.load(arguments.secret_file, os.environ)
    packed = trio.run(ask, address, secrets, _question_of(arguments, key), Limits())
    return _show_answer(arguments, key, packed, "cluster")


def _question_of(arguments: argparse.Namespace, key: Any) -> bytes:
    """As it is sent."""
    return QUERY + pack(Question(arguments.step, keys.canonical(key)))


def _show_answer(arguments: argparse.Namespace, key: Any, packed: bytes, whose: str) -> int:
    found = unpack_answer(packed)
    if found.problem:
        raise UsageError(found.problem)
    about = {"from": whose, "epoch": found.applied, "sealed": found.sealed, "generation": found.generation}
    _show(arguments, key, found.image is not None, found.shown, json.loads(found.plain), about)
    return 0


def _read(where: Any, arguments: argparse.Namespace, key: Any, given: Application | None) -> Stored | None:
    """What the last checkpoint holds; with the application's classes, if it was given."""
    app = loading.load(arguments.app) if given is None and arguments.app is not None else given
    registry = TypeRegistry(known_types(Plan(app))) if app is not None else TypeRegistry()
    try:
        found: Stored | None = where(arguments.data, arguments.step, key, registry)
    except DamagedError as error:
        if app is None:
            raise UsageError(
                "the state is made of the application's own classes: name the application with --app APP "
                f"(path/to/file.py:app or module:app) ({error})"
            ) from error
        raise
    return found


def _show_stored(arguments: argparse.Namespace, key: Any, found: Stored | None) -> int:
    if found is None:
        raise UsageError(f"{arguments.data} has no checkpoint yet")
    if arguments.step not in found.steps:
        _refuse_step(arguments.step, found)
    there = found.state is not NOTHING
    reports: Reports = arguments.reports
    reports(f"nobody runs {arguments.data}: this is the state at its last checkpoint, of epoch {found.epoch}")
    shown = repr(found.state) if there else ""
    _show(
        *(arguments, key, there, shown, plain(found.state) if there else None),
        {"from": "checkpoint", "epoch": found.epoch, "sealed": found.epoch, "generation": None},
    )
    return 0


def _refuse_step(step: str, found: Stored) -> NoReturn:
    known = ", ".join(map(repr, sorted(found.steps)))
    raise UsageError(f"no stateful step {step!r} has any state; {f'these have: {known}' if known else 'none has'}")


def _show(
    arguments: argparse.Namespace, key: Any, there: bool, shown: str, shape: Any, about: dict[str, Any]
) -> None:
    if arguments.json:
        told = {"step": arguments.step, "key": plain(key), "found": there, "state": shape} | about
        print(json.dumps(told, ensure_ascii=False))
    elif there:
        print(shown)
    else:
        reports: Reports = arguments.reports
        reports(f"step {arguments.step!r} has no state for the key {key!r}")
        print("None")
