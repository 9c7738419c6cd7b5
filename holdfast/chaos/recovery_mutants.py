"""Planted bugs of the coordinator: each takes one rule of its decisions, its record or its store away (see mutants)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.chaos.cluster_node import ClusterNode
from holdfast.chaos.planting import Ground, Mutants
from holdfast.recovery import changes, coordinator, cuts, decide, layout, lineages, logs
from holdfast.recovery.events import Kept
from holdfast.recovery.orders import Orders
from holdfast.recovery.roster import Roster
from holdfast.recovery.rounds import Rounds
from holdfast.recovery.shelf import Shelf
from holdfast.recovery.testimony import Reporter, is_member
from holdfast.worker import member

RECOVERY_MUTANTS = Mutants()


# --- what is durable before it is said


def _known_at_once(ground: Ground, taken: Any) -> None:
    """What is put on the shelf counts before it is durable, where `taken` says so of what was kept and is put."""

    def put(store: Any, shelf: Shelf, kept: Kept) -> Any:
        if taken(shelf.kept, kept):
            shelf.kept, shelf.pending = kept, None
        return store

    ground.after(Shelf, "put", put)


@RECOVERY_MUTANTS.enter("number-asked-early", "a generation's number is durable before anybody is asked with it")
def _number_asked_early(ground: Ground) -> None:
    _known_at_once(ground, lambda old, new: new.drawn > old.drawn)


@RECOVERY_MUTANTS.enter("announced-early", "a generation is recorded before anybody hears of it")
def _announced_early(ground: Ground) -> None:
    _known_at_once(ground, lambda old, new: new.formation != old.formation)


@RECOVERY_MUTANTS.enter("checkpoint-told-early", "a checkpoint is recorded before anybody is told that it is complete")
def _checkpoint_told_early(ground: Ground) -> None:
    _known_at_once(ground, lambda old, new: new.checkpoint != old.checkpoint)


@RECOVERY_MUTANTS.enter("complete-when-first-prepared", "a checkpoint is complete when all members have it on disk")
def _complete_when_first_prepared(ground: Ground) -> None:
    def make(original: Any) -> Any:
        def completed(rounds: Rounds, formation: Any, statuses: Any) -> Any:
            prepared = [own for own in statuses if own.prepared == rounds.ordered]
            return original(rounds, formation, prepared) if prepared else None

        return completed

    ground.replace(Rounds, "completed", make)


@RECOVERY_MUTANTS.enter("orders-start-over", "orders are numbered on over all lives of the coordinator")
def _orders_start_over(ground: Ground) -> None:
    ground.instead(Orders, "begin", lambda orders, life: None)


@RECOVERY_MUTANTS.enter("promise-overlooked", "a generation is not taken up again that a member has promised to leave")
def _promise_overlooked(ground: Ground) -> None:
    def forget(found: list[Any], *rest: Any) -> list[Any]:
        return [replace(own, promised=0) for own in found]

    def unless_promised(found: str | None, *rest: Any) -> str | None:
        return None if found is not None and "promised" in found else found

    ground.after(Roster, "members", forget)
    ground.after(coordinator, "lost_member", unless_promised)


# --- the cut


@RECOVERY_MUTANTS.enter("newest-cut-held", "a return goes to a sealed cut, not to the newest that all hold")
def _newest_cut_held(ground: Ground) -> None:
    def newest(sealed: int, record: Any, checkpoint: Any, reporters: Any) -> int:
        tops = [
            one.top
            for node, reporter in reporters.items()
            if is_member(record, node, reporter) and reporter.report.remembers == record.number
            for one in reporter.report.memory
        ]
        return max(sealed, min(tops, default=0))

    ground.after(cuts, "newest_sealed", newest)


@RECOVERY_MUTANTS.enter("sealed-not-asked", "a return goes to the newest cut that anybody knows to be sealed")
def _sealed_not_asked(ground: Ground) -> None:
    def only_recorded(_: int, record: Any, checkpoint: Any, reporters: Any) -> int:
        return int(max(record.cut, checkpoint.epoch if checkpoint else 0))

    ground.after(cuts, "newest_sealed", only_recorded)


@RECOVERY_MUTANTS.enter("any-memory-counts", "memory counts only of who took part in every generation since its return")
def _any_memory_counts(ground: Ground) -> None:
    ground.instead(cuts, "remembers", lambda record, node, reporter, cut: bool(reporter.report.memory))
    ground.instead(member.Member, "_remembers", lambda own, formation: bool(own.holding.returned_in))


@RECOVERY_MUTANTS.enter("memory-at-any-cut", "memory counts at the cuts that it reaches")
def _memory_at_any_cut(ground: Ground) -> None:
    def widened(reporter: Any) -> Any:
        memory = tuple(replace(one, base=0, top=1 << 60) for one in reporter.report.memory)
        return replace(reporter, report=replace(reporter.report, memory=memory))

    def make(in_memory: Any) -> Any:
        def held(record: Any, reporters: Any, cut: int, ranges: int) -> Any:
            return in_memory(record, {node: widened(own) for node, own in reporters.items()}, cut, ranges)

        return held

    ground.replace(cuts, "in_memory", make)


@RECOVERY_MUTANTS.enter("any-checkpoint-on-disk", "a disk counts that has the last complete checkpoint, not another")
def _any_checkpoint_on_disk(ground: Ground) -> None:
    def held(found: Any, checkpoint: Any, node: str, reporter: Any) -> Any:
        return found or (checkpoint.held_by(node) if reporter.report.complete is not None else ())

    ground.after(cuts, "ranges_on_disk", held)


@RECOVERY_MUTANTS.enter("stale-reports", "a report counts for the number that it was asked with")
def _stale_reports(ground: Ground) -> None:
    def all_of_them(roster: Roster, promise: int) -> Any:
        reports = [(node, own.status, own.status.report) for node, own in roster.alive.items()]
        return {node: Reporter(status.incarnation, report) for node, status, report in reports if report is not None}

    ground.instead(Roster, "reporters", all_of_them)


# --- the logs


@RECOVERY_MUTANTS.enter("any-log-counts", "only a listed holder's log counts")
def _any_log_counts(ground: Ground) -> None:
    ground.instead(logs, "counts", lambda record, checkpoint, node, reporter, partition: True)


@RECOVERY_MUTANTS.enter("lacking-log-counts", "a new holder's log counts once it has all that was adopted")
def _lacking_log_counts(ground: Ground) -> None:
    def listed(record: Any, checkpoint: Any, node: str, reporter: Any, partition: int) -> bool:
        held = dict(reporter.report.logs)
        return record is None or (node in record.layout.partitions[partition].all and partition in held)

    ground.instead(logs, "counts", listed)


@RECOVERY_MUTANTS.enter("stale-log-counts", "of a counted log only what agrees with the recorded one is adopted")
def _stale_log_counts(ground: Ground) -> None:
    ground.instead(
        logs, "as_adopted", lambda record, node, reporter, partition: logs.lineage(reporter, partition)
    )


@RECOVERY_MUTANTS.enter("leading-log-not-whole", "who leads a partition has the whole adopted log")
def _leading_log_not_whole(ground: Ground) -> None:
    def make(laid_out: Any) -> Any:
        def with_any_log(record: Any, goal: Any, ground_: Any, logs_: Any, wish: Any) -> Any:
            adopted = tuple(replace(own, whole=own.whole | own.counted) for own in logs_.adopted)
            return laid_out(record, goal, ground_, replace(logs_, adopted=adopted), wish)

        return with_any_log

    ground.replace(decide, "_layout", make)


@RECOVERY_MUTANTS.enter("log-never-cut-off", "what a log has beyond the adopted one is cut off")
def _log_never_cut_off(ground: Ground) -> None:
    def everything(found: int, formation: Any, node: str, partition: int, own: Any) -> int:
        return found if found == lineages.NOTHING else max(found, own.tail)

    ground.after(member, "kept", everything)


@RECOVERY_MUTANTS.enter("no-levelling", "new input enters epochs behind all adopted logs only")
def _no_levelling(ground: Ground) -> None:
    ground.instead(logs, "level_of", lambda adopted, cut, *, live: max(cut, min(own.tail for own in adopted)))


@RECOVERY_MUTANTS.enter("finite-not-cut-off", "finite sources read an epoch again that one of them lost")
def _finite_not_cut_off(ground: Ground) -> None:
    level_of = logs.level_of
    ground.instead(logs, "level_of", lambda adopted, cut, *, live: level_of(adopted, cut, live=True))


# --- who leaves, who comes


@RECOVERY_MUTANTS.enter("left-before-checkpoint", "a node may go when a checkpoint is complete without it")
def _left_before_checkpoint(ground: Ground) -> None:
    def not_member(kept: Kept, node: str) -> bool:
        return kept.formation is not None and kept.formation.member(node) is None

    ground.instead(changes, "may_end", not_member)
    ground.instead(coordinator, "may_end", not_member)


@RECOVERY_MUTANTS.enter("holder-dropped-early", "an old holder stays until others have what it has")
def _holder_dropped_early(ground: Ground) -> None:
    def make(original: Any) -> Any:
        def on_the_way(goal: Any, now: Any, leading: Any, copies: Any, shunned: Any, load: Any) -> Any:
            found = original(goal, now, leading, copies, shunned, load)
            return replace(found, backups=tuple(node for node in found.backups if node in goal.all))

        return on_the_way

    ground.replace(layout, "_on_the_way", make)


@RECOVERY_MUTANTS.enter("wiped-disk-keeps-name", "a disk that was lost makes another node")
def _wiped_disk_keeps_name(ground: Ground) -> None:
    def make(wipe: Any) -> Any:
        def wiped(node: ClusterNode, down_ms: float) -> None:
            name = node.name
            wipe(node, down_ms)
            node.name = name

        return wiped

    ground.replace(ClusterNode, "wipe", make)
