"""The public door to the sinks: where an application's outputs go."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.connectors.file_sink import JsonLines, TextFile
from holdfast.connectors.memory import MemorySink as Memory
from holdfast.connectors.stdout import Stdout

if TYPE_CHECKING:
    from holdfast.connectors.kafka_sink import KafkaSink as Kafka
    from holdfast.connectors.postgres_sink import PostgreSQLSink as PostgreSQL
    from holdfast.connectors.sqlite_sink import SQLiteSink as SQLite
    from holdfast.connectors.tcp_sink import Tcp
    from holdfast.connectors.webhook import Webhook

__all__ = ["JsonLines", "Kafka", "Memory", "PostgreSQL", "SQLite", "Stdout", "Tcp", "TextFile", "Webhook"]

# Loaded when they are first used: what they import is much, and most applications need none of them.
_HOMES = {
    "Kafka": ("holdfast.connectors.kafka_sink", "KafkaSink"),
    "PostgreSQL": ("holdfast.connectors.postgres_sink", "PostgreSQLSink"),
    "SQLite": ("holdfast.connectors.sqlite_sink", "SQLiteSink"),
    "Tcp": ("holdfast.connectors.tcp_sink", "Tcp"),
    "Webhook": ("holdfast.connectors.webhook", "Webhook"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return list(__all__)
