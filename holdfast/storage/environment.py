"""One LMDB environment: opened only when sound, written in whole transactions, its errors told apart.

Invariants: a file is checked (structure) before LMDB sees it. A transaction begins and commits inside one
call on one thread. After a failed write nothing more is written: what is on the disk is unknown until the
next open. `append=True` out of order returns False instead of raising, so every put is checked here. Default
sync flags: relaxed ones lose or destroy data at power loss. What databases mean is the log's and the state's
business.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from holdfast.core.errors import DamagedError, DiskFullError, HoldfastError, StorageError
from holdfast.storage.files import free_space, make_folder, sync_directory, write_error
from holdfast.storage.marks import Mark
from holdfast.storage.packing import seal, unseal
from holdfast.storage.structure import check

MAP_SIZE = 64 << 30  # address space, not memory or disk: far more than is ever needed, because growing it is a trap
LIB_VERSION = 0  # the 0.9 file format, said explicitly because the package carries two engines
DATA_FILE = "data.mdb"
GRANTS = 16  # calls that one look at the free space serves at most

# Errors of LMDB that say that the file is not what LMDB wrote.
DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadValsizeError,
)

Result = TypeVar("Result")

# Called with a point of a write, "log: before commit" or "state: after commit", where a test may end the
# process.
Reached = Callable[[str], None]


class Transaction:
    """A transaction whose values are sealed; valid only inside the call that it was handed to."""

    def __init__(self, environment: Environment, raw: lmdb.Transaction[bytes]) -> None:
        self._environment = environment
        self.raw = raw

    def get(self, database: bytes, key: bytes, place: str) -> bytes | None:
        """Return a payload, or None if there is none under `key`."""
        value = self.raw.get(key, db=self._environment.databases[database])
        return None if value is None else unseal(database, key, value, f"{self._environment.name}, {place}")

    def need(self, database: bytes, key: bytes, place: str) -> bytes:
        """Return a payload that must be there."""
        payload = self.get(database, key, place)
        if payload is None:
            raise DamagedError(f"{self._environment.name}, {place}", "it is missing")
        return payload

    def put(self, database: bytes, key: bytes, payload: bytes | memoryview, *, append: bool = False) -> None:
        """Put a payload; with `append` the key must be greater than all there are."""
        value = seal(database, key, payload)
        if not self.raw.put(key, value, append=append, db=self._environment.databases[database]):
            raise StorageError(f"{self._environment.name}: LMDB refused key {key.hex()} in {database.decode()}")

    def delete(self, database: bytes, key: bytes, place: str) -> None:
        """Delete what must be there."""
        if not self.raw.delete(key, db=self._environment.databases[database]):
            raise DamagedError(f"{self._environment.name}, {place}", "it is missing")

    def cursor(self, database: bytes) -> lmdb.Cursor[bytes]:
        """Return a cursor over sealed values."""
        return self.raw.cursor(db=self._environment.databases[database])

    def entries(self, database: bytes) -> int:
        """Return how many values a database holds."""
        return self.raw.stat(self._environment.databases[database])["entries"]

    def last_key(self, database: bytes) -> bytes | None:
        """Return the greatest key of a database."""
        with self.cursor(database) as cursor:
            return cursor.key() if cursor.last() else None


def is_there(path: Path, mark: Mark) -> bool:
    """Whether there is an environment to look at; what a creation that did not end has left is none."""
    data = path / DATA_FILE
    if not mark.surely_new:
        return True
    if not data.exists():
        return False
    try:
        check(data, f"{path.name}/{DATA_FILE}")
        with lmdb.open(str(path), readonly=True, lock=False, create=False, lib_version=LIB_VERSION) as found:
            return bool(found.stat()["entries"])
    except (DamagedError, lmdb.Error):
        return False


class Environment:
    """An open environment and its databases; all are made in its first transaction, so it has all of them or
    none.

    `sync=False` is a planted bug for the tests: commits are not flushed, as a wrong flag would have it.
    """

    def __init__(
        self,
        path: Path,
        databases: Sequence[bytes],
        mark: Mark,
        *,
        readonly: bool = False,
        sync: bool = True,
        reached: Reached | None = None,
    ) -> None:
        self._reached = reached or _nothing
        self.name = path.name
        self.path = path
        self.databases: dict[bytes, lmdb._Database] = {}
        self._names = tuple(databases)
        self._failed: HoldfastError | None = None
        self._granted = self._grants = 0  # bytes and calls that the last look at the disk serves
        self._prepare(mark, readonly=readonly)
        try:
            self._open(readonly=readonly, sync=sync)
        except DAMAGE as error:
            raise DamagedError(self.name, str(error)) from error
        except lmdb.Error as error:
            raise write_error(path, error.code, str(error)) from error
        try:
            self._find_databases(mark)
        except BaseException:
            self._lmdb.close()
            raise

    def _prepare(self, mark: Mark, *, readonly: bool) -> None:
        """Check the file that is there; what a creation that did not end left behind makes room for a new
        one.
        """
        data = self.path / DATA_FILE
        if data.exists():
            try:
                check(data, f"{self.name}/{DATA_FILE}")
            except DamagedError:
                if readonly or not mark.surely_new:
                    raise
                data.unlink()
        elif not mark.surely_new:
            raise DamagedError(f"{self.name}/{DATA_FILE}", "the file is missing")
        if not readonly:
            make_folder(self.path)

    def _open(self, *, readonly: bool, sync: bool) -> None:
        self._lmdb = lmdb.open(
            str(self.path),
            map_size=MAP_SIZE,
            max_dbs=len(self._names),
            readonly=readonly,
            lock=not readonly,  # a reader has the lock of the whole directory and must not write a lock file
            sync=sync,
            create=not readonly,
            lib_version=LIB_VERSION,
        )
        assert self._lmdb.lib_version()[:2] == (0, 9), "the file format would change"

    def _find_databases(self, mark: Mark) -> None:
        """Open the databases, if the environment has been created."""
        entries = self._lmdb.stat()["entries"]
        if entries == 0 and mark.surely_new:
            sync_directory(self.path)
            return
        try:
            if entries != len(self._names):
                raise DamagedError(self.name, f"it has {entries} databases instead of {len(self._names)}")
            for name in self._names:
                self.databases[name] = self._lmdb.open_db(name, create=False)
        except lmdb.Error as error:
            raise DamagedError(self.name, str(error)) from error

    @property
    def created(self) -> bool:
        """Whether the environment's first transaction was ever committed."""
        return bool(self.databases)

    def create(self, action: Callable[[Transaction], None]) -> None:
        """Make the databases and do `action` in the environment's first transaction."""
        made: dict[bytes, lmdb._Database] = {}

        def first(transaction: Transaction) -> None:
            for name in self._names:
                made[name] = self._lmdb.open_db(name, txn=transaction.raw)
            self.databases = made
            action(transaction)

        self.write(first)

    def write(self, action: Callable[[Transaction], Result]) -> Result:
        """Do `action` in one transaction, durable when this returns. Any error means that nothing more may
        be written.
        """
        if self._failed is not None:
            raise StorageError(f"{self.name}: a write failed before ({self._failed}); the process must end")
        try:
            with self._lmdb.begin(write=True) as raw:
                result = action(Transaction(self, raw))
                self._reached(f"{self.name}: before commit")
            self._reached(f"{self.name}: after commit")
            return result
        except HoldfastError as error:
            self._failed = error
            raise
        except lmdb.MapFullError as error:
            self._failed = DiskFullError(f"{self.path} has reached its greatest size, {MAP_SIZE} bytes")
            raise self._failed from error
        except DAMAGE as error:
            self._failed = DamagedError(self.name, str(error))
            raise self._failed from error
        except lmdb.Error as error:
            self._failed = write_error(self.path, error.code, str(error))
            raise self._failed from error

    def reserve(self, kept: int, wanted: int) -> None:
        """Raise DiskFullError, before anything is written, if less than `kept + wanted` bytes are free.

        In a look the interpreter goes to another thread, which a small commit can't afford each time: one serves a few
        calls that want little of what it found, and of `kept`, which is there for what others write meanwhile, too.
        """
        if wanted > self._granted or not self._grants:
            free = free_space(self.path) - kept
            if free < wanted:
                raise write_error(self.path, errno.ENOSPC, f"less than {kept + wanted} bytes are free")
            self._granted, self._grants = min(free, kept) // 2, GRANTS
        self._granted -= wanted
        self._grants -= 1

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Read one state of the environment. Keep it short: pages that it sees can't be used again
        meanwhile.
        """
        try:
            with self._lmdb.begin() as raw:
                yield Transaction(self, raw)
        except DAMAGE as error:
            raise DamagedError(self.name, str(error)) from error
        except lmdb.Error as error:
            raise StorageError(f"reading {self.path} failed: {error}") from error

    def close(self) -> None:
        self._lmdb.close()


def _nothing(point: str) -> None:
    """What is done at a point when nobody wants to know."""
