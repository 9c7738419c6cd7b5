"""Starting anew: deleting a data directory and the outputs that it owns, and nothing else.

Invariant: outputs go first, so that a file is never without a record of its owner; inside the directory what tells that
it is one goes last, so that an interrupted deletion can be repeated.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from holdfast.connectors.contract import as_source
from holdfast.core.application import Application
from holdfast.core.errors import DamagedError, DataDirectoryError, FormatError, UsageError
from holdfast.runtime.ledger import Ledger, refuse_missing_folders
from holdfast.storage.directory import DataDirectory
from holdfast.storage.folder import DATA, DirectoryLock, refuse_foreign

# What a cluster's folder holds beside its workers' directories.
APPLICATION = "application"
COORDINATOR = "coordinator"

# In the order of deletion.
_CONTENTS = (
    "log",
    "state",
    "partitions",
    "partitions.marks.new",
    "partitions.marks",
    "marks.new",
    "marks",
    "format.new",
    "format",
    "lock",
)


def start_anew(data: Path, app: Application) -> list[str]:
    """Delete what an application has there, its outputs too, once it is sure that it can start; notes for the user."""
    for step in app.sources:
        as_source(step.source).partitions()
    refuse_missing_folders([step for step in app.sinks if hasattr(step.sink, "paths")])
    return delete_cluster(data, app.name)


def delete(data: Path, application: str) -> list[str]:
    """Delete the data directory of this application and its outputs; return notes for the user."""
    if not data.exists():
        return []
    try:
        directory = DataDirectory.open(data, create=True)
    except (DamagedError, FormatError) as error:
        return _delete_unreadable(data, error)
    try:
        ledger = Ledger.read(directory.state)
        if ledger is not None and ledger.name != application:
            raise DataDirectoryError(
                f"{data} belongs to the application {ledger.name!r}, not to {application!r}, and is not deleted"
            )
        _refuse_others(data)
        for path in [] if ledger is None else ledger.outputs:
            if Path(path).is_file():
                Path(path).unlink()
        _delete_contents(data)
    finally:
        directory.close()
    data.rmdir()
    return []


def delete_cluster(data: Path, application: str) -> list[str]:
    """Delete what a cluster, or one worker, of this application has in this folder, and its outputs."""
    if not (data / APPLICATION).is_dir():
        return delete(data, application)
    notes = delete(data / APPLICATION, application)  # refuses what is another application's before anything is gone
    for path in (data / COORDINATOR, *data.glob("worker-*")):
        if path.is_dir():
            shutil.rmtree(path)
    return notes


def _delete_unreadable(data: Path, error: DataDirectoryError) -> list[str]:
    try:
        refuse_foreign(data, DATA, create=True)
    except DamagedError:
        pass  # it is ours, as far as it can be told
    except UsageError:
        raise
    _refuse_others(data)
    lock = DirectoryLock(data, wait=0)
    try:
        _delete_contents(data)
    finally:
        lock.release()
    data.rmdir()
    return [f"note: {data} could not be read ({error}); it is deleted, its output files could not be told and are left"]


def _refuse_others(data: Path) -> None:
    """Before anything is deleted: what somebody else put there would be left without its folder."""
    others = sorted({path.name for path in data.iterdir()} - set(_CONTENTS))
    if others:
        raise UsageError(f"{data} also holds {', '.join(others)}, which --fresh does not delete: move it away first")


def _delete_contents(data: Path) -> None:
    for name in _CONTENTS:
        path = data / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
