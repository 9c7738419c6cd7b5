"""The Python blocks of the documents run as they stand, and every command and relative link in them exists.

A block is a program of its own; functions named test_* in it are called.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark import ParameterSet

from tests.repository import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[a-z]*/README.md")])
PROGRAMS = ("connectors.md", "embedding.md", "writing-applications.md", "writing-connectors.md")
WITH_PROGRAMS = [ROOT / "README.md", *(ROOT / "docs" / name for name in PROGRAMS)]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


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
    assert all(BLOCK.search(document.read_text(encoding="utf-8")) for document in WITH_PROGRAMS)


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
