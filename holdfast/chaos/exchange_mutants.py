"""Planted bugs of what goes in and out of a cluster and between its members: each takes one rule away (see mutants).

Numbers in place of positions, sinks in partitions, what sources are told, and what a generation's members send first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.chaos.planting import Ground, Mutants, instead_property
from holdfast.core import pipeline as pipeline_module
from holdfast.core.plan import Plan
from holdfast.replication.log_copies import LogCopies
from holdfast.replication.messages import Snapshot, Tokens, UpdateSet
from holdfast.worker import stages as stages_module
from holdfast.worker.parts import Parts
from holdfast.worker.running import Running
from holdfast.worker.stages import Stages
from holdfast.worker.telling import Telling

EXCHANGE_MUTANTS = Mutants()


# --- numbers in place of positions


@EXCHANGE_MUTANTS.enter("numbered-where-one-becomes-several", "messages of one number go to one key")
def _numbered_where_one_becomes_several(ground: Ground) -> None:
    instead_property(ground, Plan, "numbers_suffice", lambda plan: not plan.needs_positions)


@EXCHANGE_MUTANTS.enter("numbered-without-place", "numbers of all members sort by turn and partition first")
def _numbered_without_place(ground: Ground) -> None:
    ground.instead(pipeline_module, "number_base", lambda turn, partition, partitions: partition)


# --- sinks in partitions


@EXCHANGE_MUTANTS.enter("one-owner-for-all-parts", "each partition of a sink has an owner of its own")
def _one_owner_for_all_parts(ground: Ground) -> None:
    def to_the_first(stages: Stages, sink: int, column: Any) -> dict[str, Any]:
        return {stages.sink_owners[stages.plan.sink_number[sink]]: column}

    ground.instead(Stages, "_by_owner", to_the_first)


@EXCHANGE_MUTANTS.enter("parts-not-told-apart", "an output goes to the partition that its key gives")
def _parts_not_told_apart(ground: Ground) -> None:
    ground.instead(stages_module, "by_partition", lambda column: {min(column.keys): column.messages})


# --- what sources are told


@EXCHANGE_MUTANTS.enter("sources-told-early", "a source is told of what is durable at every member")
def _sources_told_early(ground: Ground) -> None:
    ground.replace(Telling, "upto", lambda upto: lambda telling, durable: upto(telling, 1 << 60))


@EXCHANGE_MUTANTS.enter("sources-told-of-own-logs", "a source is told of no epoch that others may still lose")
def _sources_told_of_own_logs(ground: Ground) -> None:
    def make(close: Any) -> Any:
        def closed(running: Running) -> Any:
            return [*close(running), *running.parts.telling.upto(running.logs.copies.durable)]

        return closed

    ground.replace(Running, "_close", make)


@EXCHANGE_MUTANTS.enter("own-disk-not-awaited", "an epoch is durable when its own part is on the own disk as well")
def _own_disk_not_awaited(ground: Ground) -> None:
    def make(durable: Any) -> Any:
        def everywhere_else(copies: LogCopies) -> int:
            synced, copies.synced = copies.synced, copies.closed
            try:
                return int(durable.fget(copies))
            finally:
                copies.synced = synced

        return property(everywhere_else)

    ground.replace(LogCopies, "durable", make)


@EXCHANGE_MUTANTS.enter("clock-of-block-alone", "a partition's time never goes back from one entry to the next")
def _clock_of_block_alone(ground: Ground) -> None:
    def make(entry: Any) -> Any:
        def made(parts: Parts, own: Any, *rest: Any) -> Any:
            own.cursor = replace(own.cursor, clock=0)
            return entry(parts, own, *rest)

        return made

    ground.replace(Parts, "_entry", make)


# --- what is sent first


def _held_back(ground: Ground, kind: type, until: type) -> None:
    """What a generation's members send of this kind at its beginning leaves behind the first of the other kind."""

    def hold(orders: Any, running: Running) -> Any:
        running.held_back = [one for one in running.outbox if isinstance(one[1], kind)]  # type: ignore[attr-defined]
        running.outbox = [one for one in running.outbox if not isinstance(one[1], kind)]
        return orders

    def let_go(running: Running, **named: Any) -> None:
        if any(isinstance(message, until) for _, message in running.outbox):
            running.outbox += running.held_back  # type: ignore[attr-defined]
            running.held_back = []  # type: ignore[attr-defined]

    ground.after(Running, "begin", hold)
    ground.before(Running, "flush", let_go)


@EXCHANGE_MUTANTS.enter("tokens-behind-images", "who gets images knows before where the sinks stood")
def _tokens_behind_images(ground: Ground) -> None:
    def behind(orders: Any, running: Running) -> Any:
        running.outbox.sort(key=lambda one: isinstance(one[1], Tokens))
        return orders

    ground.after(Running, "begin", behind)


@EXCHANGE_MUTANTS.enter("updates-before-snapshot", "a new backup gets a snapshot before any update set")
def _updates_before_snapshot(ground: Ground) -> None:
    _held_back(ground, Snapshot, UpdateSet)
