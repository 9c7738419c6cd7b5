"""The public door to the sources: where an application's records come from."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.connectors.csv_file import CsvFile as Csv
from holdfast.connectors.generator import Generator
from holdfast.connectors.json_lines import JsonLines
from holdfast.connectors.memory import MemorySource as Memory
from holdfast.connectors.send import Send
from holdfast.connectors.standard_input import Stdin
from holdfast.connectors.text_file import TextFile

if TYPE_CHECKING:
    from holdfast.connectors.http_source import Http
    from holdfast.connectors.kafka_source import KafkaSource as Kafka
    from holdfast.connectors.postgres_source import PostgreSQLSource as PostgreSQL
    from holdfast.connectors.sqlite_source import SQLiteSource as SQLite
    from holdfast.connectors.tcp_source import Tcp

__all__ = [
    "Csv",
    "Generator",
    "Http",
    "JsonLines",
    "Kafka",
    "Memory",
    "PostgreSQL",
    "SQLite",
    "Send",
    "Stdin",
    "Tcp",
    "TextFile",
]

# Loaded when they are first used: what they import is much, and most applications need none of them.
_HOMES = {
    "Http": ("holdfast.connectors.http_source", "Http"),
    "Kafka": ("holdfast.connectors.kafka_source", "KafkaSource"),
    "PostgreSQL": ("holdfast.connectors.postgres_source", "PostgreSQLSource"),
    "SQLite": ("holdfast.connectors.sqlite_source", "SQLiteSource"),
    "Tcp": ("holdfast.connectors.tcp_source", "Tcp"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return list(__all__)
