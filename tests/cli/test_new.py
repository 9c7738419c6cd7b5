"""`holdfast new`: what it writes runs, tests itself, and is written over nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import environment, holdfast, last_line


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    made = holdfast(folder, "new", "my shop")
    assert made.returncode == 0, made.stderr
    assert "python app.py run" in made.stdout
    return folder / "my shop"


def test_a_new_project_runs_as_it_stands(project: Path) -> None:
    done = holdfast(project, "run", program=("app.py",))

    assert done.returncode == 0, done.stderr
    totals = (project / "totals.jsonl").read_text().splitlines()
    assert totals[:3] == [
        '{"customer":"ann","orders":1,"cents":500}',
        '{"customer":"bob","orders":1,"cents":300}',
        '{"customer":"ann","orders":2,"cents":750}',
    ]
    assert len(totals) == len((project / "orders.jsonl").read_text().splitlines())
    assert (project / "holdfast-data" / "my shop").is_dir()


def test_a_new_project_has_enough_to_be_killed(project: Path) -> None:
    done = holdfast(project, "chaos", "--kills", "3", program=("app.py",))

    assert done.returncode == 0, done.stderr
    assert "3 kills, " in done.stdout
    assert done.stdout.endswith("IDENTICAL\n")


def test_the_test_of_a_new_project_passes_and_fails_with_its_application(project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]

    def tested() -> int:
        return subprocess.run(command, cwd=project, env=environment(), capture_output=True, check=False).returncode

    right = (project / "app.py").read_text()
    assert tested() == 0
    (project / "app.py").write_text(right.replace('account.cents += order["cents"]', "account.cents += 1000"))
    assert tested() == 1
    (project / "app.py").write_text(right)


def test_a_new_project_is_typed_and_tidy(project: Path) -> None:
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "."]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")

    done = holdfast(tmp_path, "new", "full")

    assert done.returncode == 2
    assert last_line(done.stderr) == "holdfast: error: full is not empty; give a new folder, nothing is written over"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("name", "said"), [("a:b", "a:b"), ("file/x", "file/x can't be made: Not a directory"), ("", "not empty")]
)
def test_a_name_that_can_not_be_is_one_line(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = holdfast(tmp_path, "new", name)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
