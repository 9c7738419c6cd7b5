"""`holdfast chaos --workers N` on real processes: the verdict, the timeline, and that it can find something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.sequences import APPLICATION, SEQUENCES, play, prepare
from tests.cli.command import TICKER, holdfast, write, write_lines
from tests.repository import ROOT

LINES = 2_000
NIGHTLY_SEEDS = 20
PATIENCE = 600.0  # on a machine that does other things as well
# Small epochs, slow as long as faults are still to come: what a campaign would find out by itself, for other inputs.
PACE = "400:1024"
CLUSTER = ("--workers", "3", "--backups", "1")
# What each life of a worker begins anew: other outputs, once a record is worked off again.
HIDDEN_STATE = """
import holdfast as hf

seen = []


def count(line: str) -> list[str]:
    seen.append(line)
    return [f"{len(seen)} {line}"]


app = hf.Application("hidden")
app.source(hf.sources.TextFile("input.txt")).flat_map(count).sink(hf.sinks.TextFile("output.txt"))
"""


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def chaos(folder: Path, scenario: str, kills: int, seed: int = 1) -> list[str]:
    """The lines of a campaign that must have found nothing."""
    options = ("--kills", str(kills), "--scenario", scenario, "--seed", str(seed))
    done = holdfast(folder, "chaos", "app.py", *CLUSTER, *options, patience=PATIENCE, HOLDFAST_PACE=PACE)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "IDENTICAL"
    return lines


def test_a_cluster_is_killed_and_found_identical_with_a_timeline(tmp_path: Path) -> None:
    write(tmp_path, APPLICATION)
    write_lines(tmp_path, LINES, name="lines-1.txt")
    write_lines(tmp_path, LINES // 3, name="lines-0.txt")
    before = files(tmp_path)

    lines = chaos(tmp_path, "kills", 3)

    stroke = re.compile(r" +[\d.]+ s  kill .*outputs \+[\d.]+ s, pause [\d.]+ s")
    assert sum(stroke.fullmatch(line) is not None for line in lines) == 3, lines
    assert any(re.search(r"p50 [\d.]+ s, p90", line) for line in lines)
    assert any(re.search(r"records, [\d,]+ a second; .* cores", line) for line in lines)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("scenario", "seed", "said"),
    [
        ("pause", 1, "worker . comes back as a zombie"),
        pytest.param("pause", 3, "stop worker . until it is given up", marks=pytest.mark.nightly),
        ("partition", 3, "cut worker . from worker ."),
        pytest.param("wipe", 1, "wipe the disk of worker .", marks=pytest.mark.nightly),
        pytest.param("full-disk", 1, "no room for worker ., then start again", marks=pytest.mark.nightly),
        pytest.param("restart", 1, "stop everything, start again", marks=pytest.mark.nightly),
    ],
)
def test_a_cluster_is_found_identical_after_other_faults(scenario: str, seed: int, said: str, tmp_path: Path) -> None:
    write(tmp_path, APPLICATION)
    write_lines(tmp_path, LINES, name="lines-0.txt")

    lines = chaos(tmp_path, scenario, 1, seed)

    assert any(re.search(f"^ +[0-9.]+ s  {said} .*pause", line) for line in lines), lines


@pytest.mark.nightly
def test_a_live_application_is_killed_and_compared_with_its_log(tmp_path: Path) -> None:
    write(tmp_path, TICKER)

    lines = chaos(tmp_path, "workers", 2)

    assert any(re.search(r"sink 'sink': [\d,]+ outputs, [\d,]{4,} bytes, the same", line) for line in lines), lines


@pytest.mark.nightly
def test_what_is_kept_outside_the_state_of_a_cluster_is_found(tmp_path: Path) -> None:
    write(tmp_path, HIDDEN_STATE)
    write_lines(tmp_path, LINES)

    options = ("--kills", "6", "--scenario", "workers")
    done = holdfast(tmp_path, "chaos", "app.py", *CLUSTER, *options, patience=PATIENCE, HOLDFAST_PACE=PACE)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "first difference" in done.stdout
    assert done.stdout.splitlines()[-1] == "DIFFERS"


def test_an_input_that_is_too_short_for_a_cluster_is_said_to_be(tmp_path: Path) -> None:
    write(tmp_path, APPLICATION)
    write_lines(tmp_path, 3, name="lines-0.txt")

    options = ("--workers", "2", "--kills", "5")
    done = holdfast(tmp_path, "chaos", "app.py", *options, patience=PATIENCE, HOLDFAST_PACE="0:1024")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "give it more input" in done.stdout
    assert done.stdout.splitlines()[-1] == "IDENTICAL"


@pytest.mark.nightly
@pytest.mark.parametrize("name", SEQUENCES)
def test_a_sequence_of_crashes_and_recoveries_changes_nothing(name: str, tmp_path: Path) -> None:
    prepare(tmp_path, seed=1)

    assert play(tmp_path, SEQUENCES[name], seed=1) == ""


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 1 + NIGHTLY_SEEDS))
def test_a_cluster_is_found_identical_after_everything_at_once(seed: int, tmp_path: Path) -> None:
    write(tmp_path, APPLICATION)
    write_lines(tmp_path, 2 * LINES, name="lines-0.txt")

    chaos(tmp_path, "mixed", 12, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("example", ["fraud_alerts", "market_spread", "stock_prices"])
def test_examples_are_killed_as_clusters(example: str, tmp_path: Path) -> None:
    options = ("--workers", "4", "--backups", "1", "--kills", "10", "--scenario", "mixed")
    done = holdfast(tmp_path, "chaos", str(ROOT / "examples" / f"{example}.py"), *options, patience=PATIENCE)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "IDENTICAL"
