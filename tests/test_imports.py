"""Imports run one way, and the rooms that only decide have no way to reach a clock, a disk or a network.

core <- replication <- recovery <- worker <- runtime <- chaos <- cli; storage and connectors know core alone
and are known to runtime and above. The checker reads sources, so an import inside a function counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.repository import PACKAGE, ROOT, PythonFile, imported_modules, package_files

PURE_ROOMS = ("core", "replication", "recovery", "worker")
EDGES = ("storage", "connectors")

_RUNTIME = (*PURE_ROOMS, *EDGES, "runtime")
# room -> rooms it may import. The doors are the modules of the public face; rooms never import those.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": ("core",),
    "replication": ("core", "replication"),
    "recovery": ("core", "replication", "recovery"),
    "worker": PURE_ROOMS,
    "storage": ("core", "storage"),
    "connectors": ("core", "connectors"),
    "runtime": _RUNTIME,
    "chaos": (*_RUNTIME, "chaos"),
    "cli": (*_RUNTIME, "chaos", "cli", ""),  # the package itself for its version
    "": ("core", "sources", "sinks", "testing", "runtime", "cli"),
    "sources": ("core", "connectors"),
    "sinks": ("core", "connectors"),
    "testing": ("core", "connectors"),
    "__main__": ("cli",),
}
# What could make a pure room depend on more than its arguments.
IMPURE_MODULES = {
    *("_thread", "asyncio", "concurrent", "multiprocessing", "signal", "subprocess", "threading", "trio"),
    *("fcntl", "glob", "io", "lmdb", "mmap", "os", "pathlib", "shutil", "tempfile"),
    *("select", "selectors", "socket", "ssl", "secrets", "time"),
}
IMPURE_METHODS = (".now", ".utcnow", ".today", "uuid1", "uuid4")
IMPURE_FUNCTIONS = {"open", "input", "print"}
PURE_RANDOM = {"Random"}  # a generator with a seed of its own; the module's functions share a hidden one
DOORS = ("core", "storage", "replication", "recovery")


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def wrong_directions(file: PythonFile) -> Iterator[str]:
    here = room(file.module)
    if here not in MAY_IMPORT:
        yield f"line 1: {here!r} is no room; add it to MAY_IMPORT with what it may know"
        return
    for line, name in imported_modules(file.tree):
        there = room(name)
        if name.split(".")[0] == "holdfast" and there not in MAY_IMPORT[here]:
            yield f"line {line}: {here or 'holdfast'} must not import {name}"


def impurities(file: PythonFile) -> Iterator[str]:
    if room(file.module) not in PURE_ROOMS:
        return
    for node in ast.walk(file.tree):
        yield from (f"line {node.lineno}: {what}" for what in impurity(node))  # type: ignore[attr-defined]


def impurity(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names if alias.name.split(".")[0] in IMPURE_MODULES)
        case ast.ImportFrom(module=str(module), names=names):
            if module.split(".")[0] in IMPURE_MODULES:
                yield module
            if module == "random":
                yield from (f"random.{alias.name}" for alias in names if alias.name not in PURE_RANDOM)
        case ast.Attribute(value=ast.Name(id="random"), attr=name) if name not in PURE_RANDOM:
            yield f"random.{name}"
        case ast.Call(func=function):
            name = ast.unparse(function)
            if name in IMPURE_FUNCTIONS or name.endswith(IMPURE_METHODS):
                yield f"{name}()"


def test_imports_run_one_way_through_the_rooms() -> None:
    wrong = [f"{file.path}: {text}" for file in package_files() for text in wrong_directions(file)]

    assert not wrong, "\n".join(wrong)


def test_rooms_that_only_decide_reach_no_clock_disk_or_network() -> None:
    impure = [f"{file.path}: {text}" for file in package_files() for text in impurities(file)]

    assert not impure, "\n".join(impure)


def test_every_room_of_the_package_has_a_rule() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders == {"core", "replication", "recovery", "worker", *EDGES, "runtime", "chaos", "cli"}


@pytest.mark.parametrize("name", DOORS)
def test_a_door_at_the_root_leads_into_the_package(name: str) -> None:
    door = ROOT / name

    assert door.is_symlink()
    assert not door.readlink().is_absolute()
    assert door.resolve() == (PACKAGE / name).resolve()


def example(path: str, text: str) -> PythonFile:
    return PythonFile(path, text, ast.parse(text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("holdfast/core/x.py", "from holdfast.worker import life"),
        ("holdfast/core/x.py", "def f():\n    import holdfast.storage.log"),
        ("holdfast/core/x.py", "from holdfast import storage"),
        ("holdfast/core/x.py", "import holdfast"),
        ("holdfast/core/x.py", "from holdfast import Application"),
        ("holdfast/recovery/x.py", "from holdfast.worker.events import Committed"),
        ("holdfast/worker/x.py", "from holdfast.connectors import text_file"),
        ("holdfast/storage/x.py", "from holdfast.connectors.framing import pack"),
        ("holdfast/runtime/x.py", "from holdfast.chaos import faults"),
        ("holdfast/chaos/x.py", "from holdfast.cli.main import main"),
        ("holdfast/testing.py", "from holdfast.runtime import shell"),
        ("holdfast/attic/x.py", ""),
    ],
)
def test_an_import_against_the_direction_is_found(path: str, text: str) -> None:
    assert list(wrong_directions(example(path, text))) != []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("holdfast/worker/x.py", "from holdfast.core import epochs\nimport holdfast.replication.frames"),
        ("holdfast/core/x.py", "from holdfast.core.keys import canonical"),
        ("holdfast/cli/x.py", "from holdfast.storage import inspection\nfrom holdfast.chaos import faults"),
        ("holdfast/__init__.py", "from holdfast import sinks, sources"),
    ],
)
def test_an_import_with_the_direction_is_allowed(path: str, text: str) -> None:
    assert list(wrong_directions(example(path, text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "import os.path",
        "from trio import sleep",
        "def f():\n    import lmdb",
        "import random\nx = random.random()",
        "from random import choice",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import datetime\nx = datetime.now(None)",
        "from uuid import uuid4\nx = uuid4()",
        "import uuid\nx = uuid.uuid4()",
        "x = open('y')",
    ],
)
def test_a_way_to_the_outside_is_found_in_a_pure_room_only(text: str) -> None:
    assert list(impurities(example("holdfast/core/x.py", text))) != []
    assert list(impurities(example("holdfast/runtime/x.py", text))) == []


def test_values_and_seeded_generators_are_allowed_in_a_pure_room() -> None:
    text = "import datetime, random, uuid\nx = random.Random(1), datetime.datetime(1, 1, 1), uuid.UUID(int=0)"

    assert list(impurities(example("holdfast/core/x.py", text))) == []
