"""Standard output as a sink."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

import pytest

from holdfast import sinks
from holdfast.core.errors import SinkError, UsageError


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


def test_a_closed_standard_output_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as the interpreter has it under `>&-`
    with pytest.raises(UsageError, match="standard output is closed"):
        sinks.Stdout().open(None, 0, False)


class ClosedPipe(io.RawIOBase):
    """A pipe whose reader went away, until the test is over."""

    closed_by_reader = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.closed_by_reader:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return len(data)


def test_a_reader_that_went_away_is_the_sinks_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = ClosedPipe()
    with io.TextIOWrapper(io.BufferedWriter(pipe)) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SinkError, match=r"standard output.*Broken pipe"):
            sinks.Stdout().open(None, 0, False).write(1, [b"a\n"], 1)
        pipe.closed_by_reader = False  # what is left in the buffer is flushed when the file is closed
