"""Processes that stand still: who waits for the others to go on without them sees that they have ended, too."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from holdfast.chaos.cluster_processes import WORKER, Process
from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.process_pauses import Pauses
from holdfast.runtime.coordinator_process import LAST_STATUS


class Cluster:
    """One whose input is worked off at the moment in which a worker and the supervisor stand still."""

    workers = 1
    code = None  # the supervisor has not seen the end

    def __init__(self, data: Path) -> None:
        self.data = data
        self.sent: list[tuple[str, int]] = []

    def processes(self) -> list[Process]:
        return [Process(WORKER, 1, 1)]

    def send(self, process: Process, number: int) -> None:
        (self.data / LAST_STATUS).write_text("{}")
        self.sent.append((str(process), number))

    def send_supervisor(self, number: int) -> None:
        self.sent.append(("supervisor", number))


def test_a_zombie_wakes_up_where_the_others_have_come_to_their_end_without_it(tmp_path: Path) -> None:
    cluster: Any = Cluster(tmp_path)
    stage: Any = SimpleNamespace(cluster=cluster, sight=Sight(tmp_path, tmp_path), random=Random(1))
    pauses = Pauses(stage)

    pauses.strokes["zombie"]()

    assert [number for _, number in cluster.sent] == [signal.SIGSTOP, signal.SIGSTOP, signal.SIGCONT, signal.SIGCONT]
    assert cluster.sent[-1][0] == "supervisor"
