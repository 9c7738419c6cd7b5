"""A data directory: a folder (storage.folder) with the log, the state and a cluster's partition log inside.

    log/ state/     the LMDB environments, made with the folder
    partitions/     one that only a member of a cluster needs: made when first asked for, with partitions.marks

Invariant: what was ever made is never taken for new, and its absence is damage.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from holdfast.core.errors import DamagedError
from holdfast.storage.environment import Reached
from holdfast.storage.files import write_error
from holdfast.storage.folder import DATA, FORMAT_VERSION, HOLDER_WAIT, Folder, marks_of
from holdfast.storage.lmdb_log import LmdbLog, open_log
from holdfast.storage.lmdb_partition_log import NAME, LmdbPartitionLog, open_partition_log
from holdfast.storage.lmdb_state import LmdbState, open_state
from holdfast.storage.marks import Marks


class DataDirectory:
    """An open data directory. Use as a context manager or call `close`."""

    def __init__(
        self, folder: Folder, log: LmdbLog, state: LmdbState, *, sync: bool = True, reached: Reached | None = None
    ) -> None:
        self.path = folder.path
        self.log = log
        self.state = state
        self._folder = folder
        self._sync = sync
        self._reached = reached
        self._partitions: tuple[LmdbPartitionLog, Marks] | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool,
        wait: float = HOLDER_WAIT,
        sync: bool = True,
        reached: Reached | None = None,
    ) -> DataDirectory:
        """Open a data directory, with `create` also a new one; wait up to `wait` seconds for its holder to
        end.

        For tests: `sync=False` is a planted bug, `reached` is told the points of a commit (see Environment).
        Raises UsageError, DirectoryInUseError, FormatError, DamagedError, DiskFullError, StorageError.
        """
        folder = Folder.open(Path(path), DATA, create=create, wait=wait)
        log = state = None
        try:
            log = open_log(folder.path / "log", folder.marks, folder.id, sync=sync, reached=reached)
            identity = (FORMAT_VERSION, folder.id)
            state = open_state(folder.path / "state", folder.marks, identity, sync=sync, reached=reached)
            folder.marks.sync()
        except BaseException as error:
            for opened in (log, state, folder):
                if opened is not None:
                    opened.close()
            if isinstance(error, OSError):
                raise write_error(folder.path, error.errno or 0, str(error)) from error
            raise
        return cls(folder, log, state, sync=sync, reached=reached)

    def partitions(self) -> LmdbPartitionLog:
        """Return the partition log, opened, or made, by the first call."""
        if self._partitions is None:
            try:
                self._partitions = self._open_partitions()
            except OSError as error:
                raise write_error(self.path, error.errno or 0, str(error)) from error
        return self._partitions[0]

    def _open_partitions(self) -> tuple[LmdbPartitionLog, Marks]:
        if not has_partitions(self.path):
            Marks.create(self.path / marks_of(NAME), (NAME,))
        marks = Marks(self.path / marks_of(NAME), (NAME,))
        try:
            path, directory = self.path / NAME, self._folder.id
            log = open_partition_log(path, marks, directory, sync=self._sync, reached=self._reached)
        except BaseException:
            marks.close()
            raise
        marks.sync()
        return log, marks

    def close(self) -> None:
        self.log.close()
        self.state.close()
        for opened in self._partitions or ():
            opened.close()
        self._folder.close()

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def has_partitions(path: Path) -> bool:
    """Whether a partition log was ever begun in a data directory."""
    if (path / marks_of(NAME)).exists():
        return True
    if (path / NAME).exists():
        raise DamagedError(marks_of(NAME), "the file is missing")
    return False
