"""The memory twin and LMDB keep the contract of the partition log (tests/storage/partition_conformance.py)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.storage.partition_conformance import (
    LmdbPartitionWorld,
    MemoryPartitionWorld,
    PartitionLogMachine,
    PartitionWorld,
)


class MemoryMachine(PartitionLogMachine):
    def world_of(self) -> PartitionWorld:
        return MemoryPartitionWorld()


class LmdbMachine(PartitionLogMachine):
    def world_of(self) -> PartitionWorld:
        self.folder = TemporaryDirectory(prefix="holdfast-")
        return LmdbPartitionWorld(Path(self.folder.name))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


def run_machine(machine: type[PartitionLogMachine], examples: int) -> None:
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


def test_the_twin_equals_the_model_after_any_calls() -> None:
    run_machine(MemoryMachine, 60)


def test_lmdb_equals_the_model_after_any_calls() -> None:
    run_machine(LmdbMachine, 40)


@pytest.mark.nightly
@pytest.mark.parametrize("machine", [MemoryMachine, LmdbMachine])
def test_both_equal_the_model_in_a_long_campaign(machine: type[PartitionLogMachine]) -> None:
    run_machine(machine, 1000)
