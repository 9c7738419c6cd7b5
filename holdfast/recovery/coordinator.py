"""The coordinator: events in (`events`), effects out (`effects`); no clock, no disk, no network.

    GATHER ─┬─ DRAW ── COLLECT ── RECORD ── RUN ── END
            └───────────(the recorded one)──┘│
                  ↑ any change of generation ┘
It forms generations and counts checkpoint rounds; data never passes through it, and flows on while it is down.
Everything is level-triggered: after every event, what is to be done follows from what is kept, what workers said last,
and the phase; so messages may be lost, doubled or late.
Invariants (`check_invariants`): a number is durable before it is asked with, a formation before it is announced, a
checkpoint before anybody is told that it is complete.
Not here: what the next generation is (`decide`), and why there must be one (`changes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any, Final

from holdfast.recovery import events
from holdfast.recovery.changes import (
    Circumstances,
    earliest_failure,
    in_generation,
    lost_links,
    lost_member,
    may_end,
    planned,
)
from holdfast.recovery.config import Config
from holdfast.recovery.decide import decide
from holdfast.recovery.effects import Effect, Finish, Tell, Waiting
from holdfast.recovery.generation import ROUND_BITS, Formation
from holdfast.recovery.journal import Journal
from holdfast.recovery.messages import Announce, Ask, Failure, Phase, Restart, Run, Status
from holdfast.recovery.orders import Body, Orders
from holdfast.recovery.quarrels import Quarrels
from holdfast.recovery.recoveries import Kind, Recoveries
from holdfast.recovery.roster import Roster, Worker
from holdfast.recovery.rounds import Rounds, covers
from holdfast.recovery.shelf import Shelf
from holdfast.recovery.testimony import Reporters, Wait, Wish, listed


class State(Enum):
    """Where the coordinator is."""

    GATHER = "gather"  # it has started: who is there?
    DRAW = "draw"  # a number is being made durable
    COLLECT = "collect"  # whoever is alive is asked to promise and report
    RECORD = "record"  # the generation is being made durable
    RUN = "run"  # it is announced, and works
    END = "end"  # everybody is told to finish


MOVES: Final = {
    State.GATHER: (State.DRAW, State.RECORD, State.END),
    State.DRAW: (State.COLLECT,),
    State.COLLECT: (State.DRAW, State.RECORD, State.END),
    State.RECORD: (State.RUN,),
    State.RUN: (State.DRAW, State.END),
    State.END: (),
}


class Coordinator:
    """One life of the coordinator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = State.GATHER
        self.shelf = Shelf()
        self.roster = Roster()
        self.orders = Orders()
        self.rounds = Rounds(config)
        self.quarrels = Quarrels(config.shun_ms)
        self.journal = Journal()
        self.recoveries = Recoveries()
        self.now = 0
        self.entered = 0  # when this state was
        self.why = ""  # the next generation is formed
        self.judged: tuple[Reporters, Wish, Formation | Wait] | None = None  # the last decision, and what it is from
        self.waiting = ""
        self.stopping = False
        self.leaving: frozenset[str] = frozenset()
        # Found out in this life; forgotten with it, since it will be found out again.
        self.careful: frozenset[int] = frozenset()
        self.failure: Failure | None = None
        self.on_disk = False  # no return in memory before one to the checkpoint
        self.outcome = Finish(False, None)
        self.at_once = False  # end without completing the last checkpoint
        self.finished = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.Started: self._started,
            events.Heard: self._heard,
            events.WorkerLost: self._worker_lost,
            events.Stored: lambda event: self.shelf.stored(event.ticket),
            events.Ticked: lambda event: None,
            events.StopAsked: self._stop_asked,
            events.LeaveAsked: self._leave_asked,
        }
        self._steps: dict[State, Callable[[], list[Effect]]] = {
            State.GATHER: self._gather,
            State.DRAW: lambda: self._move(State.COLLECT),
            State.COLLECT: self._collect,
            State.RECORD: self._begin,
            State.RUN: self._run,
            State.END: self._end,
        }

    def handle(self, event: events.Event) -> list[Effect]:
        """The only entrance. Returns orders to be carried out in their order."""
        if self.finished:
            return []
        self.now = max(self.now, event.now)
        self._handlers[type(event)](event)
        effects: list[Effect] = []
        while self.shelf.pending is None and not self.finished:
            before = self.state
            effects += self._give_up() or self._steps[before]()
            if self.state is before:
                break
        return [*effects, *self._tell(again=isinstance(event, events.Ticked))]

    # --- what happened

    def _started(self, event: events.Started) -> None:
        self.shelf.kept = event.kept
        self.orders.begin(event.kept.life)
        self.entered = event.now
        record = event.kept.formation
        self._note(f"started; {f'generation {record.number} is recorded' if record else 'nothing is recorded'}")

    def _heard(self, event: events.Heard) -> None:
        if self.roster.hear(event.now, event.status):
            self._note(f"node {event.status.node} is here, incarnation {event.status.incarnation}")

    def _worker_lost(self, event: events.WorkerLost) -> None:
        if self.roster.lose(event.node, event.incarnation):
            self._note(f"node {event.node} is gone")

    def _stop_asked(self, event: events.StopAsked) -> None:
        self.stopping = True
        self._note("asked to stop")

    def _leave_asked(self, event: events.LeaveAsked) -> None:
        self.leaving |= frozenset(event.nodes)
        self._note(f"asked to let {listed(event.nodes)} go")

    def _give_up(self) -> list[Effect]:
        """A worker that can't go on at all ends everything: what is durable is there for the next start."""
        if State.END not in MOVES[self.state]:
            return []
        errors = [
            worker.status.fatal
            for worker in self.roster.alive.values()
            if worker.status.fatal is not None and not self._is_stranger(worker)
        ]
        return self._finish(Finish(False, errors[0]), at_once=True) if errors else []

    def _is_stranger(self, worker: Worker) -> bool:
        """Whether it is still in a generation that went on without it: what it says is about a past that never was."""
        record = self.formation
        return record is not None and worker.status.phase is not Phase.JOIN and not worker.is_in(record)

    # --- start

    @property
    def formation(self) -> Formation | None:
        """The recorded generation."""
        return self.shelf.kept.formation

    def _gather(self) -> list[Effect]:
        """Wait for those that the record names, or, at the first start, for as many as are wanted."""
        alive = self.roster.alive
        record = self.formation
        enough = len(alive.keys() - self.leaving) >= self.config.workers
        patient = self.now - self.entered < self.config.waiting_ms
        if record is None:
            if enough:
                return self._draw(f"the first start, of {len(alive)} workers", Kind.START)
            if self.stopping:
                return self._finish(Finish(False, None))
            return self._wait(f"{len(alive)} of {self.config.workers} workers are there: waiting for the others")
        members = self.roster.members(record)
        if len(members) == len(record.members) and all(own.promised <= record.number for own in members):
            return self._take_up(record)
        if self.stopping and not alive:
            return self._finish(Finish(False, None))
        away = [member.node for member in record.members if member.node not in alive]
        if alive and ((enough and not away) or not patient):
            return self._draw(f"a start, without {listed(away)}" if away else "a start, in new lives", Kind.START)
        return self._wait(f"waiting for {listed(away)}" if away else "waiting for more workers")

    def _take_up(self, record: Formation) -> list[Effect]:
        """Only the coordinator was away, and nobody has promised more than the record: it is announced again.

        Rounds that an earlier life ordered are given up: this one does not know who has heard of them.
        """
        kept = self.shelf.kept
        self._note(f"generation {record.number} goes on: all its members are there")
        self.careful = frozenset(record.careful)
        if record.limit is not None:
            self.failure = Failure(record.limit, record.stop_error or "")
        store = self.shelf.put(replace(kept, reserved=kept.reserved + 1))
        return [*self._move(State.RECORD), store]

    # --- a new generation

    def _draw(self, why: str, kind: Kind = Kind.FAILURE) -> list[Effect]:
        """A number that was never used, durable before anybody hears of it.

        A number that is forgotten in a crash would be used again for another content, and old promises and frames would
        fit it.
        """
        kept = self.shelf.kept
        promised = [worker.status.promised for worker in self.roster.workers.values()]
        number = max([kept.drawn, *promised]) + 1
        self.why = why
        self.judged = None
        self._note(f"number {number} is drawn: {why}")
        self.recoveries.begin(self.now, why, kind)
        return [*self._move(State.DRAW), *self._wait(""), self.shelf.put(replace(kept, drawn=number))]

    def _collect(self) -> list[Effect]:
        """Decide, when all living have reported, or as many as can be waited for."""
        drawn = self.shelf.kept.drawn
        alive = self.roster.alive
        if any(worker.status.promised > drawn for worker in alive.values()):
            return self._draw("somebody has promised more than was drawn")
        reporters = self.roster.reporters(drawn)
        waited = self.now - self.entered
        expected = [worker for worker in alive.values() if worker.status.phase is not Phase.OVER]
        if len(reporters) < len(expected) and waited < self.config.collect_ms:
            return []
        decision = self._judge(reporters, drawn)
        if isinstance(decision, Wait):
            # The promises hold, and whoever comes yet is asked too: the same number will do.
            return self._finish(Finish(False, None)) if self.stopping else self._wait(decision.reason)
        members = self.formation.members if self.formation is not None else ()
        if not decision.in_memory and waited < self.config.waiting_ms and any(own.node not in alive for own in members):
            return []  # from disks it is no faster without those that are away, and all would be laid out twice
        return self._record(decision)

    def _judge(self, reporters: Reporters, number: int) -> Formation | Wait:
        """Decide, unless nothing has changed since it was decided last."""
        wish = Wish(
            number,
            leaving=self.leaving,
            shunned=self.quarrels.shunned(self.now),
            careful=self.careful,
            failure=self.failure,
            on_disk=self.on_disk,
            why=self.why,
        )
        if self.judged is None or self.judged[:2] != (reporters, wish):
            decision = decide(self.formation, self.shelf.kept.checkpoint, reporters, self.config.shape, wish)
            self.judged = (reporters, wish, decision)
        return self.judged[2]

    def _record(self, formation: Formation) -> list[Effect]:
        """Durable before the first member hears of it: after a crash another content would get the same number."""
        if formation.limit is None:
            self.failure = None
        self.on_disk = False
        members = ", ".join(member.node for member in formation.members)
        where = "in memory" if formation.in_memory else "on disk"
        self._note(
            f"generation {formation.number} of {members}, cut {formation.cut} {where}, replay to {formation.level}: "
            f"{formation.why}{'; its layout is on the way to another' if formation.target else ''}"
        )
        reserved = formation.number << ROUND_BITS | 1
        store = self.shelf.put(replace(self.shelf.kept, formation=formation, reserved=reserved))
        return [*self._move(State.RECORD), *self._wait(""), store]

    def _begin(self) -> list[Effect]:
        self.rounds.begin(self.now)
        assert self.formation is not None
        self.recoveries.choose(self.now, self.formation.number)
        return self._move(State.RUN)

    # --- at work

    def _run(self) -> list[Effect]:
        formation = self.formation
        assert formation is not None
        why = lost_member(formation, self.roster) or self._complaint(formation)
        if why is not None:
            return self._draw(why)
        statuses = self.roster.running(formation)
        if statuses is None:
            return []
        self.recoveries.advance(self.now, formation, statuses)
        if any(own.sealed > formation.cut for own in statuses):
            self.quarrels.sealed([own.node for own in statuses])
        return self._work(formation, statuses)

    def _complaint(self, formation: Formation) -> str | None:
        """What members say that they can't go on with."""
        statuses = in_generation(formation, self.roster)
        links = lost_links(formation, self.roster)
        if links:
            shunned = self.quarrels.broken(self.now, links)
            if shunned is not None:
                self._note(f"node {shunned} is left out for a while: others can't reach it")
            return f"node {links[0][0]} can't reach node {links[0][1]}"
        if any(own.output_lost for own in statuses):
            self.on_disk = True
            return "an output has lost what it had at the cut: back to the checkpoint, up to which outputs are durable"
        self.careful |= {step for own in statuses for step in own.careful}
        if not self.careful <= set(formation.careful):
            return "a call failed: its step must work carefully"
        self.failure = earliest_failure(self.failure, statuses)
        if self.failure is not None and (formation.limit is None or self.failure.limit < formation.limit):
            return f"a call failed: everything before it is worked off ({self.failure.error})"
        return None

    def _work(self, formation: Formation, statuses: list[Status]) -> list[Effect]:
        """Checkpoints, the end, planned changes."""
        kept = self.shelf.kept
        self.rounds.settle(self.now, kept)
        at_rest = self._is_at_rest(formation, statuses)
        if at_rest and not self.rounds.ordered and covers(kept.checkpoint, formation, statuses):
            ended = formation.limit is None and all(own.ended for own in statuses)
            return self._finish(Finish(ended, formation.stop_error))
        checkpoint = self.rounds.completed(formation, statuses)
        if checkpoint is not None:
            self._note(f"checkpoint {checkpoint.number} of cut {checkpoint.epoch} is whole everywhere")
            return [self.shelf.put(replace(kept, checkpoint=checkpoint, reserved=checkpoint.number + 1))]
        if self.rounds.is_due(self.now, kept, statuses, at_rest=at_rest):
            self.rounds.order(kept, at_rest=at_rest)
        if self.rounds.ordered or at_rest or self.stopping or formation.limit is not None:
            return []
        around = Circumstances(self.now, self.config.join_ms, self.leaving, self.quarrels.shunned(self.now))
        why = planned(kept, self.roster, statuses, around)
        return [] if why is None else self._draw(why, Kind.PLANNED)

    def _is_at_rest(self, formation: Formation, statuses: list[Status]) -> bool:
        """Whether nothing will ever happen any more: all stand at one epoch, and nobody may open another.

        Statuses are of different moments. But who has heard that it is to stop stays so; and had anybody opened an
        epoch before, it would not stand where the others do.
        """
        if len({own.applied for own in statuses}) > 1 or not all(own.resting for own in statuses):
            return False
        return formation.limit is not None or all(self.orders.has_stopped(own) for own in statuses)

    # --- the end

    def _finish(self, outcome: Finish, *, at_once: bool = False) -> list[Effect]:
        self.outcome, self.at_once = outcome, at_once
        self._note(f"the end: {outcome.error or ('all sources have ended' if outcome.ended else 'stopped')}")
        return [*self._move(State.END), *self._wait("")]

    def _end(self) -> list[Effect]:
        """Everybody has heard, or is gone: what it has not completed it will find prepared, and the record says so."""
        if any(worker.status.phase is not Phase.OVER for worker in self.roster.alive.values()):
            return []
        self.finished = True
        return [self.outcome]

    # --- what is said

    def _tell(self, *, again: bool) -> list[Tell]:
        told: list[Tell] = []
        for worker in self.roster.alive.values():
            body = self._order(worker)
            if body is not None:
                told += self.orders.give(self.now, worker.status, body, again=again)
        return told

    def _order(self, worker: Worker) -> Body | None:
        """What this worker is to do, as things stand; None: go on, or wait."""
        status = worker.status
        if status.phase is Phase.OVER:
            return None
        if self.state is State.COLLECT:
            report = status.report
            is_done = report is not None and report.promise == self.shelf.kept.drawn
            return None if is_done else Ask(self.shelf.kept.drawn)
        if self.state is State.END:
            return self._order_end(status)
        if self.state is not State.RUN:
            return None
        formation = self.formation
        assert formation is not None
        if worker.is_in(formation):
            return self._order_member(formation, status)
        if status.node in self.leaving and may_end(self.shelf.kept, status.node):
            return Run(status.generation, finish=True)
        # Still in an older generation: only a new life can be trusted to have forgotten it.
        return None if status.phase is Phase.JOIN else Restart()

    def _order_member(self, formation: Formation, status: Status) -> Body | None:
        if status.generation != formation.number:
            return Announce(formation)
        if status.phase is not Phase.RUN:
            return None
        statuses = self.roster.running(formation) or []
        is_known = bool(statuses) and all(own.located for own in statuses)
        if not is_known and not self.stopping:
            return None  # perhaps all sources have ended; who hears nothing opens no epoch for a timer
        stopping = self.stopping or all(own.ended for own in statuses)
        return Run(formation.number, stopping, self.rounds.ordered, self._complete_for(status.node))

    def _order_end(self, status: Status) -> Body:
        complete = self._complete_for(status.node)
        is_done = self.at_once or status.completed >= complete or status.phase is not Phase.RUN
        stopping = self.stopping or not is_done  # what it opened until it is done would lie behind the checkpoint
        return Run(status.generation, stopping, 0, complete, finish=is_done)

    def _complete_for(self, node: str) -> int:
        """The checkpoint that counts, for those that have it."""
        checkpoint = self.shelf.kept.checkpoint
        return checkpoint.number if checkpoint is not None and node in dict(checkpoint.holders) else 0

    def _wait(self, reason: str) -> list[Effect]:
        if reason == self.waiting:
            return []
        self.waiting = reason
        if reason:
            self._note(reason)
        return [Waiting(reason)]

    def _note(self, text: str) -> None:
        self.journal.note(self.now, text)

    def _move(self, state: State) -> list[Effect]:
        assert state in MOVES[self.state], f"from {self.state} to {state}"
        self.state = state
        self.entered = self.now
        return []
