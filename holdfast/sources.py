"""The public door to the sources: where an application's records come from."""

from __future__ import annotations

from holdfast.connectors.csv_file import CsvFile as Csv
from holdfast.connectors.generator import Generator
from holdfast.connectors.json_lines import JsonLines
from holdfast.connectors.memory import MemorySource as Memory
from holdfast.connectors.standard_input import Stdin
from holdfast.connectors.text_file import TextFile

__all__ = ["Csv", "Generator", "JsonLines", "Memory", "Stdin", "TextFile"]
