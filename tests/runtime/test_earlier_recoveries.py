"""What the coordinator keeps of recoveries beside its record, and what nodes are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.recovery.recoveries import Kind, Recovery
from holdfast.runtime.earlier_recoveries import META, earlier_recoveries, keep_recoveries
from holdfast.runtime.node_names import directory_names, named
from holdfast.storage.directory import DataDirectory

OVER = Recovery(["node b is lost", "no worker answers"], Kind.FAILURE, 10, 2, 13, 14, 15, 16)
OPEN = Recovery(["node c is lost"], Kind.FAILURE, 20)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with DataDirectory.open(tmp_path / "worker-3", create=True) as directory:
        yield directory


def test_recoveries_that_are_over_survive_a_restart(directory: DataDirectory) -> None:
    assert earlier_recoveries(directory.state) == []

    keep_recoveries(directory.state, [OVER, OPEN])

    assert earlier_recoveries(directory.state) == [OVER]


def test_a_record_that_is_not_understood_holds_none(directory: DataDirectory) -> None:
    directory.state.put_meta(META, [{"kind": "of another time"}])

    assert earlier_recoveries(directory.state) == []


def test_nodes_are_called_by_their_directories(directory: DataDirectory, tmp_path: Path) -> None:
    node = directory.state.identity().directory
    (tmp_path / "worker-4").mkdir()

    names = directory_names(tmp_path)

    assert names == {node: "worker-3"}
    assert named(f"waiting for node {node} or node {'0' * 32}", names) == f"waiting for worker-3 or node {'0' * 32}"
