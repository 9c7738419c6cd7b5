"""What a coordinator must not forget is kept: by the memory twin and on disk, whatever ends its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from holdfast.core.errors import DamagedError, DirectoryInUseError, UsageError
from holdfast.storage.coordinator_store import CoordinatorStore
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore
from holdfast.storage.memory_coordinator_store import MemoryCoordinatorStore
from holdfast.storage.memory_disk import MemoryDisk
from tests.repository import ROOT
from tests.storage.killing import Killer, kill_twin


class StoreWorld(Protocol):
    """One implementation of the store, and its lives."""

    store: CoordinatorStore

    def restart(self) -> None: ...

    def killed(self, call: Callable[[], object], random: Random) -> None: ...

    def close(self) -> None: ...


class MemoryStoreWorld:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.store: CoordinatorStore = MemoryCoordinatorStore(self.disk)

    def restart(self) -> None:
        self.disk.power_loss(Random(0))
        self.store = MemoryCoordinatorStore(self.disk)

    def killed(self, call: Callable[[], object], random: Random) -> None:
        kill_twin(self.store, self.disk, call, random)
        self.store = MemoryCoordinatorStore(self.disk)

    def close(self) -> None:
        self.store.close()


class LmdbStoreWorld:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._killer = Killer()
        self._open()

    def _open(self) -> None:
        self.store: CoordinatorStore = LmdbCoordinatorStore.open(
            self.path, create=True, wait=0, reached=self._killer.reached
        )

    def restart(self) -> None:
        self.store.close()
        self._open()

    def killed(self, call: Callable[[], object], random: Random) -> None:
        self._killer.kill(call, random)
        self.restart()

    def close(self) -> None:
        self.store.close()


class StoreMachine(RuleBasedStateMachine):
    """A store against one variable. A subclass says in `world_of` which implementation."""

    def world_of(self) -> StoreWorld:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.world = self.world_of()
        self.lives = 1
        self.record: bytes | None = None

    @rule(record=st.binary(max_size=20) | st.integers(1, 9000).map(bytes))
    def put(self, record: bytes) -> None:
        self.world.store.put(record)
        self.record = record

    @rule(record=st.binary(max_size=20), fate=st.integers(0, 9))
    def die_while_putting(self, record: bytes, fate: int) -> None:
        self.world.killed(lambda: self.world.store.put(record), Random(fate))
        self.lives += 1
        if self.world.store.record() == record:
            self.record = record

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.lives += 1

    @invariant()
    def nothing_is_forgotten(self) -> None:
        if hasattr(self, "world"):
            assert (self.world.store.life(), self.world.store.record()) == (self.lives, self.record)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()


class MemoryMachine(StoreMachine):
    def world_of(self) -> StoreWorld:
        return MemoryStoreWorld()


class LmdbMachine(StoreMachine):
    def world_of(self) -> StoreWorld:
        self.folder = TemporaryDirectory(prefix="holdfast-")
        return LmdbStoreWorld(Path(self.folder.name))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


@pytest.mark.parametrize("machine", [MemoryMachine, LmdbMachine])
def test_a_store_equals_the_model_after_any_calls_and_deaths(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a record, in its third life when it is opened next."""
    for record in (b"record one", b"record two" * 1000):
        with LmdbCoordinatorStore.open(tmp_path / "coordinator", create=True) as store:
            store.put(record)
    return tmp_path / "coordinator"


def test_a_power_loss_has_the_record_under_way_whole_or_the_one_before() -> None:
    found = set()
    for seed in range(20):
        disk = MemoryDisk()
        store = MemoryCoordinatorStore(disk)
        store.put(b"old")
        store.begin_put(b"new")
        disk.power_loss(Random(seed))
        after = MemoryCoordinatorStore(disk)
        assert after.life() == 2
        found.add(after.record())

    assert found == {b"old", b"new"}


def test_a_store_in_use_is_refused(path: Path) -> None:
    with (
        LmdbCoordinatorStore.open(path, create=False),
        pytest.raises(DirectoryInUseError, match=f"process {os.getpid()}"),
    ):
        LmdbCoordinatorStore.open(path, create=False, wait=0.05)


def test_a_store_that_is_not_there_is_only_made_when_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no coordinator directory"):
        LmdbCoordinatorStore.open(tmp_path / "none", create=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["format", "marks", "coordinator/data.mdb"])
def test_a_missing_file_is_damage_and_never_a_new_store(path: Path, name: str) -> None:
    (path / name).unlink()

    with pytest.raises(DamagedError, match="missing"):
        LmdbCoordinatorStore.open(path, create=True)


