"""Colour goes to terminals, and to no one who did not ask to be treated as one."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.colour import Colour, paint
from tests.cli.command import environment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "coloured"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_only_a_terminal_that_wants_it_gets_colour(
    stream: io.StringIO, variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert paint("x", Colour.ERROR, stream) == ("\x1b[1;31mx\x1b[0m" if coloured else "x")


@pytest.mark.parametrize("wanted", [True, False])
def test_an_error_on_a_terminal_is_red_unless_no_color_is_set(wanted: bool, tmp_path: Path) -> None:
    mine, its = pty.openpty()
    variables = {"TERM": "xterm"} if wanted else {"TERM": "xterm", "NO_COLOR": "1"}
    env = {name: value for name, value in environment().items() if name != "NO_COLOR"} | variables
    command = [sys.executable, "-m", "holdfast", "run", "nowhere.py"]
    subprocess.run(command, cwd=tmp_path, env=env, stderr=its, check=False, timeout=60)
    os.close(its)
    said = os.read(mine, 4096).decode()
    os.close(mine)

    assert said.startswith("\x1b[1;31mholdfast: error:\x1b[0m " if wanted else "holdfast: error: there is no file")
