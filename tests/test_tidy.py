"""The house style, where a program keeps it; the linter keeps the rest (print, code in comments, open ends).

Each rule is a function from a file to complaints, so that every rule is also shown a bad example here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.repository import FOLDERS, ROOT, PythonFile, imported_modules, package_files, python_files

FUNCTION_LINES_MAX = 70  # what fits on a screen; the docstring is not counted
FILE_LINES_MAX = 500  # a file that reaches this has become two
DOCSTRING_LINES_MAX = 15
DOCSTRING_LINES_MAX_OF = {"holdfast/core/errors.py": 25}  # draws the tree of all errors
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "misc"}  # names of no concern in particular
TEST_NAME_WORDS_MIN = 3  # two words name a subject, a behaviour needs a verb as well
TEXT_ENDINGS = {".md", ".py", ".toml", ".txt", ".jsonl", ".json", ".typed", ""}
MACHINE_PATHS = re.compile(r"(?<![\w./~}])/(?:work|root|home)(?!\w)")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[PythonFile], Iterator[str]]


def long_functions(file: PythonFile) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, Function):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > FUNCTION_LINES_MAX:
                yield f"line {node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def long_files(file: PythonFile) -> Iterator[str]:
    lines = file.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines, at most {FILE_LINES_MAX}"


def docstrings(file: PythonFile) -> Iterator[str]:
    docstring = ast.get_docstring(file.tree)
    limit = DOCSTRING_LINES_MAX_OF.get(file.path, DOCSTRING_LINES_MAX)
    if not docstring and file.text.strip():
        yield "no module docstring: what does this file own?"
    elif docstring and (lines := docstring.count("\n") + 1) > limit:
        yield f"the module docstring has {lines} lines, at most {limit}; essays belong into docs/"


def file_names(file: PythonFile) -> Iterator[str]:
    for part in file.module.split("."):
        if part in BANNED_MODULES:
            yield f"{part!r} says nothing about what is inside"


def named_behaviours(file: PythonFile) -> Iterator[str]:
    if not Path(file.path).name.startswith("test_"):
        return
    for node in ast.walk(file.tree):
        if isinstance(node, Function) and node.name.startswith("test_"):
            words = [word for word in node.name.split("_")[1:] if word]
            if len(words) < TEST_NAME_WORDS_MIN:
                yield f"line {node.lineno}: {node.name} does not say which behaviour it expects"


RULES: tuple[Rule, ...] = (long_functions, long_files, docstrings, file_names, named_behaviours)


def machine_paths(text: str) -> list[str]:
    return [match.group() for match in MACHINE_PATHS.finditer(text)]


def text_files() -> list[Path]:
    """Every file that a reader of the repository sees, without what is built or downloaded."""
    top = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]  # a file in a work tree beside
    below = [path for folder in (*FOLDERS, "docs", ".ci") for path in (ROOT / folder).rglob("*")]
    ours = [path for path in top + below if path.is_file() and path.suffix in TEXT_ENDINGS]
    return sorted(path for path in ours if not {"__pycache__", "input"} & set(path.parts))


def unreachable(files: tuple[PythonFile, ...], everything: tuple[PythonFile, ...]) -> list[str]:
    """Modules of the package that nothing loads: no import, no import by name, no entry point."""
    wanted: set[str] = {"holdfast.cli.main"}  # the entry point in pyproject.toml
    for file in everything:
        wanted.update(name for _, name in imported_modules(file.tree) if name != file.module)
        wanted.update(text for text in strings(file.tree) if text.startswith("holdfast."))
    modules = {file.module for file in files if not file.path.endswith(("__init__.py", "__main__.py"))}
    return sorted(modules - wanted)


def strings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    complaints = [f"{file.path}: {text}" for file in python_files() for text in rule(file)]

    assert not complaints, "\n".join(complaints)


def test_no_module_is_left_unused() -> None:
    unused = unreachable(package_files(), python_files())

    assert not unused, "\n".join(unused)


def test_no_path_of_a_developers_machine_is_written_down() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): paths
        for path in text_files()
        if (paths := machine_paths(path.read_text(encoding="utf-8", errors="replace")))
    }

    assert found == {}


BAD: dict[Rule, str] = {
    long_functions: "def f():\n" + "    x = 1\n" * 71,
    long_files: "x = 1\n" * 501,
    docstrings: '"""' + "why\n" * 16 + '"""\n',
    named_behaviours: "def test_it_works(): pass\ndef test_basic(): pass\n",
}
GOOD: dict[Rule, str] = {
    long_functions: 'def f():\n    """' + "why\n" * 100 + '"""\n' + "    x = 1\n" * 70,
    long_files: "x = 1\n" * 500,
    docstrings: '"""' + "why\n" * 14 + '"""\n',
    named_behaviours: "def test_a_retry_is_dropped(): pass\n",
}


def example(text: str, path: str = "tests/test_example.py") -> PythonFile:
    return PythonFile(path, text, ast.parse(text))


@pytest.mark.parametrize("rule", list(BAD), ids=lambda rule: rule.__name__)
def test_a_rule_complains_about_a_bad_file_only(rule: Rule) -> None:
    assert list(rule(example(BAD[rule]))) != []
    assert list(rule(example(GOOD[rule]))) == []


def test_a_file_without_docstring_and_one_named_for_nothing_are_refused() -> None:
    assert list(docstrings(example("x = 1\n"))) != []
    assert list(file_names(example("", "holdfast/core/" + "utils.py"))) != []


def test_an_unused_module_and_a_module_that_only_imports_itself_are_found() -> None:
    used = example("", "holdfast/core/used.py")
    unused = example("import holdfast.core.unused", "holdfast/core/unused.py")
    user = example("from holdfast.core import used", "holdfast/core/user.py")
    script = example("NAME = 'holdfast.core.user'", "chaos/script.py")

    assert unreachable((used, unused, user), (used, unused, user, script)) == ["holdfast.core.unused"]


def test_machine_paths_are_told_from_paths_inside_the_repository() -> None:
    assert machine_paths("see " + "/ro" + "ot/x and (" + "/ho" + "me/someone) or " + "/wo" + "rk") != []
    assert machine_paths("src/root/x, /workers, ~/home/x, $HOME/work") == []
