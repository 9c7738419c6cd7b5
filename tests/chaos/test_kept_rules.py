"""Worlds of clusters that show what a rule is for which seeds seldom or never miss: each finds the bug that lacks it.

As in test_kept_clusters, but none of these bugs was ever there.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.chaos.catalogue import EVERYTHING, catalogue
from holdfast.chaos.cluster_faults import ClusterFault
from holdfast.chaos.cluster_faults import ClusterFaultKind as K
from holdfast.chaos.cluster_options import ROUND_OF
from holdfast.chaos.faults import ANY
from tests.chaos import several
from tests.chaos.quiet import COMMON, IN_PARTS, LATENCIES, NETWORK, QUIET, SETTINGS, Kept

KEPT_RULES = [
    Kept(
        "a member that had not heard that all sources had ended opened an epoch for a timer",
        "timers-unheard",
        replace(QUIET, workers=2, common=replace(COMMON, seed=36, application="stops among timers-3", live=True)),
    ),
    Kept(
        "a member was told to go on before it was known that all sources had ended",
        "unknown-told",
        replace(
            QUIET,
            workers=1,
            common=replace(COMMON, seed=7, application="timers that set timers", records_max=10, live=True),
        ),
    ),
    Kept(
        "nobody was told that all sources had ended, and a timer opened an epoch behind the last checkpoint",
        "ended-not-told",
        replace(
            QUIET,
            workers=1,
            status_ms=0.0,
            network=replace(NETWORK, latency_ms=30.0),
            common=replace(
                COMMON, seed=0, application="random-21", live=True, settings=replace(SETTINGS, cut_ms=0)
            ),
            faults=(
                ClusterFault(K.KILL, ANY, 48, 20.0, 0.0, (3, 2)),
                ClusterFault(K.KILL_ALL, ANY, 201, 150.0, 1.0, (1, 5)),
            ),
        ),
    ),
    Kept(
        "a node was let go that alone had, beside one other, the last checkpoint of what it had held",
        "left-before-checkpoint",
        replace(
            QUIET,
            ranges=2,
            common=replace(
                COMMON,
                seed=24,
                application="uneven clocks-0",
                live=True,
                settings=replace(SETTINGS, checkpoint_ms=20),
                latencies_ms=LATENCIES | {"state": 20.0},
            ),
            faults=(
                ClusterFault(K.LEAVE, ANY, 279, 20.0, 0.0, (0, 2)),
                ClusterFault(K.RESET, "handled ImagesHeld", 8, 20.0, 0.0, (2, 0)),
            ),
        ),
    ),
    Kept(
        "the only one left had all images, did not know where the sinks had stood, and stood still for ever",
        "tokens-behind-images",
        replace(
            QUIET,
            workers=2,
            partitions=3,
            collect_ms=50,
            network=replace(NETWORK, latency_ms=30.0, tail=0.1),
            common=replace(COMMON, seed=2, application="sets and dicts", live=True),
            faults=(
                ClusterFault(K.JOIN, ANY, 135, 20.0, 0.0, (0, 1)),
                ClusterFault(K.KILL, ANY, 19, 20.0, 1.0, (2, 1)),
                ClusterFault(K.LAG, "ordered Snapshot", 1, 20.0, 1000.0, (4, 0)),
            ),
        ),
    ),
    Kept(
        "a backup acknowledged a cut of which it had a part",
        "cut-held-in-part",
        replace(
            QUIET,
            ranges=5,
            partitions=3,
            network=replace(NETWORK, latency_ms=5.0, tail=0.1),
            common=replace(COMMON, seed=0, application="replied-only", limits=IN_PARTS),
            faults=(
                ClusterFault(K.LAG, ANY, 48, 150.0, 30.0, (3, 2)),
                ClusterFault(K.LAG, "done AppendEntries", 3, 150.0, 1.0, (2, 1)),
                ClusterFault(K.LAG, "handled EntriesSynced", 3, 600.0, 30.0, (0, 2)),
            ),
        ),
    ),
    Kept(
        "a part of an update set counted as all of it",
        "half-update-set-counts",
        replace(QUIET, common=replace(COMMON, seed=34, application="deletion", limits=IN_PARTS)),
    ),
    Kept(
        "a finite source was told to forget what another partition's loss made it give once more",
        "sources-told-of-own-logs",
        replace(
            QUIET,
            network=replace(NETWORK, latency_ms=5.0),
            common=replace(
                COMMON,
                seed=11,
                application="awkward keys",
                limits=dict.fromkeys(ROUND_OF, 1),
                latencies_ms=LATENCIES | {"log": 0.1},
            ),
            faults=(ClusterFault(K.LAG, "done AppendEntries", 5, 150.0, 0.0, (0, 1)),),
        ),
    ),
    Kept(
        "a worker that had lost the end of its log led the partition before one that had all of it",
        "leading-log-not-whole",
        replace(
            QUIET,
            common=replace(
                COMMON, seed=24, application="random-12", live=True, latencies_ms=LATENCIES | {"log": 15.0}
            ),
            faults=(ClusterFault(K.KILL, "ordered AppendEntries", 4, 20.0, 0.0, (0, 1)),),
        ),
    ),
    Kept(
        "messages of one number went to several members, and did not find back into their order",
        "numbered-where-one-becomes-several",
        replace(QUIET, common=replace(COMMON, application=several.NAME)),
    ),
]


@pytest.mark.parametrize("kept", KEPT_RULES, ids=lambda kept: kept.bug)
def test_a_cluster_without_the_rule_breaks_the_promise_and_with_it_does_not(kept: Kept) -> None:
    kept.judge({**catalogue(EVERYTHING), **catalogue(several.NAME)})
