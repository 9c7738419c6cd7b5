"""Planted bugs of what a cluster knows of senders and answers them: each takes one rule away (see mutants)."""

from __future__ import annotations

from typing import Any

from holdfast.chaos.planting import Ground, Mutants
from holdfast.core.senders import Senders
from holdfast.replication.routes import Routes
from holdfast.worker.keeping import Keeping
from holdfast.worker.stages import OpenEpoch, Stages

SENDER_MUTANTS = Mutants()


@SENDER_MUTANTS.enter("senders-forgotten", "a keeper knows the senders of all generations before")
def _senders_forgotten(ground: Ground) -> None:
    ground.instead(Senders, "restore", lambda senders: None)


@SENDER_MUTANTS.enter("senders-scattered", "all that is known of a source's senders lies in one range")
def _senders_scattered(ground: Ground) -> None:
    ground.instead(Routes, "of_step", lambda routes, step: routes.range_of)


@SENDER_MUTANTS.enter("senders-judged-ahead", "repeats are told apart when the epoch before is applied")
def _senders_judged_ahead(ground: Ground) -> None:
    def ahead(stages: Stages, epoch: OpenEpoch, applied: int) -> Any:
        return epoch.synced and stages.keeping.has_records(epoch.exchange)

    ground.instead(Stages, "may_compute", ahead)


@SENDER_MUTANTS.enter("records-not-awaited", "a keeper works on an epoch when it has the records of all owners")
def _records_not_awaited(ground: Ground) -> None:
    ground.instead(Keeping, "has_records", lambda keeping, exchange: True)


@SENDER_MUTANTS.enter("replies-not-awaited", "an answer holds the replies of all members")
def _replies_not_awaited(ground: Ground) -> None:
    ground.instead(Keeping, "may_settle", lambda keeping, exchange: True)


@SENDER_MUTANTS.enter("told-before-durable", "senders are told of what is durable at every member")
def _told_before_durable(ground: Ground) -> None:
    ground.replace(Keeping, "acknowledged", lambda told: lambda keeping, durable: told(keeping, 1 << 60))


@SENDER_MUTANTS.enter("answered-in-parts", "where an epoch ends early nobody is answered")
def _answered_in_parts(ground: Ground) -> None:
    def settle(stages: Stages, epoch: OpenEpoch) -> None:
        ends = stages.limit is None or stages.limit.epoch != epoch.number
        epoch.answers = stages.keeping.settle(epoch.entries, epoch.exchange, ends=ends)

    ground.instead(Stages, "_settle", settle)


@SENDER_MUTANTS.enter("forgotten-in-parts", "ids beyond the bound are forgotten when an epoch is over")
def _forgotten_in_parts(ground: Ground) -> None:
    def make(settle: Any) -> Any:
        return lambda keeping, entries, exchange, *, ends: settle(keeping, entries, exchange, ends=True)

    ground.replace(Keeping, "settle", make)
