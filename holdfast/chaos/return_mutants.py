"""Planted bugs of ends and returns: outputs, failures, moving ranges, what a generation begins with (see mutants)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from holdfast.chaos.planting import Ground, Mutants, instead_property
from holdfast.core.entities import Rows
from holdfast.core.images import pack
from holdfast.recovery import coordinator
from holdfast.recovery.generation import ROUND_BITS
from holdfast.recovery.orders import Orders
from holdfast.recovery.rounds import Rounds
from holdfast.worker import holding as holding_module
from holdfast.worker import staging as staging_module
from holdfast.worker.cuts import Cuts
from holdfast.worker.deliver import Delivery
from holdfast.worker.holding import VOID_STEP, Holding
from holdfast.worker.logs import Logs
from holdfast.worker.member import Member
from holdfast.worker.running import Running
from holdfast.worker.stages import Stages
from holdfast.worker.staging import Staging

RETURN_MUTANTS = Mutants()
ALL: Final = frozenset(range(1 << 12))  # ranges


# --- outputs


@RETURN_MUTANTS.enter("lost-output-trusted", "what was written and not synced is certain until a power loss only")
def _lost_output_trusted(ground: Ground) -> None:
    ground.after(Delivery, "__init__", lambda _, delivery, *rest, **named: setattr(delivery, "synced", True))


@RETURN_MUTANTS.enter("lost-output-overlooked", "a sink that lost its output at the cut is answered with a checkpoint")
def _lost_output_overlooked(ground: Ground) -> None:
    def make(decide: Any) -> Any:
        def decided(record: Any, checkpoint: Any, reporters: Any, shape: Any, wish: Any) -> Any:
            return decide(record, checkpoint, reporters, shape, replace(wish, on_disk=False))

        return decided

    ground.replace(coordinator, "decide", make)


@RETURN_MUTANTS.enter("numbers-start-over", "outputs are numbered on from the cut")
def _numbers_start_over(ground: Ground) -> None:
    def make(restore: Any) -> Any:
        return lambda delivery, sink, number, token: restore(delivery, sink, 0, token)

    ground.replace(Delivery, "restore", make)


@RETURN_MUTANTS.enter("outputs-behind-failure", "a sink gets outputs when every member has applied every step")
def _outputs_behind_failure(ground: Ground) -> None:
    def make(collect: Any) -> Any:
        def collected(stages: Stages, epoch: Any) -> bool:
            owners = stages.sink_owners
            own = [step for step in stages.plan.sinks if owners[stages.plan.sink_number[step.index]] == stages.node]
            if not all(epoch.exchange.has_all(stages.plan.feeders[step.index]) for step in own):
                return False
            has_all, epoch.exchange.has_all = epoch.exchange.has_all, lambda feeders: True
            try:
                return bool(collect(stages, epoch))
            finally:
                epoch.exchange.has_all = has_all

        return collected

    ground.replace(Stages, "collect", make)


# --- failures and stops


@RETURN_MUTANTS.enter("failure-told-early", "a failure is told once its epoch can't be lost")
def _failure_told_early(ground: Ground) -> None:
    instead_property(ground, Running, "told_failure", lambda running: running.failure)


@RETURN_MUTANTS.enter("first-failure-stays", "a failure met earlier in the order replaces one met later")
def _first_failure_stays(ground: Ground) -> None:
    def first(known: Any, statuses: Any) -> Any:
        return known or next((own.failure for own in statuses if own.failure is not None), None)

    ground.instead(coordinator, "earliest_failure", first)


@RETURN_MUTANTS.enter("cut-inside-epoch-sealed", "a cut at the end of an epoch that ends early is none to return to")
def _cut_inside_epoch_sealed(ground: Ground) -> None:
    ground.replace(Cuts, "seal", lambda seal: lambda cuts, progress, before: seal(cuts, progress, None))


@RETURN_MUTANTS.enter("stop-forgotten", "what a stop left of an epoch is worked on, and only that")
def _stop_forgotten(ground: Ground) -> None:
    ground.after(Stages, "begin", lambda _, stages, *rest: setattr(stages, "skip", None))


@RETURN_MUTANTS.enter("stop-not-awaited", "a stopped cluster is at rest when all members have heard of the stop")
def _stop_not_awaited(ground: Ground) -> None:
    ground.instead(Orders, "has_stopped", lambda orders, status: True)


# --- members that come, stay away and return


@RETURN_MUTANTS.enter("past-remembered", "a member that was away returns in memory only to a past that it was in")
def _past_remembered(ground: Ground) -> None:
    ground.instead(Member, "_remembers", lambda own, formation: bool(own.holding.returned_in))


@RETURN_MUTANTS.enter("moving-range-not-updated", "a range on its way to another gets update sets where no backups are")
def _moving_range_not_updated(ground: Ground) -> None:
    def alone(found: Any, holding: Holding, step: str, rows: Any) -> Any:
        return found if holding.keeps_undo or not len(rows) else {(): rows}

    ground.after(Holding, "_by_backups", alone)


@RETURN_MUTANTS.enter("half-snapshot-counts", "a snapshot counts when its last part has come")
def _half_snapshot_counts(ground: Ground) -> None:
    def make(take: Any) -> Any:
        def taken(holding: Holding, cut: int, ranges: Any, chunks: Any, *, last: bool) -> None:
            take(holding, cut, ranges, chunks, last=True)

        return taken

    ground.replace(Holding, "take_snapshot", make)


@RETURN_MUTANTS.enter("old-images-not-void", "images of a range that was given up and got again are void")
def _old_images_not_void(ground: Ground) -> None:
    def nothing(ranges: Any, registry: Any) -> bytes:
        return pack(VOID_STEP, Rows(), registry)

    ground.instead(holding_module, "void_of", nothing)
    ground.instead(staging_module, "void_of", nothing)


@RETURN_MUTANTS.enter("time-not-told", "a newcomer knows when the last turn was")
def _time_not_told(ground: Ground) -> None:
    ground.replace(Running, "_learn", lambda learn: lambda running, time, tokens: learn(running, 0, tokens))


@RETURN_MUTANTS.enter("memory-not-reaching", "memory that does not reach back to the cut is not returned in")
def _memory_not_reaching(ground: Ground) -> None:
    def make(remembers: Any) -> Any:
        def remembered(own: Member, formation: Any) -> bool:
            made = own.cuts.made if own.cuts is not None else []
            made.append(formation.cut)
            try:
                return bool(remembers(own, formation))
            finally:
                made.pop()

        return remembered

    ground.replace(Member, "_remembers", make)


@RETURN_MUTANTS.enter("chunks-of-lost-memory-kept", "what was packed is forgotten with the memory it was packed from")
def _chunks_of_lost_memory_kept(ground: Ground) -> None:
    def make(forget: Any) -> Any:
        def forgotten(holding: Holding) -> None:
            chunks = holding.chunks.copy()
            forget(holding)
            holding.chunks = chunks

        return forgotten

    ground.replace(Holding, "forget", make)


@RETURN_MUTANTS.enter("given-up-ranges-kept", "images of ranges that are held no more are dropped")
def _given_up_ranges_kept(ground: Ground) -> None:
    def make(change: Any) -> Any:
        return lambda own, primaries, backups: change(own, primaries, ALL - primaries)

    ground.replace(Holding, "_change_roles", make)


@RETURN_MUTANTS.enter("half-arrived-kept", "a part of a snapshot is dropped where another generation begins")
def _half_arrived_kept(ground: Ground) -> None:
    def make(change: Any) -> Any:
        return lambda own, primaries, backups: change(own, primaries, backups | own.lacking)

    ground.replace(Holding, "_change_roles", make)


@RETURN_MUTANTS.enter("rests-before-replay", "who has yet to work off its log again is not at rest")
def _rests_before_replay(ground: Ground) -> None:
    def make(resting: Any) -> Any:
        def rests(running: Running) -> bool:
            flow, formation = running.flow, running.flow.formation
            flow.formation = replace(formation, level=flow.closed)
            try:
                return bool(resting.fget(running))
            finally:
                flow.formation = formation

        return property(rests)

    ground.replace(Running, "is_resting", make)


@RETURN_MUTANTS.enter("backups-caught-up-at-once", "no epoch is opened before backups have the adopted logs")
def _backups_caught_up_at_once(ground: Ground) -> None:
    def heard(orders: Any, logs: Logs, node: str, message: Any) -> Any:
        logs._caught_up.add((node, message.partition))
        return orders

    ground.after(Logs, "log_held", heard)


@RETURN_MUTANTS.enter("lost-links-forgiven", "a link that broke is answered with another generation")
def _lost_links_forgiven(ground: Ground) -> None:
    ground.instead(coordinator, "lost_links", lambda formation, roster: [])


# --- checkpoints


@RETURN_MUTANTS.enter("checkpoint-while-lacking", "a checkpoint is ordered once every holder has caught up")
def _checkpoint_while_lacking(ground: Ground) -> None:
    def make(is_due: Any) -> Any:
        def due(rounds: Rounds, now: int, kept: Any, statuses: Any, *, at_rest: bool) -> Any:
            return is_due(rounds, now, kept, [replace(own, caught_up=True) for own in statuses], at_rest=at_rest)

        return due

    ground.replace(Rounds, "is_due", make)


@RETURN_MUTANTS.enter("caught-up-without-logs", "a backup has caught up when it has the adopted logs")
def _caught_up_without_logs(ground: Ground) -> None:
    instead_property(ground, Running, "caught_up", lambda running: running.cuts.caught_up)


@RETURN_MUTANTS.enter("caught-up-without-images", "a backup has caught up when it has the images of the cut")
def _caught_up_without_images(ground: Ground) -> None:
    instead_property(ground, Running, "caught_up", lambda running: running.logs.caught_up)


@RETURN_MUTANTS.enter("rounds-ordered-again", "a checkpoint's number is ordered by one life of the coordinator only")
def _rounds_ordered_again(ground: Ground) -> None:
    def ordered(rounds: Rounds, kept: Any, *, at_rest: bool) -> None:
        last = kept.checkpoint.number if kept.checkpoint is not None else 0
        rounds.ordered, rounds.last = max(last, kept.formation.number << ROUND_BITS) + 1, at_rest

    ground.instead(Rounds, "order", ordered)


@RETURN_MUTANTS.enter("prepared-forgotten", "what is prepared when a generation begins counts if it says so")
def _prepared_forgotten(ground: Ground) -> None:
    ground.instead(Member, "_complete_prepared", lambda own: [])


@RETURN_MUTANTS.enter("chunks-behind-checkpoint-dropped", "what was packed behind a checkpoint's cut is for the next")
def _chunks_behind_checkpoint_dropped(ground: Ground) -> None:
    ground.instead(Holding, "written", lambda holding, cut: holding.chunks.clear())


@RETURN_MUTANTS.enter("answers-of-other-rounds", "answers to a round that was given up count for nothing")
def _answers_of_other_rounds(ground: Ground) -> None:
    def of_this(handle: Any) -> Any:
        return lambda staging, number: handle(staging, staging.pending.number if staging.pending else number)

    ground.replace(Staging, "chunks_staged", of_this)
    ground.replace(Staging, "checkpoint_prepared", of_this)


@RETURN_MUTANTS.enter("chunks-dropped-when-prepared", "what was packed for cuts is kept until a checkpoint counts")
def _chunks_dropped_when_prepared(ground: Ground) -> None:
    def dropped(_: Any, staging: Staging, number: int) -> None:
        if staging.pending is not None and staging.pending.prepared:
            staging.holding.written(staging.pending.cut)

    ground.after(Staging, "checkpoint_prepared", dropped)
