"""What a coordinator must not forget is kept: by the memory twin and on disk."""

from __future__ import annotations

from random import Random

from holdfast.storage.memory_coordinator_store import MemoryCoordinatorStore
from holdfast.storage.memory_disk import MemoryDisk


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
