"""Planted bugs of a cluster's members: each takes one rule of exchange, replication or return away (see mutants)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from holdfast.chaos.cluster_works import AppendEntries
from holdfast.chaos.member_life import MemberLife
from holdfast.chaos.planting import Ground, Mutants, instead_property
from holdfast.core.positions import Column
from holdfast.replication import exchange
from holdfast.replication.links import Links
from holdfast.replication.log_copies import LogCopies
from holdfast.replication.messages import ImagesHeld, UpdateSet
from holdfast.replication.progress import Progress
from holdfast.replication.shadow import Shadow
from holdfast.storage.memory_partition_log import MemoryPartitionLog
from holdfast.worker import cluster_events
from holdfast.worker.cluster_effects import TrimEntries
from holdfast.worker.cuts import Cuts
from holdfast.worker.flow import Flow
from holdfast.worker.holding import Holding
from holdfast.worker.member import Member
from holdfast.worker.member_record import MemberRecord
from holdfast.worker.running import Running
from holdfast.worker.stages import Stages
from holdfast.worker.staging import Staging

MEMBER_MUTANTS = Mutants()


# --- links and orders


def _without_check(ground: Ground, change: Any) -> None:
    """Links take an envelope as `change` makes it look."""
    ground.replace(Links, "accept", lambda accept: lambda links, envelope: accept(links, change(links, envelope)))


@MEMBER_MUTANTS.enter("old-generations-heard", "a message of another generation changes nothing")
def _old_generations_heard(ground: Ground) -> None:
    def looks_new(links: Links, envelope: Any) -> Any:
        link = links.peers.get(envelope.sender)
        number = link.received + 1 if link is not None else 0
        if envelope.generation >= links.generation or link is None:
            return envelope
        return replace(envelope, generation=links.generation, incarnation=link.incarnation, number=number)

    def heard(own: Member, envelope: Any) -> Any:
        return own.running.peer_sent(envelope) if own.running is not None else []

    _without_check(ground, looks_new)
    ground.instead(Member, "_peer_sent", heard)


@MEMBER_MUTANTS.enter("repeats-heard", "a message that was had is dropped")
def _repeats_heard(ground: Ground) -> None:
    def make(accept: Any) -> Any:
        def accepts(links: Links, envelope: Any) -> bool:
            link = links.peers.get(envelope.sender)
            same = link is not None and envelope.generation == links.generation
            return accept(links, envelope) or bool(same and link and envelope.number == link.received)

        return accepts

    ground.replace(Links, "accept", make)


@MEMBER_MUTANTS.enter("gaps-heard", "a link on which a message is missing is lost")
def _gaps_heard(ground: Ground) -> None:
    def no_gap(links: Links, envelope: Any) -> Any:
        link = links.peers.get(envelope.sender)
        if link is None or envelope.generation != links.generation or envelope.number <= link.received:
            return envelope
        return replace(envelope, number=link.received + 1)

    _without_check(ground, no_gap)
    ground.instead(Links, "lose", lambda links, peer: None)


@MEMBER_MUTANTS.enter("early-messages-dropped", "what a member that is ahead has sent is kept until it is adopted")
def _early_messages_dropped(ground: Ground) -> None:
    def only_now(own: Member, envelope: Any) -> Any:
        if own.running is not None and envelope.generation == own.running.formation.number:
            return own.running.peer_sent(envelope)
        return []

    ground.instead(Member, "_peer_sent", only_now)


@MEMBER_MUTANTS.enter("orders-of-other-lives", "an order to an earlier life of a worker is ignored")
def _orders_of_other_lives(ground: Ground) -> None:
    def for_me(own: Member, order: Any, now: int) -> Any:
        return original(own, replace(order, incarnation=own.incarnation), now)

    original = Member._ordered
    ground.instead(Member, "_ordered", for_me)


@MEMBER_MUTANTS.enter("old-orders-obeyed", "of two orders the newer one holds")
def _old_orders_obeyed(ground: Ground) -> None:
    ground.before(Member, "_ordered", lambda own, order, now: setattr(own, "heard", min(own.heard, order.number)))


@MEMBER_MUTANTS.enter("reports-before-quiet", "a worker reports when its writers are idle")
def _reports_before_quiet(ground: Ground) -> None:
    def at_once(orders: Any, own: Member, promise: int) -> Any:
        if orders:
            own.found = own.last_found  # type: ignore[attr-defined]
        return orders

    def note(life: MemberLife) -> None:
        life.member.last_found = life._at.found()  # type: ignore[attr-defined]

    ground.before(MemberLife, "_pump", note)
    ground.after(Member, "_fence", at_once)


@MEMBER_MUTANTS.enter("fenced-goes-on", "who has promised takes no part in older generations")
def _fenced_goes_on(ground: Ground) -> None:
    def make(fence: Any) -> Any:
        def fenced(own: Member, promise: int) -> Any:
            running = own.running
            orders = fence(own, promise)
            own.running = running
            return orders

        return fenced

    ground.replace(Member, "_fence", make)


# --- logs


@MEMBER_MUTANTS.enter("entries-acknowledged-early", "entries are on the disk before it is said that they are")
def _entries_acknowledged_early(ground: Ground) -> None:
    finish = MemoryPartitionLog.finish_sync

    def settle(log: MemoryPartitionLog, *rest: Any) -> None:
        if log._store.busy:
            finish(log)

    def answer(work: AppendEntries) -> Any:
        ticket = work._ticket
        return [lambda now: cluster_events.EntriesSynced(now, ticket)]

    for name in ("begin_append", "begin_trim", "begin_adopt", "begin_install", "read", "cursor", "lineages"):
        ground.before(MemoryPartitionLog, name, settle)
    ground.instead(AppendEntries, "finish", answer)


@MEMBER_MUTANTS.enter("log-copies-not-awaited", "an epoch is durable when all backups of its logs have it")
def _log_copies_not_awaited(ground: Ground) -> None:
    def own_disk(copies: LogCopies) -> int:
        return max(copies.cut, min(copies.closed, copies.synced))

    instead_property(ground, LogCopies, "durable", own_disk)


@MEMBER_MUTANTS.enter("own-durable-counts", "outputs leave when their epoch is durable at every member")
def _own_durable_counts(ground: Ground) -> None:
    def own(flow_next: Any) -> Any:
        return lambda flow, durable: flow_next(flow, flow.logs.copies.durable)

    ground.replace(Flow, "next_to_hand_out", own)
    instead_property(ground, Progress, "durable", lambda progress: max(r.durable for r in progress.reached.values()))


@MEMBER_MUTANTS.enter("trimmed-when-prepared", "logs are trimmed when the checkpoint is complete")
def _trimmed_when_prepared(ground: Ground) -> None:
    def make(handle: Any) -> Any:
        def handled(running: Running, event: Any) -> Any:
            orders = handle(running, event)
            pending = running.staging.pending
            if isinstance(event, cluster_events.CheckpointPrepared) and pending is not None:
                orders = [*orders, TrimEntries(pending.epoch, running.logs.held)]
            return orders

        return handled

    ground.replace(Running, "handle", make)


@MEMBER_MUTANTS.enter("rounds-of-ones-own", "all members take the same number of rounds into an epoch")
def _rounds_of_ones_own(ground: Ground) -> None:
    ground.after(Flow, "rounds_of", lambda found, flow, number: found and (flow.parts.proposal or found))


@MEMBER_MUTANTS.enter("void-epochs-count", "an epoch in which nobody logged anything is no turn")
def _void_epochs_count(ground: Ground) -> None:
    def make(compute: Any) -> Any:
        return lambda stages, epoch, opening: compute(stages, epoch, replace(opening, logged=True))

    ground.replace(Stages, "compute", make)


# --- exchange


@MEMBER_MUTANTS.enter("merge-by-arrival", "messages of all members are merged by position")
def _merge_by_arrival(ground: Ground) -> None:
    def behind_one_another(runs: Sequence[Iterator[Column]]) -> Iterator[Column]:
        return chain.from_iterable(runs)

    ground.instead(exchange, "merge_runs", behind_one_another)


@MEMBER_MUTANTS.enter("not-all-members-awaited", "a step waits for the messages of all members")
def _not_all_members_awaited(ground: Ground) -> None:
    def some(own: exchange.Exchange, feeders: Any) -> bool:
        return all(len(own._heard.get(feeder, ())) >= max(1, len(own.members) - 1) for feeder in feeders)

    ground.instead(exchange.Exchange, "has_all", some)


@MEMBER_MUTANTS.enter("limit-not-kept", "nothing behind a stop is worked on")
def _limit_not_kept(ground: Ground) -> None:
    ground.after(Stages, "begin", lambda _, stages, *rest: setattr(stages, "limit", None))


# --- cuts and images


@MEMBER_MUTANTS.enter("sealed-before-delivered", "a cut is sealed when the outputs up to it are delivered")
def _sealed_before_delivered(ground: Ground) -> None:
    def two_of_three(progress: Progress) -> int:
        return min(min(r.durable, r.replicated) for r in progress.reached.values())

    instead_property(ground, Progress, "sealed", two_of_three)


@MEMBER_MUTANTS.enter("sealed-before-replicated", "a cut is sealed when all backups hold its images")
def _sealed_before_replicated(ground: Ground) -> None:
    ground.after(Cuts, "hold", lambda _, cuts, *rest: None)
    ground.replace(Cuts, "expect", lambda expect: lambda cuts, backups, lacking: expect(cuts, (), ()))


@MEMBER_MUTANTS.enter("tokens-not-awaited", "a cut is replicated at a member that knows where all sinks stood")
def _tokens_not_awaited(ground: Ground) -> None:
    def without_tokens(cuts: Cuts) -> int:
        return max([c for c in cuts.made if all(held >= c for held in cuts.held.values())], default=cuts.sealed)

    instead_property(ground, Cuts, "replicated", without_tokens)


@MEMBER_MUTANTS.enter("lacking-counts-as-held", "a new backup counts when it has the snapshot")
def _lacking_counts_as_held(ground: Ground) -> None:
    ground.replace(Cuts, "expect", lambda expect: lambda cuts, backups, lacking: expect(cuts, backups, ()))


@MEMBER_MUTANTS.enter("lacking-remembered", "ranges that are lacking are not offered")
def _lacking_remembered(ground: Ground) -> None:
    def all_of_it(found: Any, holding: Holding) -> Any:
        if not found:
            return found
        held = [
            replace(one, ranges=ranges)
            for one, ranges in zip(found[1:], (r for _, r in sorted(holding.shadowed.items())), strict=True)
        ]
        return (*found[:1], *held)

    original = Holding.remembered.fget  # type: ignore[attr-defined]
    instead_property(ground, Holding, "remembered", lambda holding: all_of_it(original(holding), holding))


@MEMBER_MUTANTS.enter("changes-not-taken-back", "a return takes back what was changed since the cut")
def _changes_not_taken_back(ground: Ground) -> None:
    def only_forget(holding: Holding, cut: int) -> None:
        while holding.intervals and holding.intervals.pop().cut != cut:
            pass
        for book in holding.books.values():
            book.rest()
        holding.shadow.at(cut)
        holding.chunks = type(holding.chunks)((at, chunk) for at, chunk in holding.chunks if at <= cut)

    ground.instead(Holding, "at", only_forget)


@MEMBER_MUTANTS.enter("update-sets-folded-early", "a backup can go back to the last sealed cut")
def _update_sets_folded_early(ground: Ground) -> None:
    def fold(_: Any, shadow: Shadow, primary: str, cut: int, chunks: Any, *, last: bool = True) -> None:
        for chunk in shadow._pending.pop()[2] if last else ():
            shadow.put(chunk)

    ground.after(Shadow, "take", fold)


@MEMBER_MUTANTS.enter("update-sets-kept", "a return drops the update sets behind its cut")
def _update_sets_kept(ground: Ground) -> None:
    def fold_all(shadow: Shadow, cut: int) -> None:
        shadow.fold(1 << 60)
        shadow.base = cut

    ground.instead(Shadow, "at", fold_all)


@MEMBER_MUTANTS.enter("cut-held-in-part", "a cut is acknowledged when the last part of its update set is here")
def _cut_held_in_part(ground: Ground) -> None:
    def acknowledged(orders: Any, running: Running, envelope: Any) -> Any:
        message, link = envelope.message, running.links.peers.get(envelope.sender)
        if isinstance(message, UpdateSet) and link is not None and link.received == envelope.number:
            running._send(envelope.sender, ImagesHeld(message.cut))
        return orders

    ground.after(Running, "peer_sent", acknowledged)


@MEMBER_MUTANTS.enter("half-update-set-counts", "an update set counts when its last part has come")
def _half_update_set_counts(ground: Ground) -> None:
    def make(take: Any) -> Any:
        return lambda shadow, primary, cut, chunks, *, last=True: take(shadow, primary, cut, chunks, last=True)

    ground.replace(Shadow, "take", make)


@MEMBER_MUTANTS.enter("half-update-set-kept", "parts of an update set are forgotten where another generation begins")
def _half_update_set_kept(ground: Ground) -> None:
    def make(stand: Any) -> Any:
        def stood(shadow: Shadow, *given: Any) -> None:
            coming = shadow._coming.copy()
            stand(shadow, *given)
            shadow._coming.update(coming)

        return stood

    ground.replace(Shadow, "at", make)


@MEMBER_MUTANTS.enter("tombstones-not-sent", "an update set says which entities are gone")
def _tombstones_not_sent(ground: Ground) -> None:
    def forget(rows: Any, holding: Holding, *rest: Any) -> Any:
        for own in rows.values():
            own.removed.clear()
        return rows

    ground.after(Holding, "_by_backups", forget)


# --- checkpoints


@MEMBER_MUTANTS.enter("prepared-counts-alone", "a prepared checkpoint counts when the coordinator says so")
def _prepared_counts_alone(ground: Ground) -> None:
    def done(_: Any, staging: Staging, number: int) -> None:
        if staging.pending is not None and staging.pending.record is not None:
            staging.last = staging.pending.record

    ground.after(Staging, "checkpoint_prepared", done)
    instead_property(ground, Member, "_complete", _newest_on_disk)


def _newest_on_disk(own: Member) -> Any:
    assert own.found is not None
    newest = own.found.prepared or own.found.complete
    return MemberRecord.unpack(newest[1]) if newest is not None else None


@MEMBER_MUTANTS.enter("checkpoint-of-last-cut", "a checkpoint holds all that was changed since the one before")
def _checkpoint_of_last_cut(ground: Ground) -> None:
    def last(holding: Holding, cut: int) -> tuple[bytes, ...]:
        return tuple(chunk for at, chunk in holding.chunks if at == cut)

    ground.instead(Holding, "chunks_upto", last)


@MEMBER_MUTANTS.enter("chunks-not-taken-back", "a checkpoint holds nothing from behind the cut that was returned to")
def _chunks_not_taken_back(ground: Ground) -> None:
    def make(at: Any) -> Any:
        def stand(holding: Holding, cut: int) -> None:
            chunks = holding.chunks.copy()
            at(holding, cut)
            holding.chunks = chunks

        return stand

    ground.replace(Holding, "at", make)


@MEMBER_MUTANTS.enter("sinks-not-synced", "outputs up to a checkpoint are durable before it is prepared")
def _sinks_not_synced(ground: Ground) -> None:
    def synced(orders: Any, staging: Staging, *rest: Any, **named: Any) -> Any:
        if staging.pending is not None:
            staging.pending.synced = True
        return [order for order in orders if type(order).__name__ != "SyncSinks"]

    ground.after(Staging, "sealed", synced)


@MEMBER_MUTANTS.enter("snapshot-not-kept", "a checkpoint of a new holder holds what the snapshot brought")
def _snapshot_forgotten(ground: Ground) -> None:
    def make(take: Any) -> Any:
        def taken(holding: Holding, cut: int, ranges: Any, chunks: Any, *, last: bool) -> None:
            before = holding.chunks.copy()
            take(holding, cut, ranges, chunks, last=last)
            holding.chunks = before

        return taken

    ground.replace(Holding, "take_snapshot", make)
