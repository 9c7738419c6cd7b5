"""Finding the application: what is wrong with APP is said in one line with the place of the mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.loading import load
from holdfast.cli.main import main
from tests.cli.command import holdfast, last_line, write
from tests.repository import ROOT

MINIMAL = """
import holdfast as hf
app = hf.Application("minimal")
app.source(hf.sources.Memory(["a"])).sink(hf.sinks.TextFile("output.txt"))
"""


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        (None, "nowhere.py:app", "there is no file nowhere.py"),
        (None, "no_such_module_here:app", "there is no module 'no_such_module_here'"),
        (None, ":app", "APP is path/to/file.py:app or module:app"),
        ("x = 1\n", "loaded_a.py:app", "has no 'app'"),
        ("app = 1\n", "loaded_b.py:app", "is no hf.Application but 'int'"),
        ("x = 1\n", "loaded_c.py", "defines no hf.Application"),
        ("def f(:\n", "loaded_d.py", "SyntaxError: invalid syntax (loaded_d.py:1)"),
        ("import no_such_thing\n", "loaded_e.py", "No module named 'no_such_thing' (loaded_e.py:1)"),
        ("\n\n1 / 0\n", "loaded_f.py", "ZeroDivisionError: division by zero (loaded_f.py:3)"),
        ("raise SystemExit(5)\n", "loaded_g.py", "SystemExit: 5 (loaded_g.py:1)"),
        (MINIMAL.replace('"minimal"', '""'), "loaded_h.py", "loaded_h.py:3: "),
        (MINIMAL + "other = hf.Application('other')\n", "loaded_i.py:missing", "it has app, other"),
        ("import holdfast as hf\na, b = map(hf.Application, 'ab')\n", "loaded_j.py", "say which, loaded_j.py:a"),
        ("import holdfast as hf\napp = hf.Application('empty')\n", "loaded_k.py", "has no source"),
    ],
)
def test_a_wrong_app_is_refused_in_one_line_with_its_place(
    text: str | None,
    target: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    if text is not None:
        write(tmp_path, text, target.partition(":")[0])

    code = main(["run", target])

    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("holdfast: error: ")
    assert error.count("\n") == 1
    assert said in error


def test_debug_shows_the_traceback_of_a_module_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "\n1 / 0\n", "loaded_debug.py")

    assert main(["run", "loaded_debug.py", "--debug"]) == 2
    assert 'loaded_debug.py", line 2, in <module>' in capsys.readouterr().err


def test_a_module_that_is_only_a_file_here_is_hinted_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sub", MINIMAL, "hinted.py")

    assert main(["run", "sub/hinted:app"]) == 2
    assert "did you mean sub/hinted.py:app?" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["app.py:app", "app.py", "app:app", "app"])
def test_an_app_is_found_by_file_and_by_module(target: str, tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)

    done = holdfast(tmp_path, "run", target)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output.txt").read_text() == "a\n"


def test_python_is_told_apart_when_it_leaves_assertions_out(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)

    done = holdfast(tmp_path, "run", "app.py", program=("-O", "-m", "holdfast"))

    assert done.returncode == 2
    assert "run without -O" in last_line(done.stderr)


def test_an_interpreter_that_ignores_the_environment_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    program = (
        "-I",
        "-c",
        "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from holdfast.cli.main import run; run()",
    )

    done = holdfast(tmp_path, ":".join(_paths()), "run", "app.py", program=program)

    assert done.returncode == 2
    assert "run without -E and -I" in last_line(done.stderr)


def _paths() -> list[str]:
    return [str(ROOT), *(path for path in sys.path if "site-packages" in path)]


def test_a_file_that_was_changed_within_the_same_second_is_loaded_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "loaded_twice.py"
    names = []
    for name in ("minimal", "maximal"):
        path.write_text(MINIMAL.replace("minimal", name))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        names.append(load(f"{path}:app").name)

    assert names == ["minimal", "maximal"]


INTERRUPTED = """
import os, signal
from holdfast.cli import interpreter, main
signal.signal(signal.SIGINT, signal.SIG_IGN if {ignored} else signal.default_int_handler)
interpreter.begin = lambda: os.kill(os.getpid(), signal.SIGINT)
main.run()
"""


def test_a_ctrl_c_while_modules_are_loaded_ends_without_a_word() -> None:
    code = INTERRUPTED.format(ignored=False)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_who_was_started_without_ctrl_c_gets_none_while_modules_are_loaded() -> None:
    code = INTERRUPTED.format(ignored=True)

    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("holdfast ")


def test_a_ctrl_c_while_the_application_is_loaded_ends_without_a_word(tmp_path: Path) -> None:
    # Tests may run where Ctrl-C is ignored, as what a shell starts in the background does.
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    write(tmp_path, f"import os, signal\n{heard}\nos.kill(os.getpid(), signal.SIGINT)\n")

    done = holdfast(tmp_path, "run", "app.py")

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
