"""One flipped byte anywhere in a data directory is without effect or reported with its place; never a wrong
answer.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from holdfast.core.errors import DamagedError
from holdfast.storage.directory import DataDirectory
from holdfast.storage.inspection import inspect, to_lines
from tests.repository import ROOT
from tests.storage.contents import checkpoint_chunks, epoch, fill

PAGE = 4096
Flip = tuple[str, int, int]  # file, offset, exclusive or


def flip(template: Path, flips: list[Flip]) -> list[str]:
    """Return a line for every flip, made in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.storage.flipping", str(template), str(template.parent / "scratch")],
        input="".join(f"{name} {offset} {mask}\n" for name, offset, mask in flips),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=3000,
        check=False,
    )
    lines = process.stdout.splitlines()
    assert process.returncode == 0, f"the process died of {lines[-1:]}: {process.stderr}"
    assert len(lines) == len(flips)
    return lines


def files(template: Path) -> dict[str, int]:
    found = {p.relative_to(template).as_posix(): p.stat().st_size for p in template.rglob("*") if p.is_file()}
    return {name: size for name, size in sorted(found.items()) if size}


def sample(template: Path, count: int, seed: int) -> list[Flip]:
    """Flips all over the files: a third where pages begin, because structure is there, some in each small
    file.
    """
    random = Random(seed)
    sizes = files(template)
    flips = []
    for _ in range(count):
        name = random.choice(["log/data.mdb", "state/data.mdb", "partitions/data.mdb"] * 5 + [*sizes])
        offset = random.randrange(sizes[name])
        if random.random() < 0.33:
            offset = min(sizes[name] - 1, offset // PAGE * PAGE + random.randrange(160))
        flips.append((name, offset, random.choice([1 << random.randrange(8), random.randrange(1, 256)])))
    return flips


def open_all(path: Path) -> None:
    with DataDirectory.open(path, create=True, wait=0) as directory:
        directory.partitions()


def wrong(lines: list[str]) -> list[str]:
    return [line for line in lines if " WRONG" in line]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "template"
    fill(path)
    return path


def test_a_sample_of_flipped_bytes_is_harmless_or_reported(template: Path) -> None:
    lines = flip(template, sample(template, 200, seed=1))

    assert wrong(lines) == []
    for name in ("log/", "state/", "partitions/"):
        assert sum(line.startswith(name) and " damaged: " in line for line in lines) > 10
    assert sum(" same" in line for line in lines) > 20


def test_the_newer_meta_page_damaged_is_no_way_back_to_the_older(template: Path) -> None:
    transaction = 16 + 24 + 2 * 48 + 8  # where the number of the transaction stands in a meta page
    flips = [
        (f"{name}/data.mdb", page * PAGE + transaction + byte, mask)
        for name in ("log", "state", "partitions")
        for page in (0, 1)
        for byte in (0, 1, 7)
        for mask in (1, 2, 8, 255)
    ]
    lines = flip(template, flips)

    assert wrong(lines) == []
    assert sum("commits are lost" in line for line in lines) > 2


@pytest.mark.nightly
def test_every_byte_of_the_small_files_may_flip(template: Path) -> None:
    small = {name: size for name, size in files(template).items() if size < PAGE}
    lines = flip(
        template,
        [(name, at, mask) for name, size in small.items() for at in range(size) for mask in (1, 128)],
    )

    assert wrong(lines) == []


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
def test_thousands_of_flipped_bytes_are_harmless_or_reported(template: Path, seed: int) -> None:
    assert wrong(flip(template, sample(template, 1000, seed=100 + seed))) == []


@pytest.mark.nightly
def test_every_byte_of_the_first_pages_may_flip(template: Path) -> None:
    flips = [
        (f"{name}/data.mdb", page * PAGE + at, 1 << (at % 8))
        for name in ("log", "state", "partitions")
        for page in range(2)
        for at in range(200)
    ]

    assert wrong(flip(template, flips)) == []


@pytest.mark.parametrize(
    "name", ["format", "marks", "partitions.marks", "log/data.mdb", "state/data.mdb", "partitions/data.mdb"]
)
def test_a_missing_file_is_damage_and_never_a_new_directory(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "data")
    (tmp_path / "data" / name).unlink()

    with pytest.raises(DamagedError, match="missing"):
        open_all(tmp_path / "data")
    assert any("missing" in problem for problem in inspect(tmp_path / "data").problems)


@pytest.mark.parametrize("name", ["log", "state", "partitions"])
def test_an_environment_of_another_directory_is_refused(tmp_path: Path, name: str) -> None:
    for folder in ("one", "two"):
        fill(tmp_path / folder)
    (tmp_path / "one" / name / "data.mdb").replace(tmp_path / "two" / name / "data.mdb")

    with pytest.raises(DamagedError, match="another data directory"):
        open_all(tmp_path / "two")


@pytest.mark.parametrize("name", ["log", "state", "partitions"])
def test_a_file_cut_short_is_damage(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "data")
    data = tmp_path / "data" / name / "data.mdb"
    size = data.stat().st_size
    for kept in (0, 100, PAGE, 2 * PAGE, size // 2):
        with data.open("r+b") as file:
            file.truncate(kept)
        with pytest.raises(DamagedError, match=name):
            open_all(tmp_path / "data")


def test_inspect_goes_on_behind_the_first_problem(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    data = tmp_path / "data" / "state" / "data.mdb"
    content = bytearray(data.read_bytes())
    for chunk in (checkpoint_chunks(1)[1], checkpoint_chunks(2)[1]):
        content[content.index(chunk[:500])] ^= 1
    data.write_bytes(content)

    report = inspect(tmp_path / "data")
    assert [problem.split(":")[0] for problem in report.problems] == [
        "damaged data at state, checkpoint 1, chunk 1, piece 0",
        "damaged data at state, checkpoint 2, chunk 1, piece 0",
    ]
    assert report.tail == 60
    assert sum(line.startswith("PROBLEM") for line in to_lines(report)) == 2


def test_an_append_that_the_log_has_lost_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with DataDirectory.open(path, create=True) as directory:
        directory.log.append([epoch(1)])
        older = (path / "log" / "data.mdb").read_bytes()
        directory.log.append([epoch(2)])
    (path / "log" / "data.mdb").write_bytes(older)

    with pytest.raises(DamagedError, match="commits are lost"):
        DataDirectory.open(path, create=False)
