"""What goes wrong while running: one line, exit code 3, nothing lost, and on it goes once the cause is gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import COUNT, append, counted, holdfast, last_line, write, write_lines

JSON = """
import holdfast as hf


def amount(order: dict) -> int:
    return order["amount"]


app = hf.Application("orders")
app.source(hf.sources.JsonLines("orders.jsonl")).map(amount).sink(hf.sinks.JsonLines("amounts.jsonl"))
"""


def test_a_record_that_cannot_be_decoded_stops_before_it(tmp_path: Path) -> None:
    write(tmp_path, JSON)
    orders = tmp_path / "orders.jsonl"
    append(orders, '{"amount": 1}\n' * 70 + "no json\n" + '{"amount": 2}\n')

    done = holdfast(tmp_path, "run", "app.py")

    assert done.returncode == 3
    assert "step 'source' failed at source 'source', partition 'orders.jsonl', offset 70" in last_line(done.stderr)
    assert (tmp_path / "amounts.jsonl").read_text() == "1\n" * 70


def test_a_function_that_raises_is_named_with_its_place_and_no_traceback(tmp_path: Path) -> None:
    write(tmp_path, JSON)
    append(tmp_path / "orders.jsonl", '{"amount": 1}\n' * 70 + '{"price": 2}\n')

    done = holdfast(tmp_path, "run", "app.py")
    with_traceback = holdfast(tmp_path, "run", "app.py", "--debug")

    assert done.returncode == with_traceback.returncode == 3
    assert "step 'amount' failed" in last_line(done.stderr)
    assert "KeyError: 'amount'" in last_line(done.stderr)
    assert "Traceback" not in done.stderr
    assert "Traceback" in with_traceback.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("full", ["data", "output"])
def test_a_full_disk_ends_the_run_and_it_goes_on_when_there_is_space(
    full: str, tmp_path: Path, small_disk: Path
) -> None:
    text = COUNT
    data = "small/data" if full == "data" else "data"
    if full == "output":
        text = COUNT.replace("output.jsonl", "small/output.jsonl")
    write(tmp_path, text)
    write_lines(tmp_path, 150_000)
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast.write_bytes(bytes(free - (3 << 20 if full == "data" else 1 << 20)))

    done = holdfast(tmp_path, "run", "app.py", "--data", data)

    assert done.returncode == 3, done.stderr
    assert "no space left" in last_line(done.stderr)
    ballast.unlink()
    again = holdfast(tmp_path, "run", "app.py", "--data", data)
    assert again.returncode == 0, again.stderr
    output = small_disk / "output.jsonl" if full == "output" else tmp_path / "output.jsonl"
    assert output.read_bytes() == counted(tmp_path)
