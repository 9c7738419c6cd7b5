"""`holdfast chaos`: verify, while the run is killed again and again.

Every life must get further than the one before, or kills would prove nothing; an input that is worked off too fast for
that is read more slowly, in smaller epochs, which changes nothing of the output over files.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from holdfast.cli import cluster_chaos
from holdfast.cli.kills import Kill, kills
from holdfast.cli.options import SCENARIOS, check_later
from holdfast.cli.scratch import RunOutcome, Scratch, child, scratch
from holdfast.cli.verify import STOPPED, verdict
from holdfast.core.application import Application
from holdfast.core.errors import UsageError
from holdfast.runtime.rehearsal import KILL, PACE, PAGE, REPLAY, WATCH, Place, look

LIFE_SECONDS = 0.3  # of work between two kills, about
SLOWED_SECONDS = 0.6  # of work for each kill, if an input must be slowed down
PASSAGES_MAX = 12  # of its point before a kill
EPOCHS_PER_KILL = 8  # of an input that must be slowed down
EPOCH_BYTES_MIN = 256
POLL_SECONDS = 0.005
# A life that neither dies at its point nor gets further within this time is killed as it is.
PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class Campaign:
    """All lives of one application, up to the end of its input."""

    made: Scratch
    environment: dict[str, str]
    began: float = field(default_factory=time.monotonic)
    done: list[str] = field(default_factory=list)  # what kind of place each kill struck
    records: int = 0  # logged when the last life was killed
    progressed: int = 0  # kills before which something new was logged
    ended: bool = False

    def live_and_kill(self, kill: Kill) -> bool:
        """Start the run and kill it; return False if it came to its end instead."""
        environment = dict(self.environment)
        if kill.point:
            environment[KILL] = f"{kill.point}:{kill.passage}" + (f":{REPLAY}" if kill.recovering else "")
        with child(self.made.start_run(environment)) as run:
            started = time.monotonic()
            self._wait(run, kill, started)
            if run.poll() is None:
                run.kill()
            code = run.wait()
        if code != -signal.SIGKILL:
            self.ended = True
            return False
        self._note(kill)
        return True

    def live_to_the_end(self) -> RunOutcome | None:
        """Start the run once more and let it finish."""
        if not self.ended:
            with child(self.made.start_run(self.environment)) as run:
                run.wait()
        return self.made.outcome()

    def place(self) -> Place:
        """Where the run is, or was when it was killed."""
        return look(self.made.watch)

    def _wait(self, run: subprocess.Popen[bytes], kill: Kill, started: float) -> None:
        """Return when the kill is due or the run has ended."""
        due: float | None = started + kill.seconds if kill.recovering and not kill.point else None
        give_up = started + PATIENCE_SECONDS
        while run.poll() is None and (now := time.monotonic()) < give_up:
            if due is None and not kill.point and self.place().records > self.records:
                due = now + kill.seconds
            if due is not None and now >= due:
                return
            time.sleep(POLL_SECONDS)

    def _note(self, kill: Kill) -> None:
        place = self.place()
        new = max(0, place.records - self.records)
        self.progressed += new > 0
        self.records += new
        self.done.append(place.point)
        print(
            f"{time.monotonic() - self.began:7.2f} s  kill {len(self.done):<4} {kill!s:<40} "
            f"in {place.point:<26} {self.records:>12,} records (+{new:,})",
            flush=True,
        )


def chaos(arguments: argparse.Namespace, app: Application | None) -> int:
    """Kill, restart and compare."""
    check_later(arguments)
    if arguments.workers > 1:
        return cluster_chaos.chaos(arguments, app)
    if arguments.scenario not in SCENARIOS:
        raise UsageError(f"--scenario {arguments.scenario} is for several workers; for one: {', '.join(SCENARIOS)}")
    random = Random(arguments.seed)
    with scratch(arguments) as made:
        environment = {WATCH: str(made.watch)}
        trial = try_out(made, environment, max(1, arguments.kills))
        if isinstance(trial, int):
            return trial
        campaign = Campaign(made, environment | trial.environment)
        print(f"seed {arguments.seed}, scenario {arguments.scenario}, {arguments.kills} kills", flush=True)
        schedule = kills(arguments.scenario, random, life_seconds=LIFE_SECONDS, passages_max=trial.passages_max)
        for kill in islice(schedule, arguments.kills):
            if not campaign.live_and_kill(kill):
                break
        outcome = campaign.live_to_the_end()
        report(campaign, arguments.kills)
        if outcome is None:
            return STOPPED
        return verdict(made, outcome)


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found out about an input before the first kill."""

    environment: dict[str, str] = field(default_factory=dict)  # slows the run down where it would be over too soon
    passages_max: int = PASSAGES_MAX


def try_out(made: Scratch, environment: dict[str, str], kill_count: int) -> Trial | int:
    """Run without kills, for no longer than is needed to know that the input is long enough.

    If it is not, run again in the small epochs that it will be cut into, to know how long each must be held back.
    A run that can't even start ends the whole with its exit code.
    """
    wanted = kill_count * SLOWED_SECONDS
    if not run_for(made, environment, wanted):
        made.clear()
        return Trial()
    if made.outcome() is None:
        with child(made.start_run(environment)) as run:  # once more, to be heard
            return run.wait() or STOPPED
    epoch_bytes = max(EPOCH_BYTES_MIN, look(made.watch).logged_bytes // (kill_count * EPOCHS_PER_KILL))
    made.clear()
    run_for(made, environment | {PACE: f"0:{epoch_bytes}"}, PATIENCE_SECONDS)
    epochs = max(1, look(made.watch).epoch)
    made.clear()
    passages = max(1, min(PASSAGES_MAX, epochs // (2 * kill_count)))
    return Trial({PACE: f"{1000 * wanted / epochs:.3f}:{epoch_bytes}"}, passages)


def run_for(made: Scratch, environment: dict[str, str], seconds: float) -> bool:
    """Run unheard for at most so long behind its first record; return whether the run came to its end.

    On a busy machine a process may need longer to start than it then needs for its input.
    """
    made.watch.write_bytes(bytes(PAGE.size))  # nothing yet, whatever an earlier run has left there
    end = time.monotonic() + PATIENCE_SECONDS
    has_begun = False
    with child(made.start_run(environment, quiet=True)) as run:
        while run.poll() is None:
            now = time.monotonic()
            if not has_begun and look(made.watch).records:
                has_begun, end = True, now + seconds
            if now > end:
                return False
            time.sleep(POLL_SECONDS)
    return True


def report(campaign: Campaign, wanted: int) -> None:
    """Print how many kills there were, and where they struck."""
    print(f"{len(campaign.done)} kills, {campaign.progressed} of them after new records; where they struck:")
    for point, count in Counter(campaign.done).most_common():
        print(f"  {point:<28}{count:>6}  {'#' * min(count, 60)}")
    if len(campaign.done) < wanted:
        print(f"the input was worked off before the other {wanted - len(campaign.done)} kills: give it more input")
