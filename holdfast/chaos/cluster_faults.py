"""What goes wrong in a cluster, and what is asked of it meanwhile: a list drawn before the run (see faults).

A fault strikes at a boundary of some process; what it strikes is the machine where that was, or the machines with the
numbers in `at`. What one does is the world's to carry out, and never more than the promise covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from holdfast.chaos.faults import ANY

CLUSTER_PATIENCE = 900  # boundaries; a cluster passes several times as many as one worker


class ClusterFaultKind(Enum):
    """What goes wrong, or is asked for."""

    KILL = "kill"  # the process ends here, worker or coordinator
    POWER_LOSS = "power-loss"  # the machine as well: what was not synced is lost, in part or torn
    KILL_SOME = "kill-some"  # the machines in `at`
    KILL_ALL = "kill-all"  # every worker
    POWER_LOSS_ALL = "power-loss-all"  # every machine, the coordinator's too
    KILL_COORDINATOR = "kill-coordinator"
    FULL_DISK = "full-disk"  # whatever is written here fails for a while, and who writes ends
    WIPE = "wipe"  # the disk here is lost, as soon as the promise covers that
    FAILED_SYNC = "failed-sync"  # the next commit here is answered with an error, and who ordered it ends
    FLIP = "flip"  # a bit of the disk here turns over, as soon as the promise covers that: found when it is read
    PAUSE = "pause"  # the process here stands still; others may have gone on without it
    ZOMBIE = "zombie"  # it stands still until others have left it out and are at the next change
    LAG = "lag"  # the disks of all others are slow, and then this process ends and stays away: it has what nobody has
    SLOW = "slow"  # disks and sinks here take many times as long for a while
    CLOCK_JUMP = "clock-jump"  # the clock here is set forward or back
    CUT = "cut"  # nothing passes from the first machine in `at` to the second
    PART = "part"  # nor back
    PARTITION = "partition"  # between the machines in `at` and all others; the coordinator is on one side
    CUT_OFF = "cut-off"  # between this machine and the coordinator
    RESET = "reset"  # all connections of this machine break
    JOIN = "join"  # one more machine comes
    LEAVE = "leave"  # the first machine in `at` is to go
    STOP = "stop"  # a clean stop of everything, and a start with another number of machines


K = ClusterFaultKind
# How often a kind comes among those that a seed may meet.
WEIGHTS = {
    K.KILL: 6,
    K.POWER_LOSS: 3,
    K.KILL_SOME: 2,
    K.KILL_ALL: 1,
    K.POWER_LOSS_ALL: 2,
    K.KILL_COORDINATOR: 3,
    K.FULL_DISK: 1,
    K.WIPE: 2,
    K.FAILED_SYNC: 1,
    K.FLIP: 1,
    K.PAUSE: 3,
    K.ZOMBIE: 2,
    K.SLOW: 1,
    K.CLOCK_JUMP: 1,
    K.CUT: 2,
    K.PART: 1,
    K.PARTITION: 2,
    K.CUT_OFF: 1,
    K.RESET: 2,
    K.JOIN: 2,
    K.LEAVE: 2,
    K.STOP: 1,
    K.LAG: 2,
}

# Boundaries that are rare among all of them and dangerous: faults look for these half of the time.
CLUSTER_MOMENTS = (
    "ordered Quiesce",
    "handled Quiet",
    "ordered AdoptFormation",
    "done AdoptFormation",
    "handled Adopted",
    "done ReadChunks",
    "handled ChunksRead",
    "handled Snapshot",
    "ordered Snapshot",
    "handled LogInstalled",
    "done InstallLog",
    "handled LogCopied",
    "handled LogHeld",
    "handled CursorRead",
    "handled EntriesRead",
    "ordered AppendEntries",
    "done AppendEntries",
    "handled EntriesSynced",
    "handled Stage",
    "handled UpdateSet",
    "ordered UpdateSet",
    "handled ImagesHeld",
    "handled Tokens",
    "ordered Deliver",
    "done Deliver",
    "handled Delivered",
    "done TakeToken",
    "ordered StageChunks",
    "done StageChunks",
    "done SyncSinks",
    "done PrepareCheckpoint",
    "handled CheckpointPrepared",
    "ordered CompleteCheckpoint",
    "done CompleteCheckpoint",
    "ordered TrimEntries",
    "done TrimEntries",
    "handled Ask",
    "handled Announce",
    "coordinator ordered Store",
    "coordinator stored",
    "coordinator ordered Ask",
    "coordinator ordered Announce",
    "coordinator ordered Run",
    "coordinator handled Heard",
)

# What happens between one generation and the next, and the kinds that make another one.
CHANGE_MOMENTS = (
    "handled Ask",
    "handled Quiet",
    "handled Announce",
    "ordered AdoptFormation",
    "done AdoptFormation",
    "handled Adopted",
    "handled Snapshot",
    "handled LogHeld",
    "coordinator stored",
    "coordinator ordered Ask",
    "coordinator ordered Announce",
)
CHANGE_KINDS = (K.RESET, K.RESET, K.KILL, K.CUT_OFF, K.PAUSE, K.ZOMBIE, K.KILL_COORDINATOR, K.KILL_SOME)
CHAINS = 0.2  # of the lists are of changes that interrupt changes


@dataclass(frozen=True, slots=True)
class ClusterFault:
    """One thing that goes wrong."""

    kind: ClusterFaultKind
    moment: str  # a boundary as the world names it, or ANY
    count: int  # the how-manieth such boundary after the fault before
    amount: float  # how long or how far, in milliseconds
    down_ms: float  # from the end of a process to the next start
    at: tuple[int, ...]  # numbers of machines, taken modulo how many there are

    def __str__(self) -> str:
        return (
            f"{self.kind.value} at {self.moment!r} #{self.count}: {self.amount:.0f} ms,"
            f" back after {self.down_ms:.0f} ms, machines {self.at}"
        )


def draw_cluster_faults(random: Random) -> tuple[ClusterFault, ...]:
    """Draw which kinds this seed may meet, how close together they come, and then the list."""
    kinds = [kind for kind, weight in WEIGHTS.items() if random.random() < 0.5 for _ in range(weight)]
    if not kinds or random.random() < 0.03:
        return ()
    if random.random() < CHAINS:
        return tuple(_draw(random, CHANGE_KINDS, CHANGE_MOMENTS, 8) for _ in range(random.randint(4, 12)))
    storm = random.random() < 0.25
    reach = random.choice((5, 30, 100, 400))
    moments = random.sample(CLUSTER_MOMENTS, k=random.randint(1, len(CLUSTER_MOMENTS)))
    number = random.randint(5, 14) if storm else random.choice((1, 2, 3, 4, 6, 8))
    return tuple(_draw(random, kinds, moments, 8 if storm else reach) for _ in range(number))


def _draw(
    random: Random, kinds: Sequence[ClusterFaultKind], moments: Sequence[str], reach: int
) -> ClusterFault:
    kind = random.choice(kinds)
    if random.random() < 0.4:
        moment, count = ANY, random.randint(1, reach)
    else:
        moment, count = random.choice(moments), random.choice((1, 1, 1, 2, 2, 3, 5, 8))
    amount = random.choice((3.0, 20.0, 150.0, 600.0, 3_000.0))
    if kind is ClusterFaultKind.CLOCK_JUMP:
        amount *= random.choice((-10.0, 10.0))
    at = tuple(random.sample(range(6), k=random.randint(2, 3)))
    return ClusterFault(kind, moment, count, amount, random.choice((0.0, 1.0, 30.0, 1_000.0)), at)
