"""JSON lines as a source: what `json.loads` gives for each line.

msgspec reads most lines several times as fast and, where it succeeds, gives an equal value of the same types;
a line that it refuses is given to `json.loads`, which knows more (NaN, 1e400, lone surrogates).
Invariant: one line, one value. msgspec's own cutting would accept two values in one line and one value over two,
so it is used only for blocks in which every line begins with "{" and ends with "}": no value goes on behind "}"
with "{", so none crosses a newline, and as many values as lines means one in each. Other blocks go line by line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.connectors.line_files import LineFiles
from holdfast.connectors.text_file import raw_lines
from holdfast.core.connector import Sound, Undecodable

# Bytes of a line in which its first colon is looked for.
_BEGINNING_MAX = 64


class JsonLines(LineFiles):
    r"""Finite: the lines of files, each the value that its JSON text stands for.

    A path may be a glob ("**" goes down folders). `time` gives a record's time in Unix milliseconds. With `follow`
    the files are live: what is appended to them is read as it comes, line by line, and they never end.
    """

    def __init__(
        self,
        *paths_or_globs: str | os.PathLike[str],
        encoding: str = "utf-8",
        time: Callable[[Any], int] | None = None,
        follow: bool = False,
    ) -> None:
        super().__init__(paths_or_globs, encoding, time, follow=follow)
        # UTF-8 is what msgspec reads; of other encodings even ASCII would differ in what it refuses.
        decoder = msgspec.json.Decoder() if self.encoding == "utf-8" else None
        self._fast: Callable[[bytes], Any] | None = None if decoder is None else decoder.decode
        self._fast_lines: Callable[[bytes], list[Any]] | None = None if decoder is None else decoder.decode_lines
        self._is_uniform = True  # so far lines begin alike, up to their first colon

    def decode(self, raw: bytes) -> list[Any]:
        records = self._objects(raw)
        if records is None:
            records = self._records(raw_lines(raw))
        if self._times is not None:
            self._times.mark(records, raw_lines(raw).__getitem__)
        return records

    def _objects(self, raw: bytes) -> list[Any] | None:
        """The records of a block of lines that are one object each, all at once; None if it is not surely one."""
        if self._fast_lines is None or not raw.startswith(b"{") or not raw.endswith((b"}\n", b"}")):
            return None
        between = raw.count(b"\n") - raw.endswith(b"\n")
        if not self._all_between(raw, between):
            return None
        try:
            records = Sound(self._fast_lines(raw))
        except (ValueError, RecursionError):
            return None  # some line is not plain
        return records if len(records) == between + 1 else None

    def _all_between(self, raw: bytes, newlines: int) -> bool:
        """Whether so many newlines stand between "}" and "{": all but one at the end.

        More that must follow each of them is found sooner, by half of the time for most files: their lines all begin
        with the same key.
        """
        if self._is_uniform:
            beginning = raw[: raw.find(b":", 0, _BEGINNING_MAX) + 1]
            if beginning and raw.count(b"}\n" + beginning) == newlines:
                return True
            self._is_uniform = False
        return raw.count(b"}\n{") == newlines

    def _records(self, found: list[bytes]) -> list[Any]:
        if self._fast is not None:
            try:
                return list(map(self._fast, found))
            except (ValueError, RecursionError):
                pass  # some line is not plain: see below which
        return [self._record(line) for line in found]

    def _record(self, line: bytes) -> Any:
        if self._fast is not None:
            try:
                return self._fast(line)
            except (ValueError, RecursionError):
                pass
        try:
            return json.loads(line.decode(self.encoding))
        except (ValueError, RecursionError) as error:
            return Undecodable(line, error)
