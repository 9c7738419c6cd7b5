"""Output files: text or JSON lines. What the bytes are; `file_writer.py` puts them in place.

An output is its bytes, newline included. Encoding is pure and raises for what the file can't hold.
"""

from __future__ import annotations

import os
from typing import Any

from holdfast.connectors import json_text
from holdfast.connectors.file_writer import FileWriter
from holdfast.core.errors import ApplicationError
from holdfast.core.types import TypeRegistry


class FileSink:
    """One output file. `path` may be changed until the sink is opened, to write somewhere else."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            text = os.fspath(path)
        except TypeError:
            text = None
        if not isinstance(text, str) or not text or "\0" in text:
            raise ApplicationError(f"the path of an output is a str or a Path, not {path!r}")
        self.path: str = text

    def bind(self, registry: TypeRegistry) -> None:
        """Text needs no types."""

    def paths(self) -> list[str]:
        return [self.path]

    def open(self, token: object | None, number: int, owned: bool) -> FileWriter:
        return FileWriter(self.path, token, number, owned)


def text_line(value: object) -> bytes:
    r"""A str and "\n" as UTF-8; newlines inside it are written as they are."""
    if not isinstance(value, str):
        raise TypeError(f"this sink takes str only, not {type(value).__name__}")
    # Not `value.encode()`: a subclass may have one of its own, and it is the text that is written.
    return str.encode(value) + b"\n"


def text_lines(values: list[Any]) -> bytes | None:
    """The lines of many values at once; None unless all are exactly str and can be encoded."""
    if not set(map(type, values)) <= {str}:
        return None
    try:
        return "\n".join([*values, ""]).encode()
    except UnicodeEncodeError:
        return None


class TextFile(FileSink):
    r"""Writes each output, a str, and "\n" to the file, as UTF-8."""

    def encode(self, value: str, /) -> bytes:
        return text_line(value)

    def encode_column(self, values: list[Any], /) -> bytes | None:
        return text_lines(values)


class JsonLines(FileSink):
    """Writes each output to the file as one line of JSON, as UTF-8."""

    def encode(self, value: object, /) -> bytes:
        return json_text.json_line(value)

    def encode_column(self, values: list[Any], /) -> bytes | None:
        return json_text.json_lines(values)
