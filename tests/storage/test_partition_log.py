"""The memory twin and LMDB keep the contract of the partition log (tests/storage/partition_conformance.py)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.storage.partition_conformance import MemoryPartitionWorld, PartitionLogMachine, PartitionWorld


class MemoryMachine(PartitionLogMachine):
    def world_of(self) -> PartitionWorld:
        return MemoryPartitionWorld()


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


@pytest.mark.parametrize("machine", [MemoryMachine])
def test_a_twin_equals_the_model_after_any_calls(machine: type[PartitionLogMachine]) -> None:
    run_machine(machine, 100)
