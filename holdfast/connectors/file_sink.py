"""Output files: text or JSON lines. What the bytes are, and in which file; `file_writer.py` puts them in place.

An output is its bytes, newline included. Encoding is pure and raises for what the file can't hold. With `partitions`
each output goes to one of that many files, by the hash of its key; every file is then a sequence of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from holdfast.connectors import json_text
from holdfast.connectors.file_writer import FileWriter, failure
from holdfast.core import keys
from holdfast.core.errors import ApplicationError, UsageError
from holdfast.core.signatures import check_function
from holdfast.core.types import TypeRegistry

PARTITION: Final = "{partition}"  # stands in the path for the partition's number
PARTITIONS_MAX: Final = 4096  # a worker holds a file open for each of its partitions


class FilePart:
    """One output file of a sink in partitions."""

    def __init__(self, path: str) -> None:
        self.path = path

    def bind(self, registry: TypeRegistry) -> None:
        """Bytes need no types."""

    def paths(self) -> list[str]:
        return [self.path]

    def open(self, token: object | None, number: int, owned: bool) -> FileWriter:
        if token is None:
            _make_folder(os.path.dirname(os.path.abspath(self.path)))
        return FileWriter(self.path, token, number, owned)


class FileSink:
    """Output files. `path` may be changed until the sink is opened, to write somewhere else."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        partitions: int | None = None,
        by: Callable[[Any], object] | None = None,
    ) -> None:
        try:
            text = os.fspath(path)
        except TypeError:
            text = None
        if not isinstance(text, str) or not text or "\0" in text:
            raise ApplicationError(f"the path of an output is a str or a Path, not {path!r}")
        self.path: str = text
        self.partitions = partitions
        self.by = by
        self._check_partitions()

    def _check_partitions(self) -> None:
        place = f"sinks.{type(self).__name__}({self.path!r})"
        if self.partitions is None:
            if PARTITION in self.path:
                raise ApplicationError(f"{place}: {PARTITION} in the path needs partitions= and by=")
            if self.by is not None:
                raise ApplicationError(f"{place}: by= needs partitions=, and {PARTITION} in the path")
            return
        if type(self.partitions) is not int or not 1 <= self.partitions <= PARTITIONS_MAX:
            raise ApplicationError(
                f"{place}: partitions={self.partitions!r} must be an int from 1 to {PARTITIONS_MAX}"
            )
        if self.by is None:
            raise ApplicationError(f"{place}: partitions= needs by=, a function that gives the key of a message")
        if PARTITION not in self.path:
            raise ApplicationError(
                f"{place}: with partitions= the path must contain {PARTITION}, which stands for the partition's number"
            )
        check_function(f"{place}, by", self.by, "message")

    def bind(self, registry: TypeRegistry) -> None:
        """Text needs no types."""

    def partition_of(self, value: Any) -> int:
        """Which partition an output belongs to; raises what `by` raises, and for what is no key."""
        assert self.by is not None
        assert self.partitions is not None
        return keys.range_of(keys.key_hash(keys.canonical(self.by(value))), self.partitions)

    def paths(self) -> list[str]:
        return [self._path_of(number) for number in range(self.partitions)] if self.partitions else [self.path]

    def part(self, partition: int) -> FilePart:
        """The file of one partition."""
        return FilePart(self._path_of(partition))

    def _path_of(self, partition: int) -> str:
        return self.path.replace(PARTITION, str(partition))

    def open(self, token: object | None, number: int, owned: bool) -> FileWriter:
        return FileWriter(self.path, token, number, owned)


def _make_folder(path: str) -> None:
    """The folder of partitions, durably; another worker may be making it as well."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _make_folder(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise UsageError(f"the output folder {path!r} is not a folder") from None
    except OSError as error:
        raise UsageError(f"the output folder {path!r} can't be made: {error.strerror}") from error
    folder = os.open(above, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as error:
        raise failure(f"the output folder {path!r}", error) from error
    finally:
        os.close(folder)


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


def each_text_line(values: list[Any]) -> list[bytes] | None:
    """The same, line by line."""
    if not set(map(type, values)) <= {str}:
        return None
    try:
        return [f"{value}\n".encode() for value in values]
    except UnicodeEncodeError:
        return None


class TextFile(FileSink):
    r"""Writes each output, a str, and "\n" to the file, as UTF-8.

    With `partitions` and `by`, which gives the key of an output, there are that many files, numbered from 0 where
    "{partition}" stands in the path; outputs of one key go to one file, in order.
    """

    def encode(self, value: str, /) -> bytes:
        return text_line(value)

    def encode_column(self, values: list[Any], /) -> bytes | None:
        return text_lines(values)

    def encode_each(self, values: list[Any], /) -> list[bytes] | None:
        return each_text_line(values)


class JsonLines(FileSink):
    """Writes each output to the file as one line of JSON, as UTF-8.

    With `partitions` and `by`, which gives the key of an output, there are that many files, numbered from 0 where
    "{partition}" stands in the path; outputs of one key go to one file, in order.
    """

    def encode(self, value: object, /) -> bytes:
        return json_text.json_line(value)

    def encode_column(self, values: list[Any], /) -> bytes | None:
        return json_text.json_lines(values)

    def encode_each(self, values: list[Any], /) -> list[bytes] | None:
        return json_text.each_json_line(values)
