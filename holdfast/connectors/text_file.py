r"""Text files as a source: one str a line.

Where an encoding allows it a whole block is decoded at once and cut as text; the result is the same as line
by line, which is the way taken when anything in the block does not decode. Only b"\n" ends a line, never the
other characters that `str.splitlines` cuts at.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from holdfast.connectors.line_files import LineFiles
from holdfast.core.connector import Undecodable


def decodes_at_once(encoding: str) -> bool:
    r"""Whether decoding and cutting at "\n" may change places: only the byte 0x0A ever decodes to "\n"."""
    if encoding == "utf-8":
        return True
    if encoding != "ascii" and not encoding.startswith(("cp125", "iso8859")):
        return False
    return all((bytes([byte]).decode(encoding, "replace") == "\n") == (byte == 0x0A) for byte in range(256))


def raw_lines(raw: bytes) -> list[bytes]:
    """The lines of a block without their newlines."""
    found = raw.split(b"\n")
    if not found[-1]:
        found.pop()  # what stands behind the last newline is no line
    return found


class TextDecoder:
    """From the bytes of a block to its lines."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._at_once = decodes_at_once(encoding)

    def records(self, raw: bytes) -> list[str | Undecodable]:
        """The lines, each a str without its end."""
        if not self._at_once:
            return self._line_by_line(raw)
        try:
            records: list[Any] = raw.decode(self.encoding).split("\n")
        except UnicodeDecodeError:
            return self._line_by_line(raw)
        if not records[-1]:
            records.pop()  # what stands behind the last newline is no line
        return records

    def _line_by_line(self, raw: bytes) -> list[str | Undecodable]:
        encoding = self.encoding
        records: list[str | Undecodable] = []
        for line in raw_lines(raw):
            try:
                records.append(line.decode(encoding))
            except ValueError as error:  # UnicodeDecodeError; a few codecs raise its parent
                records.append(Undecodable(line, error))
        return records


class TextFile(LineFiles):
    r"""Finite: the lines of files, each a str without its "\n".

    A path may be a glob ("**" goes down folders). `time` gives a record's time in Unix milliseconds. With `follow`
    the files are live: what is appended to them is read as it comes, line by line, and they never end.
    """

    def __init__(
        self,
        *paths_or_globs: str | os.PathLike[str],
        encoding: str = "utf-8",
        time: Callable[[str], int] | None = None,
        follow: bool = False,
    ) -> None:
        super().__init__(paths_or_globs, encoding, time, follow=follow)
        self._text = TextDecoder(self.encoding)

    def decode(self, raw: bytes) -> list[str | Undecodable]:
        records = self._text.records(raw)
        if self._times is not None:
            self._times.mark(records, lambda index: raw_lines(raw)[index])
        return records
