"""A sink counts its outputs by its name: it can't begin again in a file where outputs stand."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.command import append, holdfast, last_line, running, wait_for, write

ONE = """
import holdfast as hf


def alarm(line: str) -> str:
    return "ALARM"


app = hf.Application("alarms")
alarms = app.source(hf.sources.TextFile("input.txt", follow=True)).map(alarm)
SINKS
"""
TWO = 'alarms.sink(hf.sinks.TextFile("x.txt"), name="x")\nalarms.sink(hf.sinks.TextFile("y.txt"), name="y")\n'
X = 'alarms.sink(hf.sinks.TextFile("x.txt"), name="x")\n'
Y = 'alarms.sink(hf.sinks.TextFile("y.txt"), name="y")\n'
CLUSTER = ("--workers", "2", "--backups", "1")

Options = tuple[str, ...]


def run(folder: Path, sinks: str, lines: int, options: Options, **sizes: int) -> str:
    """Read some lines more with these sinks, until their files have so many lines; gives what was said."""
    write(folder, ONE.replace("SINKS", sinks))
    append(folder / "input.txt", "a\n" * lines)
    with running(folder, "run", "app.py", "--data", "d", *options) as process:
        for name, count in sizes.items():
            wait_for(folder / f"{name}.txt", count * len("ALARM\n"))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    for name, count in sizes.items():
        assert (folder / f"{name}.txt").read_text() == "ALARM\n" * count
    return said


def refused(folder: Path, sinks: str, options: Options) -> str:
    """What is said to these sinks."""
    write(folder, ONE.replace("SINKS", sinks))
    done = holdfast(folder, "run", "app.py", "--data", "d", *options)
    assert done.returncode == 4
    return last_line(done.stderr)


@pytest.mark.parametrize("options", [(), CLUSTER], ids=["one", "cluster"])
def test_a_sink_that_was_renamed_is_refused_with_both_names(options: Options, tmp_path: Path) -> None:
    run(tmp_path, X, 2, options, x=2)

    said = refused(tmp_path, X.replace('name="x"', 'name="z"'), options)

    assert "holds what the sink 'x' has written, and the sink 'z' is to write it now; name it name='x'" in said
    run(tmp_path, X, 3, options, x=5)


@pytest.mark.parametrize("options", [(), CLUSTER], ids=["one", "cluster"])
def test_a_sink_that_was_taken_out_can_not_come_back_under_its_name(options: Options, tmp_path: Path) -> None:
    run(tmp_path, TWO, 2, options, x=2, y=2)
    assert "the sink 'x' was taken out" in run(tmp_path, Y, 1, options, y=3)

    for sinks in (TWO, TWO.replace("x.txt", "z.txt")):
        assert "the sink 'x' was taken out at an earlier start" in refused(tmp_path, sinks, options)

    run(tmp_path, TWO.replace("x.txt", "z.txt").replace('"x"', '"z"'), 1, options, x=2, y=4, z=1)


def test_sinks_without_names_that_change_places_are_refused(tmp_path: Path) -> None:
    first, second = TWO.replace(', name="x"', "").replace(', name="y"', "").splitlines()
    run(tmp_path, f"{first}\n{second}\n", 2, (), x=2, y=2)

    assert "sinks without names are called by their order" in refused(tmp_path, f"{second}\n{first}\n", ())
