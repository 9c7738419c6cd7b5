"""A member's shell: when it reads its sources, and how long it waits for something to happen."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec

import pytest

import holdfast as hf
from holdfast.core.types import TypeRegistry
from holdfast.runtime import member_life
from holdfast.runtime.clients import Clients
from holdfast.runtime.member_life import IDLE_SECONDS, TICK_SECONDS, MemberLife
from holdfast.runtime.points import Probe
from holdfast.storage.memory import MemoryState
from holdfast.storage.memory_disk import MemoryDisk
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker import effects, events
from holdfast.worker.cluster_events import Booted


class Script:
    """A machine that reads once and ends with what it got; it counts how often it hears the time before that."""

    busy = True
    running = None

    def __init__(self) -> None:
        self.alarm: int | None = None
        self.ticks = 0

    def handle(self, event: Any) -> list[Any]:
        if isinstance(event, Booted):
            return [effects.OpenSource(0, None), effects.ReadSource(0, 64)]
        if isinstance(event, events.SourceRead):
            return [effects.Finish(None, ended=True)]
        self.ticks += 1
        return []


def life(script: Any, is_crowded: Callable[[], bool] = lambda: False) -> MemberLife:
    disk, source = MemoryDisk(), hf.sources.Memory(["a"])
    source.bind(TypeRegistry())
    return MemberLife(
        script,
        node="n",
        log=MemoryPartitionLog(disk),
        state=MemoryState(disk),
        sources=[("source", source, source.partitions()[0])],
        clients=create_autospec(Clients, instance=True),
        sinks=[],
        registry=TypeRegistry(),
        probe=Probe(),
        inbox=queue.SimpleQueue(),
        send=lambda effect: None,
        handled=lambda event: None,
        is_crowded=is_crowded,
    )


@pytest.mark.parametrize("slow_for", [0, 3])
def test_sources_are_read_once_no_peer_is_slow_any_more(slow_for: int) -> None:
    script = Script()
    own = life(script, lambda: script.ticks < slow_for)

    end = own.run()
    own.close()

    assert isinstance(end, effects.Finish)
    assert script.ticks == slow_for


def test_the_wait_for_something_to_happen_ends_when_a_timer_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_life, "now", lambda: 1_000)
    script = Script()
    own = life(script)
    try:
        for alarm, seconds in ((None, IDLE_SECONDS), (1_050, 0.05), (900, TICK_SECONDS), (10_000, IDLE_SECONDS)):
            script.alarm = alarm
            assert own._patience() == pytest.approx(seconds)
    finally:
        own.close()
