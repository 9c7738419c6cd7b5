"""Where other processes find an application that this one has: what is given to them as APP.

An object can't be sent to another process; a module can be imported there. Invariant: the name given leads to the very
object in this process, so that another process which imports the same files gets the same application.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from holdfast.core.application import Application
from holdfast.core.errors import UsageError

IMPORTING = "HOLDFAST_IMPORTING"  # set in processes that import an application in order to work on it


def target_of(app: Application) -> str:
    """`path/to/file.py:name` or `module:name`; UsageError where the application has no name."""
    found = [
        (name, attribute)
        for name, module in list(sys.modules.items())
        for attribute, value in list(getattr(module, "__dict__", {}).items())
        if value is app
    ]
    program = sys.modules.get("__main__")  # which multiprocessing lists under another name as well
    for name, attribute in sorted(found, key=lambda one: sys.modules[one[0]] is program):  # the program's own file last
        place = _file_of(sys.modules[name]) if sys.modules[name] is program else name
        if place is not None:
            return f"{place}:{attribute}"
    raise UsageError(
        "workers= starts other processes, which must find the application as well: make it a global of a module, "
        'as in app = hf.Application("…"), or say where it is with target="module:name" or target="file.py:name"'
    )


def _file_of(program: ModuleType) -> str | None:
    spec = getattr(program, "__spec__", None)
    if spec is not None:
        return str(spec.name)  # python -m package.module
    file = getattr(program, "__file__", None)
    return str(Path(file).absolute()) if isinstance(file, str) and file.endswith(".py") else None


def environment() -> dict[str, str]:
    """What such a process needs to import what this one has imported."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, IMPORTING: "1"}


def refuse_inside() -> None:
    """UsageError where an engine would be begun by a process that only imports the application."""
    if os.environ.get(IMPORTING):
        raise UsageError(
            'a worker imports this file to find the application, and may not begin an engine: put that under '
            'if __name__ == "__main__", or into a function'
        )
