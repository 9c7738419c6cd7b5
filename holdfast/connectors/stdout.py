"""Standard output as a sink: a sink that can't tell what it has.

After a restart it sends again from the checkpoint on: at least once. Every write is flushed, since what waits
in a buffer is not delivered.
"""

from __future__ import annotations

import sys
from typing import Any

from holdfast.connectors.file_sink import each_text_line, text_line, text_lines
from holdfast.connectors.file_writer import failure
from holdfast.core.errors import UsageError
from holdfast.core.types import TypeRegistry


class Stdout:
    r"""Writes each output, a str, and "\n" to standard output, as UTF-8."""

    def bind(self, registry: TypeRegistry) -> None:
        """Text needs no types."""

    def encode(self, value: str, /) -> bytes:
        return text_line(value)

    def encode_column(self, values: list[Any], /) -> bytes | None:
        return text_lines(values)

    def encode_each(self, values: list[Any], /) -> list[bytes] | None:
        return each_text_line(values)

    def paths(self) -> list[str]:
        return []

    def open(self, token: object | None, number: int, owned: bool) -> StdoutWriter:
        if sys.stdout is None:
            raise UsageError("standard output is closed: the application has a sink that writes to it")
        return StdoutWriter()


class StdoutWriter:
    """Writes to `sys.stdout` as it is at each write."""

    def write(self, first_number: int, payload: Any, count: int) -> None:
        data = payload if type(payload) is bytes else b"".join(payload)
        try:
            sys.stdout.flush()  # what was printed before comes first
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise failure("standard output", error) from error

    def token(self) -> object | None:
        return None

    def sync(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass
