"""Sinks turned into files of a scratch folder, so that an application can be run without touching its outputs.

A captured sink encodes exactly as the sink that it stands for, and what that gives goes to a file of its own: bytes as
they are, values as framed images. The user's objects are left alone; only the steps get other sinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.connectors import framing
from holdfast.connectors.contract import as_sink
from holdfast.connectors.file_sink import FilePart
from holdfast.connectors.file_writer import FileWriter
from holdfast.connectors.interface import OpenSink
from holdfast.core import values
from holdfast.core.application import Application
from holdfast.core.connector import partitions_of_sink
from holdfast.core.types import TypeRegistry


class CapturedSink:
    """Writes into a scratch file what another sink would have written."""

    def __init__(self, sink: Any, path: Path) -> None:
        self._sink = sink
        self._path = str(path)
        self._registry = TypeRegistry()
        self.partitions = partitions_of_sink(sink)
        self.by = getattr(sink, "by", None)

    def bind(self, registry: TypeRegistry) -> None:
        self._registry = registry
        self._sink.bind(registry)

    def partition_of(self, value: object) -> int:
        """As the sink says."""
        partition: int = self._sink.partition_of(value)
        return partition

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

    def encode_each(self, column: list[Any], /) -> list[bytes] | None:
        """The bytes of many outputs, one by one."""
        many = getattr(self._sink, "encode_each", None)
        encoded: list[bytes] | None = None if many is None else many(column)
        return encoded

    def paths(self) -> list[str]:
        return [str(self.path_of(number)) for number in range(self.partitions)] if self.partitions else [self._path]

    def path_of(self, partition: int) -> Path:
        """The file of a partition."""
        return Path(f"{self._path}-{partition}")

    def part(self, partition: int) -> OpenSink:
        """What writes one partition."""
        return FilePart(str(self.path_of(partition)))

    def open(self, token: object | None, number: int, owned: bool) -> FileWriter:
        return FileWriter(self._path, token, number, owned)

    def _as_bytes(self, encoded: object) -> bytes:
        if isinstance(encoded, bytes):
            return encoded
        return framing.pack([values.encode(encoded, self._registry)])


@dataclass(frozen=True, slots=True)
class Captured:
    """A file that stands for a sink, or for a partition of one."""

    sink: str
    partition: int | None
    path: Path


def capture(app: Application, folder: Path) -> Sequence[Captured]:
    """Redirect every sink of the application into `folder`; return the files, in order of definition."""
    app.check()
    files = []
    for number, step in enumerate(app.sinks):
        path = folder / f"sink-{number}"
        sink = step.sink = CapturedSink(as_sink(step.sink), path)
        if sink.partitions is None:
            files.append(Captured(step.name, None, path))
        else:
            files += [Captured(step.name, partition, sink.path_of(partition)) for partition in range(sink.partitions)]
    return files
