"""Starting anew deletes a data directory with all that may stand in it."""

from __future__ import annotations

from pathlib import Path

from holdfast.runtime import fresh
from holdfast.storage.directory import DataDirectory
from holdfast.storage.folder import DATA


def test_a_directory_of_a_clusters_member_is_deleted_whole(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data", create=True) as directory:
        directory.partitions().adopt(b"formation", 1, [(0, 0)])

    assert fresh.delete(tmp_path / "data", "app") == []
    assert list(tmp_path.iterdir()) == []


def test_everything_that_a_data_directory_may_hold_is_known(tmp_path: Path) -> None:
    for name in DATA.names - {"log", "state", "partitions"}:
        (tmp_path / name).touch()
    fresh._delete_contents(tmp_path)

    assert list(tmp_path.iterdir()) == []
