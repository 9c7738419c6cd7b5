"""Rare situations that a world was in: proof that the faults are strong enough to reach them.

A situation is named here once; whoever sees it counts it. A campaign adds the counters of its worlds and a
test demands that none stays at zero.
"""

from __future__ import annotations

from collections import Counter

SITUATIONS = {
    "kill during recovery": "the process ended while it read its checkpoint or its log",
    "kill during replay": "the process ended after it had begun to apply logged epochs again",
    "kill in the middle of a commit": "a transaction of the log or the state was under way",
    "commit survived a kill unheard": "it was found whole although its answer never arrived",
    "kill in the middle of a write": "a file holds a part of what was to be written",
    "kill between staging and completing": "chunks were staged for a checkpoint that never completed",
    "staged leftovers dropped": "a start found chunks of a checkpoint that does not count",
    "kill between completing and trimming": "the log still covers epochs of the checkpoint",
    "stop during recovery": "a clean end was asked for before the log was replayed",
    "power loss": "what was not synced was at risk",
    "output shortened by power loss": "an output file lost bytes that had been written",
    "torn tail overwritten": "differing bytes that read NUL were written again",
    "output compared": "regenerated output was found to stand already",
    "start behind delivered output": "a sink holds more than the checkpoint says",
    "start with nothing to replay": "after a clean stop",
    "return in process": "a call failed after state was touched",
    "return with a place to stop": "and the place of the failure was known",
    "stopped at a failing record": "processing ended before the record that failed",
    "mended after a stop": "the application went on from a checkpoint in the middle of an epoch",
    "several epochs in one commit": "the log wrote what had arrived while it was busy",
    "several epochs in flight": "one was applied while a later one was being logged",
    "delivery while a checkpoint was staged": "the stream went on meanwhile",
    "early encode": "an entity about to be changed was encoded before its slice",
    "rows folded": "entities were written one by one",
    "rows loaded": "an entity came back from its row",
    "row found": "and there was one",
    "fold repeated": "a start folded what its last life may not have folded",
    "chunks dropped": "a checkpoint made older chunks superfluous",
    "timers on disk at a start": "entities that are loaded one by one had timers set",
    "sweep over": "clean entities were all written again, and older chunks went",
    "log trimmed": "a checkpoint made the oldest epochs superfluous",
    "timer alone opened an epoch": "an epoch without records was logged",
    "clock set back": "time in the events went backwards",
    "crash on crash": "two ends of the process without a delivery between",
    "repeats received": "a sink that can't tell was given outputs again",
}
# What only a cluster meets; of those above it meets some.
CLUSTER_SITUATIONS = {
    "message doubled": "it arrived twice",
    "message of an old connection": "it arrived long after, perhaps at another life of the process",
    "connection given up in silence": "a path was blocked for longer than anyone waits",
    "cluster waited": "nothing could go on before somebody returned",
    "disk full": "a process ended because it could not write",
    "sync failed": "a process ended because a commit did",
    "damage found": "a disk was read in which a bit had turned over, and its machine came back as another node",
    "zombie in a change": "a process that was left out reported what it held while the next generation was formed",
    "disk lost": "a machine came back as another node, with nothing",
    "coordinator killed": "while a generation was running",
    "coordinator killed during a change": "between drawing a number and recording the generation",
    "promotion": "a backup became the primary of one that was lost",
    "promotion during recovery": "a backup became a primary before the generation before had begun everywhere",
    "sink lagging behind a cut": "a cut was made here whose outputs the own sinks did not have yet",
    "two recoveries chained": "a generation ended before any of its members had begun it",
    "return in memory": "to a sealed cut that the survivors held",
    "return to a checkpoint": "from the disks",
    "output lost behind a cut in memory": "its machine lost power, and it goes on from the checkpoint",
    "return behind a sealed cut": "because no survivor had a range in memory",
    "catch-up": "a generation began with a holder that lacked something",
    "catch-up interrupted": "a process was killed while its backups lacked something",
    "planned change interrupted": "a process was killed while the layout was on its way to another",
    "careful generation": "a call had failed after state was touched",
    "node asked to leave": "by the operator",
    "start with another number of workers": "than the data were made with",
    "start with a prepared checkpoint that counts": "the coordinator had recorded it, and the worker had not heard",
}

# Of those that one worker meets too, a cluster must meet these as well.
CLUSTER_SITUATIONS_TOO = (
    "kill during recovery",
    "kill during replay",
    "kill between staging and completing",
    "staged leftovers dropped",
    "power loss",
    "output shortened by power loss",
    "output compared",
    "start behind delivered output",
    "stopped at a failing record",
    "repeats received",
)
ALL_CLUSTER_SITUATIONS = (*CLUSTER_SITUATIONS, *CLUSTER_SITUATIONS_TOO)


class Counters:
    """How often each situation was met."""

    def __init__(self) -> None:
        self._met: Counter[str] = Counter()

    def meet(self, situation: str) -> None:
        """Count one."""
        assert situation in SITUATIONS or situation in CLUSTER_SITUATIONS, f"{situation!r} has no description"
        self._met[situation] += 1

    def add(self, other: Counters) -> None:
        """Add another world's."""
        self._met.update(other._met)

    def __getitem__(self, situation: str) -> int:
        return self._met[situation]

    def missing(self) -> list[str]:
        """Return the situations never met."""
        return [situation for situation in SITUATIONS if not self._met[situation]]
