"""The mistakes of the first hour: each is one line that says what to do, with the exit code of its kind.

A list: what is refused before anything starts, what stops a run, some of it again in clusters. Elsewhere: what a data
directory refuses (test_refusals.py), wrong calls (test_options.py) and wrong APPs (test_loading.py).
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from holdfast.cli.main import main
from tests.cli.command import holdfast, write

APP = """
from dataclasses import dataclass

import holdfast as hf


def split(line):
    return line.split()


def count(word, seen):
    seen.append(word)
    return word, len(seen)


app = hf.Application("count")
(
    app.source(hf.sources.TextFile("input.txt"))
    .flat_map(split)
    .key_by(str)
    .stateful(count, state=list)
    .sink(hf.sinks.JsonLines("out.jsonl"))
)
"""
CLASS = "class Seen:\n    words = []\n    def append(self, word): self.words.append(word)\n    __len__ = lambda s: 1\n"
BAD_FIELD = "@dataclass\nclass Seen:\n    words: list = []\n"

# (what was written, what should have been, what is said)
REFUSED = {
    "a function with too few arguments": ("count(word, seen)", "count(word)", "give it two or three positional arg"),
    "a function with too many arguments": ("count(word, seen)", "count(a, b, ctx, d)", "give it two or three position"),
    "a step that takes one argument gets two": ("split(line)", "split(line, more)", "give a function that takes one"),
    "a call instead of a function": ("stateful(count,", "stateful(count('a', []),", "('a', 1) is not a function"),
    "a name instead of a function": (".key_by(str)", ".key_by('word')", "'word' is not a function; give one"),
    "a lambda as a stateful step": ("stateful(count,", "stateful(lambda w, s: w,", "a lambda has no name under which"),
    "no key": (".key_by(str)", "", "a state belongs to a key; put .key_by(…) before .stateful(…)"),
    "no state": (", state=list", "", "missing 1 required positional argument: 'state' (app.py:"),
    "an object instead of a factory": ("state=list", "state=[]", "use state=list or state=lambda: []"),
    "a state that can't change": ("state=list", "state=int", "take (message, state, ctx) and assign ctx.state"),
    "a factory that needs two arguments": ("state=list", "state=lambda a, b: []", "must take nothing, or the key"),
    "a factory that raises": ("state=list", "state=lambda: 1 / 0", "raised ZeroDivisionError"),
    "a factory that gives one object for all": ("state=list", "state=lambda x=[1]: x", "returns the same list every"),
    "a mutable default": ("count(word, seen)", "count(word, seen, all=[])", "all=[], one object for all calls, which"),
    "a mutable default of a plain step": ("split(line)", "split(line, cache={})", "keep what must be kept in"),
    "a list in the class": ("def split", f"{CLASS}def split", "Seen.words is one list for all keys"),
    "a list as a field's default": ("def split", f"{BAD_FIELD}def split", "use default_factory (app.py:"),
    "an async function": ("def split", "async def split", "split is async; steps are pure"),
    "an async stateful function": ("def count", "async def count", "count is async; steps are pure"),
    "a generator function as map": (".flat_map(split)", ".map(lambda m: (yield m))", "or use flat_map for several"),
    "ctx where there is none": ("split(line)", "split(line, ctx)", "give a function that takes one argument"),
    "on_error that is nothing": ("state=list", "state=list, on_error='ignore'", 'must be "stop", "skip" or a sink'),
    "on_timer with too few arguments": ("state=list", "state=list, on_timer=lambda n: 1", "give a function that takes"),
    "an argument that does not exist": ("state=list", "sate=list", "unexpected keyword argument 'sate' (app.py:"),
    "a forgotten sink": ('.sink(hf.sinks.JsonLines("out.jsonl"))', "", "has no sink; end a stream with .sink(…)"),
    "a path as a sink": ('hf.sinks.JsonLines("out.jsonl")', '"out.jsonl"', "give an object such as hf.sinks.JsonLines"),
    "a path as a source": ('hf.sources.TextFile("input.txt")', '"input.txt"', "give an object such as hf.sources.Text"),
    "a class as a sink": ('JsonLines("out.jsonl")', "JsonLines", "JsonLines is a class, which is not a sink"),
    "a class as a source": ('TextFile("input.txt")', "TextFile", "TextFile is a class, which is not a source"),
    "a source without a path": ('TextFile("input.txt")', "TextFile()", "sources.TextFile needs at least one path"),
    "a misspelt source": ("sources.TextFile", "sources.Textfile", "did you mean TextFile?"),
    "a misspelt sink": ("sinks.JsonLines", "sinks.JSONLines", "did you mean JsonLines?"),
    "a misspelt step": (".flat_map(", ".flatmap(", "did you mean flat_map?"),
    "something behind a sink": ('("out.jsonl"))', '("out.jsonl")).map(str)', ".sink(…) is the end of a stream"),
    "a branch that is not taken apart": (".key_by(str)", ".branch(bool).key_by(str)", "yes, no = stream.branch(…)"),
    "an application without a name": ('hf.Application("count")', "hf.Application()", "required positional argument"),
    "a name that is no folder's": ('hf.Application("count")', 'hf.Application("a/b")', "must be fit for a folder"),
    "two steps of one name": (".sink(", ".key_by(str).stateful(count, state=list).sink(", "give name= to one of them"),
    "a wrong path": ('"input.txt"', '"inptu.txt"', "input 'inptu.txt' is missing"),
    "a glob that matches nothing": ('"input.txt"', '"in/*.txt"', "input 'in/*.txt' matches no file"),
    "a folder as an input": ('"input.txt"', '"."', "is a directory; name its files, for example './*'"),
    "an output in a folder that is not there": ('"out.jsonl"', '"no/out.jsonl"', "its folder is missing"),
    "a folder as an output": ('"out.jsonl"', '"."', "is a folder; give the sink the path of a file"),
    "an output over an input": ('"out.jsonl"', '"input.txt"', "is an input of source 'source' and can't be an output"),
    "hf.main without a guard": ("app = hf", "hf.main(hf.Application('a'))\napp = hf", "if __name__ == '__main__':"),
}

STOPPED = {
    "a function that raises": ("seen.append(word)", "raise ValueError('oops')", "key 'a': ValueError: oops"),
    "an assertion": ("seen.append(word)", "assert not word", "key 'a': AssertionError"),
    "a message of several lines": ("seen.append(word)", "raise ValueError('one\\ntwo')", r"ValueError: one\ntwo"),
    "sys.exit": ("seen.append(word)", "raise SystemExit(0)", "count (app.py:12) raised SystemExit, which ends a proc"),
    "a list as a key": (".key_by(str)", ".key_by(lambda w: [w])", "a key can't be a list: keys are str, bytes, int"),
    "None as a key": (".key_by(str)", ".key_by(lambda w: None)", "a key can't be None: keys are"),
    "a number from flat_map": ("return line.split()", "return len(line)", "step 'split' failed at source 'source'"),
    "a message of unknown type": ("line.split()", "[__import__('threading').Lock()]", "messages must be values"),
    "a state of unknown type": ("seen.append(word)", "seen.append(print)", "its state is not a value: value[0]"),
    "a class that can't be found again": ("line.split()", "[type('C', (), {})()]", "step 'split' failed"),
    "an output that is no JSON": ("return word, len(seen)", "return {word}", "step 'sink' failed"),
    "a timer without on_timer": ("(word, seen)", "(word, seen, ctx)", "no on_timer= function that a timer could call"),
    "a record that is no JSON": ("TextFile", "JsonLines", "partition 'input.txt', offset 0: JSONDecodeError"),
    "bytes that are no text": ('"input.txt"', '"latin.txt"', "'utf-8' codec can't decode byte 0xe9"),
}
TIMER = ("seen.append(word)", "seen.append(ctx.set_timer(ctx.time + 1))")


def spoilt(wrong: tuple[str, str, str]) -> str:
    right, given, _ = wrong
    assert APP.count(right) >= 1, right
    text = APP.replace(right, given, 1)
    if given.startswith(("class Seen", "@dataclass")):
        text = text.replace("state=list", "state=Seen")
    return text.replace(*TIMER) if "ctx)" in given and "seen" in given else text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "input.txt").write_text("a b a\nc\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    return tmp_path


def the_line(text: str) -> str:
    """The error: one line, and no traceback."""
    (line,) = [line for line in text.splitlines() if line.startswith("holdfast: error")]
    assert "inside holdfast" not in line
    assert "Traceback" not in text
    return line


@pytest.mark.parametrize("mistake", REFUSED)
def test_it_is_refused_before_anything_starts(mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, spoilt(REFUSED[mistake]))

    assert main(["run", "app.py"]) == 2

    said = capsys.readouterr().err
    assert REFUSED[mistake][2] in the_line(said)
    assert said.count("\n") == 1
    assert not (folder / "holdfast-data").exists()


@pytest.mark.parametrize("mistake", STOPPED)
def test_it_stops_the_run_and_names_the_place(mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, spoilt(STOPPED[mistake]))

    assert main(["run", "app.py"]) == 3

    said = capsys.readouterr().err
    assert STOPPED[mistake][2] in the_line(said)
    assert said.splitlines()[-1] == the_line(said)


def test_the_application_of_this_list_runs_where_nothing_is_spoilt(folder: Path) -> None:
    write(folder, APP)

    assert main(["run", "app.py"]) == 0
    assert (folder / "out.jsonl").read_text() == '["a",1]\n["b",1]\n["a",2]\n["c",1]\n'


def test_tables_and_constants_are_no_hidden_state(folder: Path) -> None:
    text = APP.replace("count(word, seen)", "count(word, seen, table={'a': 1}, names=('b',))")
    constant = f"{CLASS.replace('words', 'WORDS')}\n    _cache = {{}}\n\n\ndef split"
    write(folder, text.replace("def split", constant).replace("state=list", "state=Seen"))

    assert main(["run", "app.py"]) == 0


def test_debug_shows_the_line_of_the_users_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, spoilt(STOPPED["a function that raises"]))

    assert main(["run", "app.py", "--debug"]) == 3

    assert 'app.py", line 12, in count' in capsys.readouterr().err


def test_a_port_in_use_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, APP)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        assert main(["coordinator", "app.py", "--listen", address, "--data", "d"]) == 2

    assert f"can't listen on {address}: Address already in use" in the_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "."], ". is a folder; name a file in it"),
        (["run", "input.txt"], "input.txt is no Python file"),
        (["run", "app.py", "--data", "input.txt"], "input.txt is not a folder"),
        (["run", "app.py", "--data", "input.txt/x"], "can't be made or opened: Not a directory"),
        (["run", "app.py", "--workers", "2", "--backups", "-1"], "how many copies, 0 or more"),
        (["inspect", "nowhere"], "there is no data directory at nowhere"),
        (["status", "--coordinator", "localhost"], "is not an address: HOST:PORT is"),
        (["status", "--coordinator", "127.0.0.1:1"], "127.0.0.1:1 can't be reached: Connection refused"),
        (["worker", "app.py", "--join", "nonsense"], "is not an address: HOST:PORT is"),
        (["coordinator", "app.py", "--listen", "0.0.0.0:0"], "can be reached from other machines, and there is no sec"),
    ],
)
def test_a_call_that_can_not_be_carried_out_is_one_line(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, APP)

    assert main(arguments) == 2

    assert said in the_line(capsys.readouterr().err)


@pytest.mark.parametrize("mistake", ["a wrong path", "a lambda as a stateful step"])
def test_a_cluster_refuses_it_as_one_worker_does(mistake: str, folder: Path) -> None:
    write(folder, spoilt(REFUSED[mistake]))

    done = holdfast(folder, "run", "app.py", "--workers", "2")

    assert done.returncode == 2
    assert REFUSED[mistake][2] in the_line(done.stderr)


@pytest.mark.parametrize("mistake", ["a list as a key", "a state of unknown type", "an output that is no JSON"])
def test_a_cluster_stops_at_it_as_one_worker_does(mistake: str, folder: Path) -> None:
    write(folder, spoilt(STOPPED[mistake]))

    done = holdfast(folder, "run", "app.py", "--workers", "2", "--backups", "1")

    assert done.returncode == 3
    assert STOPPED[mistake][2] in the_line(done.stderr)
