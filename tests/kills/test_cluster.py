"""Real clusters under SIGKILL: workers, all at once, the coordinator, the supervisor; outputs as if nobody had."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.cluster_kills import prepare, run

LINES = 20_000
NIGHTLY_SEEDS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    prepare(made, lines=LINES, seed=0)
    return made


@pytest.mark.parametrize(("workers", "backups", "seed"), [(3, 1, 1), (2, 0, 2)])
def test_a_killed_cluster_writes_what_one_worker_writes(folder: Path, workers: int, backups: int, seed: int) -> None:
    story = run(folder, workers=workers, backups=backups, kills=5, seed=seed)

    assert story.identical, (story, (folder / f"cluster-{seed}.log").read_text()[-4000:])
    assert story.struck, "it had ended before anything was killed"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10, 10 + NIGHTLY_SEEDS))
def test_clusters_killed_all_night_write_what_one_worker_writes(folder: Path, seed: int) -> None:
    story = run(folder, workers=2 + seed % 3, backups=seed % 2, kills=10, seed=seed)

    assert story.identical, (story, (folder / f"cluster-{seed}.log").read_text()[-4000:])
