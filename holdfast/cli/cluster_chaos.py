"""`holdfast chaos --workers N`: verify, while the processes of a cluster are killed, stopped and cut off.

Here a campaign (holdfast/chaos) is prepared, shown and judged.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

from holdfast.chaos.cluster_campaign import Campaign
from holdfast.chaos.cluster_scenarios import SCENARIOS, schedule
from holdfast.chaos.cluster_sight import Sight
from holdfast.chaos.fault_proxy import FaultProxy
from holdfast.chaos.live_cluster import LiveCluster, OutlivedError
from holdfast.chaos.process_cuts import Cuts
from holdfast.chaos.process_disks import Disks
from holdfast.chaos.process_kills import Kills
from holdfast.chaos.process_pauses import Pauses
from holdfast.chaos.striker import Stage, StillError
from holdfast.chaos.timeline import pauses
from holdfast.cli import loading
from holdfast.cli.cluster_trial import records, try_out
from holdfast.cli.colour import Colour, paint
from holdfast.cli.comparison import DIFFERS
from holdfast.cli.scratch import Scratch, scratch
from holdfast.cli.verify import FOUND_DIFFERENCE, STOPPED, verdict
from holdfast.core.application import Application
from holdfast.core.connector import is_live
from holdfast.core.errors import UsageError
from holdfast.runtime.rehearsal import HURRY, PACE, SILENCE

LAST_LINES = 12
FOR_EVER = 1e6  # seconds
SILENCE_SECONDS = "2"  # the heartbeat limit where processes stand still or can't be reached; 10 would be waiting only


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
            strokes = {name: stroke for kind in kinds for name, stroke in kind.strokes.items()}
            campaign = Campaign(stage, strokes, lambda line: print(line, flush=True))
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
