"""After a power loss at any moment what was acknowledged is there, and nothing else but perhaps the call
under way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.repository import ROOT
from tests.storage.contents import fill
from tests.storage.images import Disk, choose, events

OPERATIONS = 200
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler for the shim that logs LMDB's writes")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the images of one run read as."""

    images: int
    wrong: list[str]
    under_way: int  # images that hold the call that had not returned


def child(*arguments: str, stdin: str = "", **environment: str) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-m", "tests.storage.crashing", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        timeout=3000,
        check=False,
    )
    assert process.returncode == 0, f"the process died: {process.stdout[-500:]} {process.stderr[-2000:]}"
    return process.stdout.splitlines()


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([COMPILER or "cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def explore(folder: Path, shim: Path, *, images: int, seed: int, sync: bool = True) -> Verdict:
    """Work under the shim, then build images of what the disk may have held and read each."""
    fill(folder / "before")
    for copy in ("worked", "expected"):
        shutil.copytree(folder / "before", folder / copy)
    expected = child("expect", str(folder / "expected"), str(OPERATIONS), str(seed))
    arguments = ("work", str(folder / "worked"), str(OPERATIONS), str(seed), "sync" if sync else "no-sync")
    child(*arguments, LD_PRELOAD=str(shim), HOLDFAST_SHIM_LOG=str(folder / "log"))

    log = list(events(folder / "log"))
    random = Random(seed)
    disk = Disk(folder / "before", folder / "worked")
    done = under_way = 0
    wrong = []
    points = choose(log, images, random)
    for start in range(0, images, 50):  # some at a time, so that they need little space
        folders, acknowledged = [], []
        for nth, point in enumerate(points[start : start + 50]):
            for event in log[done:point]:
                disk.apply(event)
            done = max(done, point)
            folders.append(folder / f"image-{nth}")
            acknowledged.append(disk.acknowledged)
            disk.save(folders[-1], random, log[point])
        answers = child("read", stdin="".join(f"{image}\n" for image in folders))
        for number, answer, point in zip(acknowledged, answers, points[start : start + 50], strict=True):
            under_way += answer in expected[number + 1 : number + 2]
            if answer not in expected[number : number + 2]:
                wrong.append(f"event {point}, {number} acknowledged: {answer}")
    return Verdict(images, wrong, under_way)


def test_no_power_loss_takes_what_was_acknowledged(tmp_path: Path, shim: Path) -> None:
    verdict = explore(tmp_path, shim, images=150, seed=1)

    assert verdict.wrong == []
    assert 0 < verdict.under_way < verdict.images, "the power went at moments that matter"


def test_a_missing_flush_is_found_by_the_images(tmp_path: Path, shim: Path) -> None:
    verdict = explore(tmp_path, shim, images=50, seed=2, sync=False)

    assert len(verdict.wrong) > 10


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 110))
def test_no_power_loss_takes_what_was_acknowledged_in_thousands_of_images(
    tmp_path: Path, shim: Path, seed: int
) -> None:
    assert explore(tmp_path, shim, images=500, seed=seed).wrong == []
