"""What the tests about the repository itself read: its Python files, parsed once, and their places."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "holdfast"
# Real folders only: the links at the root lead into the package and would show its files twice.
FOLDERS = ("holdfast", "tests", "examples", "benchmarks", "chaos")


@dataclass(frozen=True, slots=True)
class PythonFile:
    path: str  # relative to the repository, with "/"
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The dotted name; a package's is that of its folder."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def python_files() -> tuple[PythonFile, ...]:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return tuple(_parsed(path) for path in paths if "__pycache__" not in path.parts)


def package_files() -> tuple[PythonFile, ...]:
    return tuple(file for file in python_files() if file.path.startswith("holdfast/"))


def _parsed(path: Path) -> PythonFile:
    text = path.read_text(encoding="utf-8")
    return PythonFile(path.relative_to(ROOT).as_posix(), text, ast.parse(text, str(path)))


def imported_modules(tree: ast.Module) -> list[tuple[int, str]]:
    """Every dotted name that an import statement anywhere in the file could load, with its line.

    `from a.b import c` gives both `a.b` and `a.b.c`, because c may be a module; `from holdfast import c`
    gives `holdfast.c` alone, because the package itself is loaded by every import below it.
    """
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not used here"
            base = node.module or ""
            if base != PACKAGE.name:
                found.append((node.lineno, base))
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found
