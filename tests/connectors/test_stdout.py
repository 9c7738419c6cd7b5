"""Standard output as a sink."""

from __future__ import annotations

import io
import os
import sys

import pytest

from holdfast import sinks
from holdfast.core.errors import SinkError


def test_outputs_come_after_what_was_printed_and_at_once(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sys.stdout.write("before\n")
    writer = sinks.Stdout().open(None, 5, False)
    writer.write(6, [b"a\n", b"b\n"], 2)
    writer.write(8, b"c\n", 1)
    assert capfdbinary.readouterr().out == b"before\na\nb\nc\n"
    writer.sync()
    writer.finish()
    writer.close()
    assert writer.token() is None
    assert sinks.Stdout().paths() == []


def test_a_reader_that_went_away_is_the_sinks_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as raw:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(_Unowned(raw))))
        with pytest.raises(SinkError, match="standard output"):
            sinks.Stdout().open(None, 0, False).write(1, [b"a\n"], 1)
        sys.stdout.buffer.raw.failing = False  # type: ignore[attr-defined]  # let it be collected quietly


class _Unowned(io.RawIOBase):
    """Passes writes on to a pipe until told otherwise."""

    def __init__(self, pipe: io.RawIOBase) -> None:
        self.pipe = pipe
        self.failing = True

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self.pipe.write(data) if self.failing else len(bytes(data))  # type: ignore
