"""The wheel holds the whole package, and what is installed from it works outside the checkout.

Packaging tools leave folders out without a word, so the wheel is compared with the tree.
"""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.repository import PACKAGE, ROOT


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The build backend is installed with the extra `test`, so nothing is downloaded here.
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package_once_and_nothing_else(wheel: Path) -> None:
    expected = sorted(
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    held = sorted(name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name)

    assert held == expected
    assert "holdfast/py.typed" in held


def test_the_wheel_carries_the_licence_and_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]

    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert "holdfast = holdfast.cli.main:run" in archive.read(entry_points).decode()


@pytest.mark.nightly
def test_an_installed_wheel_runs_an_application_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, folder=tmp_path)
    application = (ROOT / "examples" / "word_count.py").read_text(encoding="utf-8")
    (tmp_path / "word_count.py").write_text(application, encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sentences.txt").write_text("a rose is a rose\n", encoding="utf-8")

    run(binaries / "holdfast", "run", "word_count.py:app", folder=tmp_path)

    assert (tmp_path / "counts.jsonl").read_text(encoding="utf-8") == (
        '["a",1]\n["rose",1]\n["is",1]\n["a",2]\n["rose",2]\n'
    )
