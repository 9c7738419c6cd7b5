"""The run without faults before a campaign against a cluster: how much input there is, and how to make it last.

Small, slow epochs over files change nothing of the output. Invariant: the scratch folder is as new afterwards.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.live_cluster import LiveCluster
from holdfast.chaos.striker import PATIENCE_SECONDS, StillError
from holdfast.cli.scratch import Scratch, child
from holdfast.cli.verify import STOPPED
from holdfast.recovery.events import Kept
from holdfast.recovery.wire import unpack_kept
from holdfast.runtime.cluster_recorded import LOST, epoch_table
from holdfast.runtime.rehearsal import HURRY, PACE
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore

LIVES_PER_FAULT = 2.5  # the time of so many starts is what an input must last for each
EPOCHS_PER_FAULT = 24  # of the input; behind the last fault it is worked off as fast as it goes
TRIAL_SECONDS = 8.0  # at most, behind the first output
RECORD_BYTES = 50  # about, for a first guess
EPOCH_BYTES_MIN = 512
PACE_SECONDS_MAX = 1.0  # for which one read is held back


def try_out(made: Scratch, fault_count: int, *, is_live: bool) -> dict[str, str] | int:
    """Run without faults, no longer than it takes to know how many epochs the input gives and how to slow it down.

    Where they are too few for so many faults, run again in smaller ones. A run that can't even start ends the whole
    with its exit code.
    """
    hurry = {HURRY: str(made.folder / "hurry")}
    if PACE in os.environ or is_live:
        return hurry
    wanted = fault_count * EPOCHS_PER_FAULT
    trial = run_for(made, {}, TRIAL_SECONDS)
    outcome = made.outcome()
    if trial.ended and (outcome is None or outcome.exit_code):
        made.clear()
        with child(made.start_run({})) as run:  # once more, to be heard
            return run.wait() or STOPPED
    epoch_bytes, size = "", RECORD_BYTES * records(made) // wanted
    while trial.ended and trial.epochs < wanted / 2 and epoch_bytes != str(EPOCH_BYTES_MIN):
        epoch_bytes, size = str(max(EPOCH_BYTES_MIN, size)), size // 8
        made.clear()
        trial = run_for(made, {PACE: f"0:{epoch_bytes}"}, TRIAL_SECONDS)
    made.clear()
    seconds = fault_count * LIVES_PER_FAULT * trial.starting
    pace = min(PACE_SECONDS_MAX, seconds / max(1, trial.epochs))
    return {PACE: f"{1000 * pace:.0f}:{epoch_bytes}"} | hurry


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run without faults has shown."""

    ended: bool
    epochs: int  # in a checkpoint when it was looked at
    starting: float  # seconds until its first output: on a busy machine everything takes longer


def run_for(made: Scratch, environment: dict[str, str], seconds: float) -> Trial:
    """Run unheard for at most so long behind the first output."""
    cluster = LiveCluster(lambda: made.start_run(environment, quiet=True), made.folder, made.workers)
    began = time.monotonic()
    cluster.start()
    try:
        with Sight(made.data, made.engine) as sight:
            if not sight.wait(lambda: cluster.code is not None or bool(sight.growths), PATIENCE_SECONDS):
                raise StillError(f"nothing moved for {PATIENCE_SECONDS:g} s")
            starting = time.monotonic() - began
            end = time.monotonic() + seconds
            sight.wait(lambda: cluster.code is not None or time.monotonic() > end, seconds + PATIENCE_SECONDS)
        ended = cluster.code is not None
    finally:
        cluster.close()
    return Trial(ended, last_epoch(made), starting)


def last_epoch(made: Scratch) -> int:
    """The epoch at which a run has ended."""
    if not (made.data / "coordinator").exists():
        return 0  # it has never started
    kept = what_is_kept(made)
    return kept.checkpoint.epoch if kept.checkpoint is not None else 0


def records(made: Scratch) -> int:
    """How many records a run has worked off."""
    formation = what_is_kept(made).formation
    if formation is None:
        return 0
    table = epoch_table(made.data, len(formation.layout.partitions), sorted(made.folder.glob(LOST)))
    return sum(count for row in table for _, count, _, _ in row.parts)


def what_is_kept(made: Scratch) -> Kept:
    """What a coordinator that has ended knew."""
    with LmdbCoordinatorStore.open(made.data / "coordinator", create=False) as store:
        packed = store.record()
    return Kept() if packed is None else unpack_kept(packed)
