"""The memory twins and LMDB keep the same contract (tests/storage/conformance.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.core.epochs import Chunk, Epoch
from holdfast.core.errors import StorageError
from holdfast.storage.environment import Environment, Transaction
from holdfast.storage.lmdb_log import TRIM_EPOCHS
from holdfast.storage.log import LogOrderError
from tests.storage.conformance import LmdbWorld, LogMachine, MemoryWorld, StateMachine, World

MEBIBYTE = 1 << 20


class MemoryLogMachine(LogMachine):
    def world_of(self) -> World:
        return MemoryWorld()


class MemoryStateMachine(StateMachine):
    def world_of(self) -> World:
        return MemoryWorld()


class LmdbLogMachine(LogMachine):
    def world_of(self) -> World:
        self.folder = TemporaryDirectory(prefix="holdfast-")
        return LmdbWorld(Path(self.folder.name))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class LmdbStateMachine(StateMachine):
    def world_of(self) -> World:
        self.folder = TemporaryDirectory(prefix="holdfast-")
        return LmdbWorld(Path(self.folder.name))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


def run_machine(machine: type[LogMachine] | type[StateMachine], examples: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=quiet,
        ),
    )


@pytest.mark.parametrize("machine", [MemoryLogMachine, MemoryStateMachine])
def test_a_twin_equals_the_model_after_any_calls(machine: type[LogMachine] | type[StateMachine]) -> None:
    run_machine(machine, 60)


@pytest.mark.parametrize("machine", [LmdbLogMachine, LmdbStateMachine])
def test_lmdb_equals_the_model_after_any_calls(machine: type[LogMachine] | type[StateMachine]) -> None:
    run_machine(machine, 30)


@pytest.mark.nightly
@pytest.mark.parametrize("machine", [LmdbLogMachine, LmdbStateMachine])
def test_lmdb_equals_the_model_in_a_long_campaign(machine: type[LogMachine] | type[StateMachine]) -> None:
    run_machine(machine, 1000)


@pytest.fixture(params=["memory", "lmdb"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: World = MemoryWorld() if request.param == "memory" else LmdbWorld(tmp_path / "data")
    yield made
    made.close()


def epoch(number: int, raw: bytes = b"x\n", partition: int = 0) -> Epoch:
    chunk = Chunk(partition, number - 1, 1, 1000 + number, {"at": number}, False, raw)
    return Epoch(number, 7, 1000 + number, (chunk,))


def test_an_epoch_that_does_not_follow_is_refused_and_nothing_is_written(world: World) -> None:
    world.log.append([epoch(1)])

    for wrong in ([epoch(1)], [epoch(3)], [epoch(2), epoch(4)]):
        with pytest.raises(LogOrderError):
            world.log.append(wrong)
    world.log.append([epoch(2)])

    assert world.log.read(0, MEBIBYTE) == [epoch(1), epoch(2)]


@pytest.mark.parametrize("size", [MEBIBYTE, 2 * MEBIBYTE - 1, 2 * MEBIBYTE, 3 * MEBIBYTE, 3 * MEBIBYTE + 4])
def test_a_chunk_of_any_number_of_pieces_comes_back_whole(world: World, size: int) -> None:
    large = epoch(1, (bytes(range(256)) * (size // 256 + 1))[:size])
    world.log.append([large])
    world.restart()

    assert world.log.read(0, 1) == [large]


def test_a_large_chunk_of_a_checkpoint_comes_back_whole(world: World) -> None:
    chunk = bytes(range(256)) * (2 * MEBIBYTE // 256)
    world.state.stage(1, [chunk, b"", b"small"])
    world.state.complete(1, b"record", 0)
    world.restart()

    assert list(world.state.chunks()) == [(1, chunk), (1, b""), (1, b"small")]


def test_the_epoch_table_outlives_many_trimmed_epochs(world: World) -> None:
    epochs = [epoch(number, partition=number % 3) for number in range(1, 3 * TRIM_EPOCHS)]
    world.log.append(epochs)
    for upto in (5, TRIM_EPOCHS, 2 * TRIM_EPOCHS + 7, len(epochs) - 1):
        world.log.trim(upto)
        assert world.log.base() == upto
    world.restart()

    assert list(world.log.rows()) == [each.row for each in epochs]
    assert world.log.read(len(epochs) - 1, MEBIBYTE) == epochs[-1:]


def test_the_table_may_be_read_while_the_log_is_trimmed(world: World) -> None:
    epochs = [epoch(number) for number in range(1, 2000)]
    world.log.append(epochs)

    found = []
    for row in world.log.rows():
        found.append(row)
        if row.number % 500 == 0:
            world.log.trim(row.number + 300)

    assert found == [each.row for each in epochs]


def test_a_staged_checkpoint_does_not_count_before_it_is_complete(world: World) -> None:
    world.state.stage(1, [b"one"])
    world.state.complete(1, b"first", 0)
    world.state.stage(2, [b"two"])

    assert list(world.state.chunks()) == [(1, b"one")]
    world.restart()
    world.state.stage(2, [b"other"])
    world.state.complete(2, b"second", 2)

    assert list(world.state.chunks()) == [(2, b"other")]
    assert world.state.record() == b"second"


def test_a_prepared_checkpoint_waits_for_its_completion_in_any_life(world: World) -> None:
    world.state.stage(5, [b"one"])
    world.state.stage(5, [b"two"])
    world.state.prepare(5, b"prepared")
    for _ in range(2):
        world.restart()
        assert world.state.prepared() == (5, b"prepared")
        assert (world.state.checkpoint(), world.state.manifest(), list(world.state.chunks())) == (0, [], [])
        assert world.state.size().chunks == 0
    world.state.complete(5, b"complete", 5)
    assert world.state.prepared() is None
    world.restart()

    assert world.state.prepared() is None
    assert (world.state.checkpoint(), world.state.record()) == (5, b"complete")
    assert list(world.state.chunks()) == [(5, b"one"), (5, b"two")]


@pytest.mark.parametrize("how", ["abandon", "stage", "prepare", "complete"])
def test_a_prepared_checkpoint_is_dropped_for_another(world: World, how: str) -> None:
    world.state.stage(1, [b"old"])
    world.state.complete(1, b"first", 0)
    world.state.stage(2, [b"prepared"])
    world.state.prepare(2, b"second")
    world.restart()
    if how == "abandon":
        world.state.abandon()
    elif how == "stage":
        world.state.stage(3, [b"staged"])
    elif how == "prepare":
        world.state.prepare(3, b"third")
    else:
        world.state.complete(3, b"third", 0)
    expected = (3, b"third") if how == "prepare" else None
    assert world.state.prepared() == expected
    world.restart()

    assert world.state.prepared() == expected
    kept = [(1, 1), (3, 0)] if how == "complete" else [(1, 1)]
    assert world.state.manifest() == kept
    assert list(world.state.chunks()) == [(1, b"old")]


def test_what_is_prepared_is_whole(world: World) -> None:
    world.state.prepare(2, b"")

    with pytest.raises(AssertionError, match="whole"):
        world.state.stage(2, [b"more"])
    with pytest.raises(AssertionError, match="once"):
        world.state.prepare(2, b"again")


def test_epochs_appended_while_they_are_read_are_left_for_the_next_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = LmdbWorld(tmp_path / "data")
    world.log.append([epoch(1)])
    original = Environment.read

    @contextmanager
    def read(environment: Environment) -> Iterator[Transaction]:
        with original(environment) as transaction:
            monkeypatch.setattr(Environment, "read", original)
            world.log.append([epoch(2)])  # as the writer's thread may, behind the reader's back
            yield transaction

    monkeypatch.setattr(Environment, "read", read)
    assert world.log.read(0, MEBIBYTE) == [epoch(1)]
    assert world.log.read(1, MEBIBYTE) == [epoch(2)]
    world.close()


def test_of_a_row_folded_twice_at_once_the_latter_counts(world: World) -> None:
    world.state.fold([(0, b"a", bytes(9000)), (0, b"b", b"x"), (0, b"a", b"small"), (0, b"b", None)], (1, 1))
    world.restart()

    assert list(world.state.all_rows()) == [(0, b"a", b"small")]
    assert world.state.size().rows == 1


def test_every_life_draws_a_greater_incarnation(world: World) -> None:
    drawn = [world.state.identity().incarnation]
    for _ in range(3):
        world.restart()
        drawn.append(world.state.identity().incarnation)

    assert drawn == sorted(set(drawn))


def test_what_was_put_does_not_change_with_its_giver(world: World) -> None:
    value = {"list": [1]}
    world.state.put_meta("name", value)
    value["list"].append(2)
    got = world.state.get_meta("name")
    assert isinstance(got, dict)
    got["list"].append(3)

    assert world.state.get_meta("name") == {"list": [1]}


def test_after_a_failed_write_nothing_more_is_written(tmp_path: Path) -> None:
    world = LmdbWorld(tmp_path / "data")
    world.state.put_meta("kept", 1)
    with pytest.raises(StorageError, match="refused"):
        world.directory.state._environment.write(put_in_the_wrong_order)
    with pytest.raises(StorageError, match="must end"):
        world.state.put_meta("lost", 2)
    world.restart()

    assert (world.state.get_meta("kept"), world.state.get_meta("lost")) == (1, None)
    world.close()


def put_in_the_wrong_order(transaction: Transaction) -> None:
    """Append a key that does not rise: LMDB answers False and stores nothing, which must not go unnoticed."""
    for key in (b"b", b"a"):
        transaction.put(b"chunks", key, b"value", append=True)
