"""Bugs that were there once, each found by the simulator or by reading, to be planted again (see mutants).

Beside those whose rule stands in another file already: a member that was away and returns to its own past, a range that
moves without update sets, outputs behind a failing call.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from holdfast.chaos.planting import Ground, Mutants, instead_property
from holdfast.recovery.coordinator import Coordinator
from holdfast.recovery.generation import Formation
from holdfast.recovery.messages import Ask, Phase, Run
from holdfast.recovery.orders import Orders
from holdfast.recovery.roster import Roster
from holdfast.worker import member as member_module
from holdfast.worker.holding import Holding
from holdfast.worker.member import Member
from holdfast.worker.running import Running
from holdfast.worker.stages import Stages
from holdfast.worker.staging import Staging

FORMER_MUTANTS = Mutants()
FOR_EVER_MS: Final = 1 << 40


@FORMER_MUTANTS.enter("no-cut-when-full", "when too many epochs are not sealed, a cut is asked for")
def _no_cut_when_full(ground: Ground) -> None:
    def make(opening: Any) -> Any:
        def asked(running: Running) -> Any:
            wanted = running.changed_since_cut and running.now >= running.cut_due
            return replace(opening(running), cut=wanted)

        return asked

    ground.replace(Running, "_opening", make)


@FORMER_MUTANTS.enter("half-applied-counts", "an epoch counts as applied when it is applied whole")
def _half_applied_counts(ground: Ground) -> None:
    instead_property(ground, Running, "applied", lambda running: running.flow.applied)


@FORMER_MUTANTS.enter("tokens-not-told", "everyone says where all sinks stood when a generation begins")
def _tokens_not_told(ground: Ground) -> None:
    ground.instead(Running, "_learn", lambda running, time, tokens: [])


@FORMER_MUTANTS.enter("same-words-unheard", "who says the same again after it was believed lost is there")
def _same_words_unheard(ground: Ground) -> None:
    def make(hear: Any) -> Any:
        def heard(roster: Roster, now: int, status: Any) -> Any:
            known = roster.workers.get(status.node)
            if known is not None and (status.incarnation, status.number) <= (
                known.status.incarnation,
                known.status.number,
            ):
                return False
            return hear(roster, now, status)

        return heard

    ground.replace(Roster, "hear", make)

    def unmoved(member: Member, event: Any) -> Any:
        return [] if type(event).__name__ == "LineMade" else dispatch(member, event)

    dispatch = Member._dispatch
    ground.instead(Member, "_dispatch", unmoved)


@FORMER_MUTANTS.enter("snapshot-before-all-updates", "a snapshot may come behind another primary's update set")
def _snapshot_before_all_updates(ground: Ground) -> None:
    def nothing_waits(holding: Holding, *rest: Any, **named: Any) -> None:
        assert not holding.shadow._pending, "a snapshot behind an update set"

    ground.before(Holding, "take_snapshot", nothing_waits)


@FORMER_MUTANTS.enter("round-never-given-up", "a round that an earlier life of the coordinator ordered is given up")
def _round_never_given_up(ground: Ground) -> None:
    def make(begin: Any) -> Any:
        def begun(staging: Staging, *rest: Any) -> None:
            if staging.pending is None:
                begin(staging, *rest)

        return begun

    ground.replace(Staging, "begin", make)


@FORMER_MUTANTS.enter("stop-reads-nothing", "a stop reads on what others have opened an epoch for")
def _stop_reads_nothing(ground: Ground) -> None:
    ground.instead(Running, "_wants_records", lambda running: not running.run.stopping)


@FORMER_MUTANTS.enter("time-behind-stop", "the turns of an epoch that ended early have their times again")
def _time_behind_stop(ground: Ground) -> None:
    def make(advance: Any) -> Any:
        def advanced(stages: Stages, epoch: Any) -> Any:
            found = advance(stages, epoch)
            if epoch.applied and epoch.turns:
                stages.time = epoch.turns[-1].time
            return found

        return advanced

    ground.replace(Stages, "advance", make)


@FORMER_MUTANTS.enter("repeats-unanswered", "an order that comes again is answered again")
def _repeats_unanswered(ground: Ground) -> None:
    def make(ordered: Any) -> Any:
        def answered(member: Member, order: Any, now: int) -> Any:
            if order.number == member.heard and isinstance(order.order, Ask):
                return []
            return ordered(member, order, now)

        return answered

    ground.replace(Member, "_ordered", make)


@FORMER_MUTANTS.enter("timers-after-the-end", "what has come to its end fires no timers when it is started again")
def _timers_after_the_end(ground: Ground) -> None:
    ground.replace(Member, "_made_status", lambda make: lambda own, number: replace(make(own, number), located=True))


@FORMER_MUTANTS.enter("busy-and-silent", "a member that always has work tells how far it has got")
def _busy_and_silent(ground: Ground) -> None:
    ground.replace(member_module, "PATIENCE_MS", lambda original: FOR_EVER_MS)


@FORMER_MUTANTS.enter("ended-not-told", "where all sources have ended members are told to open no more epochs")
def _ended_not_told(ground: Ground) -> None:
    def untold(body: Any, own: Coordinator, *rest: Any) -> Any:
        return replace(body, stopping=own.stopping) if isinstance(body, Run) else body

    ground.after(Coordinator, "_order_member", untold)
    ground.after(Coordinator, "_order_end", untold)
    ground.instead(Orders, "has_stopped", lambda orders, status: True)


@FORMER_MUTANTS.enter("timers-unheard", "who has heard nothing in its generation opens no epoch for a timer")
def _timers_unheard(ground: Ground) -> None:
    ground.after(Running, "__init__", lambda _, running, *rest: setattr(running, "run", Run(0)))


@FORMER_MUTANTS.enter("unknown-told", "nobody is told to go on before it is known whether all sources have ended")
def _unknown_told(ground: Ground) -> None:
    def make(order_member: Any) -> Any:
        def ordered(own: Coordinator, formation: Formation, status: Any) -> Any:
            body = order_member(own, formation, status)
            if body is None and status.phase is Phase.RUN:
                return Run(formation.number, own.stopping, own.rounds.ordered, own._complete_for(status.node))
            return body

        return ordered

    ground.replace(Coordinator, "_order_member", make)


@FORMER_MUTANTS.enter("timers-while-stopping", "who has heard that it is to stop opens no epoch for a timer")
def _timers_while_stopping(ground: Ground) -> None:
    def make(is_due: Any) -> Any:
        def due(running: Running) -> bool:
            run = running.run
            running.run = replace(run, stopping=False) if run.stopping else run
            try:
                return bool(is_due(running))
            finally:
                running.run = run

        return due

    ground.replace(Running, "_alarm_is_due", make)
