"""Stateful Python message processing that survives crashes with identical results: `import holdfast as hf`.

The public names, and nothing else. Importing it starts nothing, opens nothing, and loads neither the shell
nor the database; `main` loads the command line when it is called.
"""

from __future__ import annotations

from holdfast import sinks, sources, testing
from holdfast.core.application import Application
from holdfast.core.context import Context
from holdfast.core.errors import (
    ApplicationError,
    HoldfastError,
    KeyTypeError,
    NonDeterminismError,
    StoppedError,
    UsageError,
    ValueTypeError,
)
from holdfast.core.streams import KeyedStream, Stream
from holdfast.core.types import register

__version__ = "0.1.0"

__all__ = [
    "Application",
    "ApplicationError",
    "Context",
    "HoldfastError",
    "KeyTypeError",
    "KeyedStream",
    "NonDeterminismError",
    "StoppedError",
    "Stream",
    "UsageError",
    "ValueTypeError",
    "main",
    "register",
    "sinks",
    "sources",
    "testing",
]


def main(app: Application) -> None:
    """Run the command line for this application, and end the process: `python app.py run`."""
    import sys

    from holdfast.cli.main import main as command_line

    sys.exit(command_line(app=app))
