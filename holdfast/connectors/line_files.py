"""What text files and JSON-lines files share: finding the files and opening them where they were left.

A partition is one file; its name is its path as it was given. A raw block is exactly the file's bytes.
How they are read is the matter of `line_reader.py` and `following.py`, how the bytes of a line become a record
that of the two kinds.
"""

from __future__ import annotations

import codecs
import glob
import os
from collections.abc import Callable
from typing import Any

from holdfast.connectors import lines
from holdfast.connectors.file_offsets import FileOffset
from holdfast.connectors.following import FollowingReader
from holdfast.connectors.line_reader import LineReader, check_input
from holdfast.connectors.record_times import RecordTimes
from holdfast.core.errors import ApplicationError, UsageError
from holdfast.core.types import TypeRegistry

# Encodings in which a line can't be decoded without those before it, or which are none of text.
_NOT_BY_LINE = frozenset({"utf-7", "utf-8-sig", "hz", "idna", "punycode", "undefined", "raw-unicode-escape"})
_NOT_BY_LINE_PREFIXES = ("iso2022",)


class LineFiles:
    """The files of one source; `decode` is left to the kinds."""

    def __init__(
        self,
        paths: tuple[str | os.PathLike[str], ...],
        encoding: str,
        time: Callable[[Any], int] | None,
        *,
        follow: bool = False,
    ) -> None:
        if not paths:
            raise ApplicationError(f"sources.{type(self).__name__} needs at least one path")
        self.paths = tuple(checked_path(path) for path in paths)
        self.encoding = checked_encoding(encoding)
        self._times = None if time is None else RecordTimes(time)
        self.live = self.endless = bool(follow)

    def bind(self, registry: TypeRegistry) -> None:
        """Lines hold no values, so no types are needed."""

    def partitions(self) -> list[str]:
        """The files in the order given, matches of a glob sorted; a path that comes twice counts once."""
        found: dict[str, str] = {}
        for path in self.paths:
            for match in matches(path):
                check_input(match)
                found.setdefault(os.path.abspath(match), match)
        return list(found.values())

    def open(self, partition: str, offset: object | None) -> LineReader:
        start = None if offset is None else FileOffset.unpacked(offset)
        return FollowingReader(partition, start) if self.live else LineReader(partition, start)

    def cut(self, raw: bytes, start: int, size: int) -> int:
        return lines.cut(raw, start, size)

    def times(self, records: list[Any], /) -> list[int | None] | None:
        return None if self._times is None else self._times.times(records)


def checked_encoding(encoding: str) -> str:
    """The encoding's own name; ApplicationError unless lines can be cut before they are decoded."""
    try:
        codec = codecs.lookup(encoding)
        newline = "\n".encode(codec.name)
    except (LookupError, TypeError, ValueError):
        raise ApplicationError(f"encoding {encoding!r} is not an encoding of text that Python knows") from None
    if newline != b"\n" or codec.name in _NOT_BY_LINE or codec.name.startswith(_NOT_BY_LINE_PREFIXES):
        raise ApplicationError(
            f"encoding {encoding!r} can't be read line by line: its newline is not the single byte 0x0A, or "
            "a line depends on those before it; convert the file to UTF-8 first"
        )
    return codec.name


def checked_path(path: str | os.PathLike[str]) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ApplicationError(f"the path of an input is a str or a Path, not {path!r}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ApplicationError(f"the path {path!r} is not UTF-8 and can't name a partition") from None
    return text


def matches(path: str) -> list[str]:
    if not any(character in path for character in "*?[") or os.path.lexists(path):
        return [path]
    # Folders match "**" and "*" as a matter of course; nobody means to read one.
    matches = sorted(match for match in glob.glob(path, recursive=True) if not os.path.isdir(match))
    if not matches:
        raise UsageError(f"input {path!r} matches no file")
    return [checked_path(match) for match in matches]