def test_an_older_file_put_back_is_damage(path: Path) -> None:
    data = path / "coordinator" / "data.mdb"
    before = data.read_bytes()
    with LmdbCoordinatorStore.open(path, create=False) as store:
        store.put(b"record three")
    data.write_bytes(before)

    with pytest.raises(DamagedError, match="commits are lost"):
        LmdbCoordinatorStore.open(path, create=False)


def test_a_record_of_another_length_than_the_head_says_is_damage(path: Path) -> None:
    with LmdbCoordinatorStore.open(path, create=False) as store:
        store._environment.write(lambda transaction: transaction.put(b"about", b"record", b"older"))

    with pytest.raises(DamagedError, match="5 bytes instead of 10000"):
        LmdbCoordinatorStore.open(path, create=False)


def test_commits_that_an_opened_disk_then_lost_are_noticed_by_the_mark() -> None:
    noticed = 0
    for seed in range(20):
        disk = MemoryDisk()
        MemoryCoordinatorStore(disk)
        disk.skip_sync = True
        MemoryCoordinatorStore(disk)
        disk.power_loss(Random(seed))
        try:
            MemoryCoordinatorStore(disk)
        except DamagedError:
            noticed += 1

    assert 0 < noticed < 20


# Flips bytes of a store one at a time, in a process of its own because LMDB may take it down; says what became of each.
FLIP = """
import shutil, sys
from pathlib import Path
from holdfast.core.errors import DamagedError
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore
template, scratch = Path(sys.argv[1]), Path(sys.argv[2])
for line in sys.stdin:
    name, offset, mask = line.split()
    print(line.rstrip(), end=" ", flush=True)
    shutil.copytree(template, scratch)
    content = bytearray((scratch / name).read_bytes())
    content[int(offset)] ^= int(mask)
    (scratch / name).write_bytes(content)
    try:
        with LmdbCoordinatorStore.open(scratch, create=False, wait=0, sync=False) as store:
            same = (store.life(), store.record()) == (3, b"record two" * 1000)
            store.put(b"more")
        with LmdbCoordinatorStore.open(scratch, create=False, wait=0, sync=False) as store:
            same &= (store.life(), store.record()) == (4, b"more")
        print("same" if same else "WRONG")
    except DamagedError as error:
        print("damaged:", str(error).replace("\\n", " "))
    except Exception as error:
        print("WRONG:", type(error).__name__, error)
    shutil.rmtree(scratch)
"""


def flip(path: Path, count: int, seed: int) -> list[str]:
    random = Random(seed)
    files = {name: (path / name).stat().st_size for name in ("format", "marks", "coordinator/data.mdb")}
    names = [*files, *["coordinator/data.mdb"] * 5]
    flips = [(name, random.randrange(files[name]), 1 << random.randrange(8)) for name in random.choices(names, k=count)]
    process = subprocess.run(
        [sys.executable, "-c", FLIP, str(path), str(path.parent / "scratch")],
        input="".join(f"{name} {offset} {mask}\n" for name, offset, mask in flips),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=3000,
        check=False,
    )
    lines = process.stdout.splitlines()
    assert process.returncode == 0, f"the process died of {lines[-1:]}: {process.stderr}"
    assert len(lines) == len(flips)
    return lines


def test_a_sample_of_flipped_bytes_is_harmless_or_reported(path: Path) -> None:
    lines = flip(path, 150, seed=1)

    assert [line for line in lines if " WRONG" in line] == []
    assert sum(" damaged: " in line for line in lines) > 20
    assert sum(" same" in line for line in lines) > 20


@pytest.mark.nightly
def test_thousands_of_flipped_bytes_are_harmless_or_reported(path: Path) -> None:
    assert [line for line in flip(path, 5000, seed=2) if " WRONG" in line] == []


FILL = """
import resource, sys
from holdfast.core.errors import DiskFullError
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore
store = LmdbCoordinatorStore.open(sys.argv[1], create=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
size = 1000
try:
    while True:
        store.put(bytes(size))
        size *= 2
except DiskFullError:
    print(size // 2)
"""


def test_a_file_that_may_not_grow_keeps_the_record_before(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path / "coordinator")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr

    with LmdbCoordinatorStore.open(tmp_path / "coordinator", create=False) as store:
        assert store.record() == bytes(int(process.stdout))
        store.put(b"it goes on")
        assert store.record() == b"it goes on"
