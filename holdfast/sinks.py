"""The public door to the sinks: where an application's outputs go."""

from __future__ import annotations

from holdfast.connectors.file_sink import JsonLines, TextFile
from holdfast.connectors.memory import MemorySink as Memory
from holdfast.connectors.stdout import Stdout

__all__ = ["JsonLines", "Memory", "Stdout", "TextFile"]
