"""`holdfast chaos --workers N`: verify, while the processes of a cluster are killed, stopped and cut off.

Between two faults the cluster must have moved, and all its processes must be there again, or faults would prove
nothing. An input that is worked off too fast for that is read more slowly, which changes nothing of the output.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

from holdfast.chaos.cluster_scenarios import SCENARIOS, schedule
from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.fault_proxy import FaultProxy
from holdfast.chaos.live_cluster import LiveCluster, OutlivedError
from holdfast.chaos.process_cuts import Cuts
from holdfast.chaos.process_disks import STOPPED_CODE, Disks
from holdfast.chaos.process_kills import Kills
from holdfast.chaos.process_pauses import Pauses
from holdfast.chaos.striker import PATIENCE_SECONDS, Sign, Stage, StillError, Stroke
from holdfast.chaos.timeline import Survived, pauses
from holdfast.cli import loading
from holdfast.cli.colour import Colour, paint
from holdfast.cli.comparison import DIFFERS
from holdfast.cli.scratch import Scratch, child, scratch
from holdfast.cli.verify import FOUND_DIFFERENCE, STOPPED, verdict
from holdfast.core.application import Application
from holdfast.core.connector import is_live
from holdfast.core.errors import UsageError
from holdfast.recovery.events import Kept
from holdfast.recovery.wire import unpack_kept
from holdfast.runtime.cluster_recorded import LOST, epoch_table
from holdfast.runtime.rehearsal import HURRY, PACE, SILENCE
from holdfast.storage.lmdb_coordinator_store import LmdbCoordinatorStore

LIVES_PER_FAULT = 2.5  # the time of so many starts is what an input must last for each
EPOCHS_PER_FAULT = 24  # of the input; behind the last fault it is worked off as fast as it goes
TRIAL_SECONDS = 8.0  # at most, behind the first output
RECORD_BYTES = 50  # about, for a first guess
EPOCH_BYTES_MIN = 512
PACE_SECONDS_MAX = 1.0  # for which one read is held back
CALM_SECONDS = 0.5  # at most between the moment when everything flows again and the next fault
LAST_LINES = 12
FOR_EVER = 1e6  # seconds
SILENCE_SECONDS = "2"  # the heartbeat limit where processes stand still or can't be reached; 10 would be waiting only


@dataclass(slots=True)
class Campaign:
    """One cluster and everything that is done to it."""

    stage: Stage
    strokes: dict[str, Callable[[], Stroke]]
    began: float = field(default_factory=time.time)
    survived: list[Survived] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)

    def run(self, names: list[str], hurry: Path, *, is_live: bool) -> int:
        """Let all faults come, then ask for haste and wait for the end, or make it; returns how the run ended."""
        cluster = self.stage.cluster
        cluster.start()
        flowing = self.began
        for name in names:
            if not self._calm_down(flowing):
                break
            stroke = self.strokes[name]()
            self.struck.append(name)
            found = self._get_over(name, stroke)
            if found is None:
                break
            flowing = found.flowing
            self.survived.append(found)
            print(found.line(self.began), flush=True)
        hurry.touch()
        if is_live and cluster.code is None:
            self.stage.sight.pass_time(CALM_SECONDS)
            cluster.send_supervisor(signal.SIGTERM)
        self._wait(lambda: False)
        assert cluster.code is not None
        return 0 if is_live and cluster.code == STOPPED_CODE else cluster.code

    def _calm_down(self, flowing: float) -> bool:
        """Wait until all take part again and some more is written; False if the run ends before."""
        cluster, sight = self.stage.cluster, self.stage.sight
        self._wait(lambda: sight.grew_after(flowing) is not None and sight.members == cluster.workers)
        sight.pass_time(self.stage.random.uniform(0.0, CALM_SECONDS))
        return cluster.code is None

    def _get_over(self, name: str, stroke: Stroke) -> Survived | None:
        """Wait until outputs flow behind a fault; None if the run has ended meanwhile."""
        self._wait(lambda: self._flowing(stroke) is not None)
        flowing = self._flowing(stroke)
        if flowing is None:
            return None
        sight = self.stage.sight
        return Survived(
            name,
            stroke.text,
            stroke.moment,
            sight.detected_after(stroke.moment),
            sight.formed_after(stroke.since),
            flowing,
            sight.longest_gap(stroke.moment, flowing),
        )

    def _flowing(self, stroke: Stroke) -> float | None:
        sight = self.stage.sight
        if stroke.sign is Sign.GENERATION:
            formed = sight.formed_after(stroke.since)
            return None if formed is None else sight.grew_after(formed[0])
        heard = sight.heard_after(stroke.since)
        return sight.grew_after(heard) if heard is not None else None

    def _wait(self, until: Callable[[], bool]) -> None:
        """Until something is so or the run has ended."""
        cluster = self.stage.cluster
        if not self.stage.sight.wait(lambda: cluster.code is not None or until(), PATIENCE_SECONDS):
            raise StillError(f"nothing moved for {PATIENCE_SECONDS:g} s")


def chaos(arguments: argparse.Namespace, app: Application | None) -> int:
    """Strike, restart and compare."""
    given = loading.load(arguments.app) if app is None else app
    refuse(arguments, given)
    live = any(is_live(step.source) for step in given.sources)
    if live:
        arguments.seconds = FOR_EVER  # it ends behind the last fault
    random = Random(arguments.seed)
    scenario = SCENARIOS[arguments.scenario]
    names = list(islice(schedule(scenario.fitting(arguments.workers, arguments.backups), random), arguments.kills))
    with scratch(arguments) as made, FaultProxy() as proxy:
        try:
            environment = try_out(made, max(1, len(names)), is_live=live)
        except StillError as error:
            raise UsageError(f"without any fault it does not come to its end: {error}") from None
        if isinstance(environment, int):
            return environment
        environment |= {SILENCE: os.environ.get(SILENCE, SILENCE_SECONDS)} if scenario.has_silence else {}
        environment |= proxy.environment if scenario.has_cuts else {}
        print(
            f"seed {arguments.seed}, scenario {arguments.scenario}, {len(names)} faults, {made.workers} workers, "
            f"{made.backups} backups",
            flush=True,
        )
        return strike(made, names, environment, random, proxy, is_live=live)


def strike(
    made: Scratch,
    names: list[str],
    environment: dict[str, str],
    random: Random,
    proxy: FaultProxy,
    *,
    is_live: bool,
) -> int:
    """Let faults come, report, and compare; returns the exit code."""
    log = made.folder / "cluster.log"

    def start() -> subprocess.Popen[bytes]:
        made.forget_outcome()
        return made.start_run(environment, log=log)

    cluster = LiveCluster(start, made.folder, made.workers)
    try:
        with Sight(made.data, made.engine, cluster.note_cpu) as sight:
            stage = Stage(cluster, sight, random, made.backups, made.data)
            kinds = (Kills(stage), Pauses(stage), Cuts(stage, proxy), Disks(stage))
            campaign = Campaign(stage, {name: stroke for kind in kinds for name, stroke in kind.strokes.items()})
            code = campaign.run(names, Path(environment[HURRY]), is_live=is_live)
    except (StillError, OutlivedError) as error:
        print(f"first difference: the reference comes to its end, the cluster does not: {error}")
        print("what its processes said last:", *last_lines(log), sep="\n  ")
        print(paint(DIFFERS, Colour.ERROR, sys.stdout), flush=True)
        return FOUND_DIFFERENCE
    finally:
        cluster.close()
    report(campaign, made, len(names), environment)
    outcome = made.outcome()
    if code:
        print("the cluster ended by itself; what its processes said last:", *last_lines(log), sep="\n  ")
    return (code or STOPPED) if outcome is None else verdict(made, outcome)


def refuse(arguments: argparse.Namespace, app: Application) -> None:
    """Raise for what this can't be done to."""
    app.check()
    if arguments.scenario not in SCENARIOS:
        raise UsageError(
            f"--scenario {arguments.scenario} is for one worker; for several: {', '.join(SCENARIOS)}"
        )
    if not SCENARIOS[arguments.scenario].fitting(arguments.workers, arguments.backups):
        raise UsageError(f"--scenario {arguments.scenario} takes --backups 1 or more")


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


def last_lines(log: Path) -> list[str]:
    """The end of what a cluster said."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return text.splitlines()[-LAST_LINES:]


def report(campaign: Campaign, made: Scratch, wanted: int, environment: dict[str, str]) -> None:
    """Print how many faults there were, what they cost, and at which load."""
    seconds = time.time() - campaign.began
    counted = ", ".join(f"{name} {count}" for name, count in Counter(campaign.struck).most_common())
    print(f"{len(campaign.struck)} faults in {seconds:.1f} s: {counted or 'none'}")
    if campaign.survived:
        print("pauses, the longest time without output around a fault:")
        print("\n".join(pauses(campaign.survived)))
    count, size, cores = records(made), campaign.stage.sight.bytes, campaign.stage.cluster.cpu_seconds / seconds
    print(f"meanwhile: {count:,} records, {count / seconds:,.0f} a second; {size:,} bytes of output; {cores:.2f} cores")
    if PACE in environment:
        pace = environment[PACE].partition(":")[0]
        print(f"reads were held back by {pace} ms each, up to the last fault, so that all had something to strike at")
    if len(campaign.struck) < wanted:
        missing = wanted - len(campaign.struck)
        print(f"the input was worked off before the other {missing} faults: give it more input")
