"""Sinks turned into files of a scratch folder, so that an application can be run without touching its outputs.

A captured sink encodes exactly as the sink that it stands for, and what that gives goes to a file of its own: bytes as
they are, values as framed images. The user's objects are left alone; only the steps get other sinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.connectors import framing
from holdfast.connectors.contract import as_sink
from holdfast.connectors.file_writer import FileWriter
from holdfast.core import values
from holdfast.core.application import Application
from holdfast.core.types import TypeRegistry


class CapturedSink:
    """Writes into a scratch file what another sink would have written."""

    def __init__(self, sink: Any, path: Path) -> None:
        self._sink = sink
        self._path = str(path)
        self._registry = TypeRegistry()

    def bind(self, registry: TypeRegistry) -> None:
        self._registry = registry
        self._sink.bind(registry)

    def encode(self, value: object, /) -> bytes:
        """The bytes of one output."""
        return self._as_bytes(self._sink.encode(value))

    def encode_column(self, column: list[Any], /) -> bytes | None:
        """The bytes of many outputs, or None where they must be taken one by one."""
        many = getattr(self._sink, "encode_column", None)
        encoded = None if many is None else many(column)
        if encoded is None or isinstance(encoded, bytes):
            return encoded
        return b"".join(map(self._as_bytes, encoded))

    def paths(self) -> list[str]:
        return [self._path]

    def open(self, token: object | None, number: int, owned: bool) -> FileWriter:
        return FileWriter(self._path, token, number, owned)

    def _as_bytes(self, encoded: object) -> bytes:
        if isinstance(encoded, bytes):
            return encoded
        return framing.pack([values.encode(encoded, self._registry)])


def capture(app: Application, folder: Path) -> Sequence[tuple[str, Path]]:
    """Redirect every sink of the application into `folder`; return (sink's name, its file), in order of definition."""
    app.check()
    files = []
    for number, step in enumerate(app.sinks):
        path = folder / f"sink-{number}"
        step.sink = CapturedSink(as_sink(step.sink), path)
        files.append((step.name, path))
    return files
