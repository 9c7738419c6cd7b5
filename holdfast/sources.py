"""The public door to the sources: where an application's records come from."""

from __future__ import annotations

from holdfast.connectors.generator import Generator
from holdfast.connectors.json_lines import JsonLines
from holdfast.connectors.memory import MemorySource as Memory
from holdfast.connectors.send import Send
from holdfast.connectors.text_file import TextFile

__all__ = ["Generator", "JsonLines", "Memory", "Send", "TextFile"]
