"""Worlds of clusters that found a bug once: each keeps the promise, and finds the bug when it is planted again.

Kept as options and not as seeds, like those of one worker (test_kept). Most are small and have one or two faults: what
the bug needs, and nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.chaos.catalogue import EVERYTHING, catalogue
from holdfast.chaos.cluster_faults import ClusterFault
from holdfast.chaos.cluster_faults import ClusterFaultKind as K
from holdfast.chaos.cluster_options import ROUND_OF
from holdfast.chaos.faults import ANY
from holdfast.chaos.network import NetworkOptions
from tests.chaos.quiet import COMMON, LATENCIES, NETWORK, QUIET, SETTINGS, Kept

KEPT = [
    Kept(
        "a coordinator that came back took a generation up again that its members had promised to leave",
        "promise-overlooked",
        replace(
            QUIET,
            network=replace(NETWORK, latency_ms=30.0, tail=0.01, doubled=0.2),
            common=replace(COMMON, seed=37, application="random-20", records_max=20, strict=True, tick_ms=100.0),
            faults=(ClusterFault(K.KILL_COORDINATOR, "handled Quiet", 5, 20.0, 0.0, (0, 4)),),
        ),
    ),
    Kept(
        "a process that had missed a generation counted as a holder of a past that was given up",
        "any-memory-counts",
        replace(
            QUIET,
            backups=2,
            network=replace(NETWORK, tail=0.01, doubled=0.2),
            common=replace(
                COMMON,
                seed=7,
                application="skipping",
                live=True,
                settings=replace(SETTINGS, unsealed_max=1),
                latencies_ms=LATENCIES | {"log": 0.1, "source": 5.0, "store": 0.1},
            ),
            faults=(
                ClusterFault(K.ZOMBIE, "handled Stage", 3, 150.0, 0.0, (2, 5)),
                ClusterFault(K.ZOMBIE, "handled UpdateSet", 3, 20.0, 30.0, (0, 2)),
            ),
        ),
    ),
    Kept(
        "a process that had missed a generation returned in its own memory",
        "past-remembered",
        replace(
            QUIET,
            workers=2,
            backups=2,
            status_ms=0.0,
            network=replace(NETWORK, late=0.1),
            common=replace(
                COMMON, seed=29, application="random-28", live=True, settings=replace(SETTINGS, unsealed_max=1)
            ),
            faults=(
                ClusterFault(K.RESET, ANY, 36, 3.0, 0.0, (1, 4)),
                ClusterFault(K.RESET, ANY, 16, 20.0, 1.0, (0, 1)),
                ClusterFault(K.ZOMBIE, ANY, 21, 600.0, 1.0, (1, 0)),
            ),
        ),
    ),
    Kept(
        "a file was gone on with behind a hole that a power loss had left",
        "lost-output-trusted",
        replace(
            QUIET,
            common=replace(
                COMMON,
                seed=20,
                application="stops among timers-2",
                live=True,
                settings=replace(SETTINGS, unsealed_max=1),
            ),
            faults=(ClusterFault(K.POWER_LOSS, "done Deliver", 5, 20.0, 1.0, (3, 1)),),
        ),
    ),
    Kept(
        "a range lost a holder before another had its images",
        "holder-dropped-early",
        replace(
            QUIET,
            common=replace(COMMON, seed=3, application="stops among timers-3", live=True),
            faults=(ClusterFault(K.JOIN, ANY, 59, 3.0, 30.0, (0, 2)),),
        ),
    ),
    Kept(
        "too many epochs were not sealed, and nobody asked for the cut that would have sealed them",
        "no-cut-when-full",
        replace(
            QUIET,
            common=replace(
                COMMON,
                seed=10,
                application="stops among timers-0",
                live=True,
                settings=replace(SETTINGS, unsealed_max=1),
            ),
        ),
    ),
    Kept(
        "a stop at a failing record made one last checkpoint after the other",
        "half-applied-counts",
        replace(
            QUIET,
            ranges=5,
            collect_ms=200,
            status_ms=10.0,
            beat_ms=500.0,
            common=replace(
                COMMON,
                seed=0,
                application="diamond through an entity",
                records_max=10,
                broken=20,
                ends=False,
                notices_end=False,
                tick_ms=20.0,
            ),
        ),
    ),
    Kept(
        "what a stop had left of an epoch was worked on as a whole",
        "stop-forgotten",
        replace(
            QUIET,
            workers=2,
            backups=2,
            ranges=1,
            collect_ms=200,
            waiting_ms=50,
            status_ms=10.0,
            beat_ms=500.0,
            network=replace(NETWORK, tail=0.1, doubled=0.2, late=0.01, late_ms=20.0, notice_ms=500.0, levels_lost=0.05),
            common=replace(
                COMMON,
                seed=2,
                application="random-36",
                records_max=20,
                strict=True,
                settings=replace(SETTINGS, backups=2),
            ),
            faults=(ClusterFault(K.PAUSE, "handled EntriesRead", 1, 600.0, 1.0, (4, 2)),),
        ),
    ),
    Kept(
        "a worker whose connection broke while it had nothing new to say was never counted again",
        "same-words-unheard",
        replace(
            QUIET,
            workers=2,
            backups=2,
            ranges=5,
            partitions=1,
            coordinator_tick_ms=100.0,
            waiting_ms=50,
            status_ms=10.0,
            beat_ms=500.0,
            drift=0.01,
            network=NetworkOptions(
                latency_ms=30.0, tail=0.1, doubled=0.02, late=0.1, late_ms=20.0, notice_ms=500.0, levels_lost=0.4
            ),
            common=replace(
                COMMON,
                seed=0,
                application="random-7",
                records_max=20,
                mends=False,
                tick_ms=20.0,
                settings=replace(SETTINGS, backups=2),
            ),
            faults=(ClusterFault(K.RESET, "coordinator ordered Ask", 1, 150.0, 0.0, (4, 5)),),
        ),
    ),
    Kept(
        "a member waited for ever for a round that an earlier life of the coordinator had ordered",
        "round-never-given-up",
        replace(
            QUIET,
            ranges=5,
            collect_ms=200,
            status_ms=10.0,
            beat_ms=500.0,
            network=replace(NETWORK, latency_ms=5.0, tail=0.1, doubled=0.02, late=0.1, notice_ms=20.0),
            common=replace(
                COMMON,
                seed=0,
                application="diamond through an entity",
                records_max=20,
                live=True,
                ends=False,
                notices_end=False,
                tick_ms=20.0,
                latencies_ms=LATENCIES | {"log": 15.0, "state": 0.1, "sync": 20.0, "sink": 0.05, "source": 0.01},
            ),
            faults=(ClusterFault(K.KILL_COORDINATOR, "coordinator ordered Run", 8, 3.0, 1.0, (5, 3)),),
        ),
    ),
    Kept(
        "a stop before anything was read never came to its last checkpoint",
        "stop-reads-nothing",
        replace(
            QUIET,
            workers=2,
            backups=2,
            ranges=5,
            collect_ms=200,
            status_ms=10.0,
            beat_ms=500.0,
            common=replace(
                COMMON,
                seed=0,
                application="diamond through an entity",
                ends=False,
                notices_end=False,
                tick_ms=20.0,
                settings=replace(SETTINGS, backups=2),
                latencies_ms=LATENCIES | {"log": 15.0, "state": 0.1, "sync": 20.0, "sink": 0.05, "source": 0.01},
            ),
            faults=(ClusterFault(K.STOP, ANY, 41, 600.0, 1.0, (0, 2)),),
        ),
    ),
    Kept(
        "a call failed in an epoch that was lost with its member, and the cluster stopped at another record's place",
        "failure-told-early",
        replace(
            QUIET,
            workers=2,
            status_ms=0.0,
            collect_ms=50,
            waiting_ms=50,
            network=replace(NETWORK, latency_ms=5.0),
            common=replace(
                COMMON,
                seed=25,
                application="random-1",
                records_max=10,
                broken=3,
                strict=True,
                mends=False,
                live=True,
                latencies_ms=LATENCIES | {"log": 0.1},
            ),
            faults=(ClusterFault(K.LAG, "done AppendEntries", 4, 600.0, 0.0, (0, 1)),),
        ),
    ),
    Kept(
        "the turns of an epoch that had ended early had other times when the rest of it was worked off",
        "time-behind-stop",
        replace(
            QUIET,
            common=replace(
                COMMON, seed=35, application="random-34", strict=True, limits=dict.fromkeys(ROUND_OF, 1)
            ),
        ),
    ),
    Kept(
        "a snapshot that came behind another primary's update set ended the process",
        "snapshot-before-all-updates",
        replace(
            QUIET,
            backups=2,
            network=replace(NETWORK, latency_ms=5.0, tail=0.1),
            common=replace(
                COMMON,
                seed=74,
                application="random-37",
                live=True,
                settings=replace(SETTINGS, cut_ms=0),
                latencies_ms=LATENCIES | {"log": 0.1},
            ),
            faults=(
                ClusterFault(K.JOIN, ANY, 29, 20.0, 0.0, (5, 3)),
                ClusterFault(K.KILL, "handled Stage", 1, 600.0, 1.0, (5, 3)),
            ),
        ),
    ),
    Kept(
        "a newcomer did not know when the last turn was, and fired timers at another time",
        "time-not-told",
        replace(
            QUIET,
            backups=2,
            ranges=2,
            collect_ms=200,
            status_ms=0.0,
            beat_ms=500.0,
            drift=0.01,
            network=replace(NETWORK, doubled=0.02, late=0.1, late_ms=20.0),
            common=replace(
                COMMON,
                seed=29,
                application="random-28",
                records_max=20,
                broken=3,
                mends=False,
                live=True,
                ends=False,
                tick_ms=20.0,
                settings=replace(SETTINGS, backups=2),
            ),
            faults=(
                ClusterFault(K.KILL_SOME, "handled Quiet", 1, 20.0, 1.0, (4, 3)),
                ClusterFault(K.RESET, "done ReadChunks", 3, 3.0, 300.0, (4, 2)),
            ),
        ),
    ),
    Kept(
        "of two failures in one epoch the one that was told first counted, not the one that comes first",
        "first-failure-stays",
        replace(
            QUIET,
            workers=2,
            ranges=2,
            collect_ms=200,
            waiting_ms=50,
            status_ms=10.0,
            beat_ms=500.0,
            common=replace(
                COMMON, seed=2, application="random-36", records_max=20, broken=7, strict=True, live=True
            ),
        ),
    ),
    Kept(
        "what had come to its end was started again later, and fired a timer that had not been due",
        "timers-after-the-end",
        replace(
            QUIET,
            workers=2,
            ranges=1,
            partitions=3,
            coordinator_tick_ms=100.0,
            collect_ms=50,
            waiting_ms=50,
            drift=0.05,
            network=replace(NETWORK, latency_ms=5.0, tail=0.1, late=0.1, late_ms=300.0),
            common=replace(
                COMMON, seed=0, application="timers that set timers", records_max=10, live=True, notices_end=False
            ),
            faults=(ClusterFault(K.STOP, ANY, 58, 150.0, 1.0, (4, 3)),),
        ),
    ),
    Kept(
        "a range on its way to another member arrived as it was when the move began",
        "moving-range-not-updated",
        replace(
            QUIET,
            workers=2,
            backups=0,
            ranges=5,
            partitions=1,
            collect_ms=200,
            waiting_ms=2000,
            drift=0.05,
            common=replace(
                COMMON,
                seed=14,
                application="random-26",
                records_max=10,
                mends=False,
                live=True,
                notices_end=False,
                settings=replace(
                    SETTINGS,
                    checkpoint_ms=20,
                    epoch_bytes_min=500,
                    epoch_bytes_max=500,
                    epochs_in_flight=8,
                    undelivered_max=1,
                    slice_records=1,
                    rows_per_slice=1,
                    cut_ms=0,
                    backups=0,
                ),
                latencies_ms=LATENCIES | {"log": 15.0, "sync": 0.1},
            ),
            faults=(ClusterFault(K.LEAVE, ANY, 46, 3.0, 1.0, (0, 1)),),
        ),
    ),
]


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.bug)
def test_a_cluster_that_found_a_bug_keeps_the_promise_and_still_finds_it(kept: Kept) -> None:
    kept.judge(catalogue(EVERYTHING))
