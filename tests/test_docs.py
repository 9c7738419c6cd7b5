"""The Python blocks of the documents run as they stand, and every command and relative link in them exists.

A block is a program of its own; functions named test_* in it are called. The quick start is followed line by line.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark import ParameterSet

from holdfast.cli import options
from holdfast.cli.main import COMMANDS as KNOWN
from tests.repository import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[a-z]*/README.md")])
QUICK_START = ROOT / "docs" / "quick-start.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a command line may begin with; the rest of the line is then holdfast's.
HOLDFAST = re.compile(r"^(?:holdfast|python [\w/.-]+\.py)(?= [a-z])")
WITH_PROGRAMS = [path for path in DOCUMENTS if BLOCK.search(path.read_text(encoding="utf-8"))]


def programs() -> Iterator[ParameterSet]:
    for document in WITH_PROGRAMS:
        text = document.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            yield pytest.param(document, line, match.group(1), id=f"{document.name}:{line}")


@pytest.mark.parametrize(("document", "line", "program"), list(programs()))
def test_a_program_in_a_document_runs(
    document: Path, line: int, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A module of its own: classes of values are found through the module that they name.
    module = ModuleType(f"document_{document.stem.replace('-', '_')}_{line}")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    exec(compile("\n" * (line - 1) + program, document.name, "exec"), vars(module))

    for name, function in list(vars(module).items()):
        if name.startswith("test_"):
            function()


def test_the_documents_hold_programs_to_run() -> None:
    named = {document.name for document in WITH_PROGRAMS}

    assert named >= {"README.md", "index.md", "quick-start.md", "tutorial.md", "testing.md", "writing-applications.md"}


def commands() -> Iterator[ParameterSet]:
    for document in DOCUMENTS:
        for block in COMMANDS.findall(document.read_text(encoding="utf-8")):
            for line in block.splitlines():
                command = re.split(r"  #| [|>] | && ", line)[0].strip()
                if HOLDFAST.match(command):
                    yield pytest.param(command, id=f"{document.stem}: {command}")


@pytest.mark.parametrize("command", list(dict.fromkeys(commands())))
def test_a_command_in_a_document_is_understood(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "python":
        arguments = arguments[1:]
        if arguments[0] not in KNOWN:
            return  # a script with arguments of its own

    options.parse(arguments, with_app=program == "holdfast")


def test_the_quick_start_leads_to_its_result_line_by_line(tmp_path: Path) -> None:
    text = QUICK_START.read_text(encoding="utf-8")
    install, *blocks = COMMANDS.findall(text)
    assert "pip install" in install
    script = "\n".join(line for block in blocks for line in block.splitlines() if not line.startswith("pip install"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "PYTHONHASH"))}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env=kept | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,  # a dozen processes one after the other, on a machine that may have others to run
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert shown in done.stdout
    assert "\n3 kills, " in done.stdout
    assert "\nIDENTICAL\n" in done.stdout
    assert "2 passed" in done.stdout


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    named = re.findall(r"[:-] ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}

    assert sorted(named) == sorted(pages)


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the site is built where the extra docs is installed: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "book" in (tmp_path / "site" / "quick-start.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_recipe_that_the_readme_names_is_in_the_makefile() -> None:
    recipes = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))

    assert named - recipes == set()
    assert named >= {"demo", "test"}
