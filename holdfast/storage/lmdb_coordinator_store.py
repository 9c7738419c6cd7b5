"""The coordinator's store on disk: a folder of its own (storage.folder) with one LMDB environment
(docs/data-format.md says every key and value).

Invariant: every change is one transaction that also writes the head, which counts commits and says the life and how
long the record is, so that a record that is missing, or older than one that was there, is noticed.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import cast

from holdfast.core.errors import DamagedError
from holdfast.storage.environment import Environment, Reached, Transaction
from holdfast.storage.files import write_error
from holdfast.storage.folder import COORDINATOR, FORMAT_VERSION, HOLDER_WAIT, Folder
from holdfast.storage.marks import Marks
from holdfast.storage.packing import pack, unpack

NAME = "coordinator"
ABOUT = b"about"  # "identity" -> [format version, folder]; "head" -> the head; "record" -> the record


@dataclass(frozen=True, slots=True)
class Head:
    """What changes in every transaction."""

    commits: int = 0  # rises by one
    life: int = 0
    size: int | None = None  # of the record, None before the first


class LmdbCoordinatorStore:
    """An open store. See storage.coordinator_store for the contract. Use as a context manager or call `close`."""

    def __init__(self, folder: Folder, environment: Environment) -> None:
        self._folder = folder
        self._environment = environment
        self._head = Head()
        self._record: bytes | None = None
        identity = [FORMAT_VERSION, folder.id]
        if environment.created:
            with environment.read() as transaction:
                self._look(transaction, identity)
        else:
            environment.create(lambda transaction: transaction.put(ABOUT, b"identity", pack(identity)))
        noted = folder.marks.read(NAME).values
        if noted is not None and noted[0] > self._head.commits:
            raise DamagedError(NAME, f"it held {noted[0]} commits, now it has {self._head.commits}: commits are lost")
        self._write(replace(self._head, life=self._head.life + 1), None)
        folder.marks.sync()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool,
        wait: float = HOLDER_WAIT,
        sync: bool = True,
        reached: Reached | None = None,
    ) -> LmdbCoordinatorStore:
        """Open the store at `path`, with `create` also a new one; begins a life.

        For tests: `sync=False` is a planted bug, `reached` is told the points of a commit (see Environment).
        Raises UsageError, DirectoryInUseError, FormatError, DamagedError, DiskFullError, StorageError.
        """
        folder = Folder.open(Path(path), COORDINATOR, create=create, wait=wait)
        environment = None
        try:
            mark = folder.marks.read(NAME)
            environment = Environment(folder.path / NAME, (ABOUT,), mark, sync=sync, reached=reached)
            return cls(folder, environment)
        except BaseException as error:
            for opened in (environment, folder):
                if opened is not None:
                    opened.close()
            if isinstance(error, OSError):
                raise write_error(folder.path, error.errno or 0, str(error)) from error
            raise

    def _look(self, transaction: Transaction, identity: list[object]) -> None:
        if unpack(transaction.need(ABOUT, b"identity", "identity")) != identity:
            raise DamagedError(NAME, "it belongs to another directory")
        packed = transaction.get(ABOUT, b"head", "head")
        if packed is not None:  # else the creation was killed before the first life
            self._head = Head(*cast("list[int]", unpack(packed)))
        if self._head.size is not None:
            self._record = transaction.need(ABOUT, b"record", "record")
            if len(self._record) != self._head.size:
                raise DamagedError(f"{NAME}, record", f"{len(self._record)} bytes instead of {self._head.size}")

    def _write(self, head: Head, record: bytes | None) -> None:
        head = replace(head, commits=head.commits + 1)

        def action(transaction: Transaction) -> None:
            transaction.put(ABOUT, b"head", pack(astuple(head)))
            if record is not None:
                transaction.put(ABOUT, b"record", record)

        self._environment.write(action)
        self._head = head
        self._folder.marks.note(NAME, (head.commits,))

    def life(self) -> int:
        return self._head.life

    def record(self) -> bytes | None:
        return self._record

    def put(self, record: bytes) -> None:
        record = bytes(record)
        self._write(replace(self._head, size=len(record)), record)
        self._record = record

    def close(self) -> None:
        self._environment.close()
        self._folder.close()

    def __enter__(self) -> LmdbCoordinatorStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def readonly_record(folder: Path, marks: Marks) -> bytes | None:
    """The record in a folder whose lock is held, without beginning a life; None before the first."""
    mark = marks.read(NAME)
    if mark.surely_new:
        return None
    environment = Environment(folder / NAME, (ABOUT,), mark, readonly=True)
    try:
        with environment.read() as transaction:
            return transaction.get(ABOUT, b"record", "record")
    finally:
        environment.close()
