"""Stateful Python message processing that survives crashes with identical results: `import holdfast as hf`.

The public names, and nothing else. Importing it starts nothing, opens nothing, and loads neither the shell nor the
database. A name is loaded from its home when it is first used, because the command line starts many processes that
need few of them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast import sinks, sources, testing
    from holdfast.core.application import Application
    from holdfast.core.context import Context
    from holdfast.core.errors import (
        AnswerForgottenError,
        ApplicationError,
        EngineStoppedError,
        HoldfastError,
        KeyTypeError,
        NonDeterminismError,
        StoppedError,
        UnreachableError,
        UsageError,
        ValueTypeError,
    )
    from holdfast.core.streams import KeyedStream, Stream
    from holdfast.core.types import register
    from holdfast.runtime.engine import Engine

__version__ = "0.1.0"

__all__ = [
    "AnswerForgottenError",
    "Application",
    "ApplicationError",
    "Context",
    "Engine",
    "EngineStoppedError",
    "HoldfastError",
    "KeyTypeError",
    "KeyedStream",
    "NonDeterminismError",
    "StoppedError",
    "Stream",
    "UnreachableError",
    "UsageError",
    "ValueTypeError",
    "main",
    "register",
    "sinks",
    "sources",
    "testing",
]

_HOMES = {
    "Application": "holdfast.core.application",
    "Context": "holdfast.core.context",
    "Engine": "holdfast.runtime.engine",
    "KeyedStream": "holdfast.core.streams",
    "Stream": "holdfast.core.streams",
    "register": "holdfast.core.types",
    "sinks": "holdfast",
    "sources": "holdfast",
    "testing": "holdfast",
}


def main(app: Application) -> None:
    """Run the command line for this application, and end the process: `python app.py run`."""
    from holdfast.cli import interpreter

    interpreter.end_when_interrupted()
    from holdfast.cli import loading
    from holdfast.cli.main import main as command_line

    if loading.is_under_way():
        from holdfast.core.errors import ApplicationError

        raise ApplicationError(
            "hf.main(app) runs although the module is only imported; put it under: if __name__ == '__main__':"
        )
    sys.exit(command_line(app=app))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "holdfast.core.errors")
    if home == __name__:
        return importlib.import_module(f"{__name__}.{name}")  # which makes it an attribute
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
