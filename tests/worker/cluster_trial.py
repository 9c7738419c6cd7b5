"""One trial of a whole cluster: an application, cruel limits, faults drawn by a seed, and what must be true at the end.

Kills, pauses (zombies), broken links, messages that come twice, coordinators that end, wiped disks up to what is
promised, stops and starts of everything with more nodes. Outputs, the error and the entities on every holder's disk
must be the reference's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import patch

from holdfast.core.application import Application
from holdfast.core.entities import canonical_of
from holdfast.core.images import unpack
from holdfast.core.keys import key_hash, range_of
from holdfast.core.plan import Plan
from holdfast.core.reference import Reference, RunStoppedError
from holdfast.core.types import TypeRegistry
from holdfast.core.values import encode
from holdfast.recovery.config import Config
from holdfast.recovery.coordinator import Coordinator
from holdfast.recovery.events import StopAsked
from holdfast.worker import holding, staging
from holdfast.worker.holding import VOID_STEP
from holdfast.worker.settings import Settings
from tests.worker.cluster_drive import Cluster
from tests.worker.stored import Stored, entities_of
from tests.zoo import identical
from tests.zoo.parted import gathered

STEPS_MAX = 150_000


def draw_settings(random: Random, backups: int) -> Settings:
    """Cruel limits, and kind ones now and then."""
    return Settings(
        epoch_bytes_min=random.choice([16, 1000]),
        epoch_bytes_max=random.choice([64, 10_000]),
        slice_records=random.choice([1, 7, 128]),
        replay_bytes=random.choice([1, 10_000]),
        cut_ms=random.choice([1, 20, 100, 10**9]),
        unsealed_max=random.choice([1, 10, 200]),
        undelivered_max=random.choice([0, 1, 16]),
        epochs_in_flight=random.choice([1, 3]),
        backups=backups,
    )


class Trial:
    """A cluster and what befalls it."""

    def __init__(
        self, app: Application, random: Random, *, nodes: int, backups: int, faults: bool = True, **limits: Any
    ) -> None:
        """`limits` are settings that are not to be drawn."""
        self.app = app
        self.random = random
        self.registry = TypeRegistry()
        self.backups = backups
        self.ranges = random.choice([1, 4, 16])
        partitions = sum(len(step.source.partitions()) for step in app.sources)
        config = Config(
            workers=nodes,
            partitions=partitions,
            sinks=len(Plan(app).sink_partitions),
            live=any(step.source.live for step in app.sources),
            ranges=self.ranges,
            backups=backups,
            checkpoint_ms=random.choice([20, 200, 2000]),
            collect_ms=200,
            waiting_ms=300,
        )
        settings = replace(draw_settings(random, backups), **limits)
        self.cluster = Cluster(app, self.registry, settings, lambda: Coordinator(config), nodes, random)
        self.budget = {
            name: random.choice([0, 0, 1, 2, 4]) if faults else 0
            for name in ("kill", "kill all", "pause", "resume", "break", "repeat", "coordinator", "add", "stop")
        }
        self.wipes = 1 if faults and backups and random.random() < 0.3 else 0
        self.calm_until: int | None = None  # checkpoint number from which on faults may come again after a wipe

    # --- running

    def run(self) -> str | None:
        """To the very end; the error it ended with."""
        with (
            patch.object(staging, "BYTES_FREE", self.random.choice([0, staging.BYTES_FREE])),
            patch.object(holding, "CHUNK_ROWS_MAX", self.random.choice([1, holding.CHUNK_ROWS_MAX])),
        ):
            return self._run()

    def _run(self) -> str | None:
        for _ in range(STEPS_MAX):
            finish = self.cluster.finish
            if finish is not None and (finish.ended or finish.error is not None):
                return finish.error
            if finish is not None:
                self.cluster.start_again()
            self.cluster.step()
            if self.random.random() < 0.004:
                self._fault()
        raise AssertionError("no end")

    def _fault(self) -> None:
        cluster, random = self.cluster, self.random
        if self.calm_until is not None:
            checkpoint = cluster.kept.checkpoint
            if checkpoint is None or checkpoint.number < self.calm_until:
                return
            self.calm_until = None
        if self.wipes and self._wipe():
            return
        for node in list(cluster.paused):
            cluster.resume(node)
        name = random.choice(sorted(self.budget))
        if not self.budget[name]:
            return
        self.budget[name] -= 1
        node = random.choice(sorted(cluster.processes))
        match name:
            case "kill":
                cluster.kill(node)
            case "kill all":
                for each in sorted(cluster.processes):
                    cluster.kill(each)
            case "pause":
                cluster.pause(node)
            case "break":
                cluster.break_link(node, random.choice(sorted(cluster.processes)))
            case "repeat":
                for link in sorted(cluster.links):
                    cluster.repeat(link)
            case "coordinator":
                cluster.start_coordinator()
            case "add" if len(cluster.processes) < 5:
                cluster.add(f"m{len(cluster.processes)}")
            case "stop":
                cluster.tell_coordinator(StopAsked(cluster.now))

    def _wipe(self) -> bool:
        """Survivable where every range and log has another holder, on disk as well, and all of them live on."""
        cluster = self.cluster
        kept, formation = cluster.kept, cluster.kept.formation
        if formation is None or formation.target is not None or cluster.paused or cluster.finish is not None:
            return False
        if kept.checkpoint is None or kept.checkpoint.generation != formation.number:
            return False
        for member in formation.members:
            process = cluster.processes.get(member.node)
            if process is None or process.disk.incarnation != member.incarnation or process.member.running is None:
                return False
            if process.member.running.formation.number != formation.number:
                return False
        layout = formation.layout
        if any(len(holders.all) < 2 for holders in (*layout.ranges, *layout.partitions)):
            return False
        self.wipes -= 1
        cluster.wipe(self.random.choice(formation.members).node)
        self.calm_until = kept.checkpoint.number + 1
        return True

    # --- judging

    def outputs(self) -> dict[str, list[Any]]:
        return gathered(self.app, dict(enumerate(self.cluster.outputs)))

    def check_disks(self, reference: Reference) -> None:
        """Every holder's disk has exactly the reference's entities of its ranges."""
        checkpoint = self.cluster.kept.checkpoint
        assert checkpoint is not None
        expected = entities_of(reference, self.app, self.registry)
        seen = set()
        for node, ranges in checkpoint.holders:
            if node not in self.cluster.disks:
                continue  # wiped since
            seen |= set(ranges)
            held = stored_in(self.cluster.disks[node].chunks_of(checkpoint.number), self.registry, self.ranges)
            for number in ranges:
                assert of_range(held, number, self.ranges) == of_range(expected, number, self.ranges), (node, number)
        assert seen == set(range(self.ranges))


def stored_in(chunks: list[bytes], registry: TypeRegistry, ranges: int) -> Stored:
    """What the chunks of one disk hold."""
    stored: Stored = {}
    for chunk in chunks:
        images = unpack(chunk, registry)
        if images.step == VOID_STEP:
            void = set(images.keys)
            stored = {p: own for p, own in stored.items() if range_of(key_hash(p[1]), ranges) not in void}
        if images.step.startswith("$"):
            continue
        for key in images.removed:
            stored.pop((images.step, canonical_of(key)), None)
        timers: list[dict[str, int]] = images.timers or [{} for _ in images.keys]
        for key, state, own in zip(images.keys, images.states, timers, strict=True):
            stored[images.step, canonical_of(key)] = (encode(state, registry), own)
    return stored


def of_range(stored: Stored, number: int, ranges: int) -> Stored:
    return {place: own for place, own in stored.items() if range_of(key_hash(place[1]), ranges) == number}


def judge(trial: Trial, error: str | None, reference: Reference, inputs: Any) -> None:
    """Compare with the reference over the epoch table that was recorded."""
    stopped = None
    try:
        expected = reference.run(inputs, trial.cluster.epoch_table())
    except RunStoppedError as stop:
        expected, stopped = stop.outputs, str(stop)
    # Of several calls in the wake of one record another may be named than depth first: they are met stage by stage.
    assert place_of(error) == place_of(stopped), (error, stopped)
    assert identical(trial.outputs(), expected), (trial.outputs(), expected)
    if stopped is None:
        trial.check_disks(reference)


def place_of(error: str | None) -> str | None:
    """Where it was that a run stopped: the record, or that it was a timer."""
    if error is None:
        return None
    record = re.search(r" failed at (source .*, partition .*, offset \d+)", error)
    return "a timer" if record is None else record[1]
