"""Planted bugs in what an application means: entities, emission, order, time; `mutants` has the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast.chaos.planting import Ground, Mutants
from holdfast.chaos.subject import SimulatedSink
from holdfast.core.emission import Copier
from holdfast.core.entities import Book
from holdfast.core.outlets import Outlet
from holdfast.core.pipeline import Pipeline
from holdfast.worker import apply
from holdfast.worker.apply import Again, Apply

CORE_MUTANTS = Mutants()


@CORE_MUTANTS.enter("emission-not-copied", "an emitted value belongs to the function that gets it")
def _emission_not_copied(ground: Ground) -> None:
    ground.instead(Copier, "copy", lambda copier, value: value)


@CORE_MUTANTS.enter(
    "mutables-encoded-late", "outputs are encoded as a column only if they are deeply immutable"
)
def _mutables_encoded_late(ground: Ground) -> None:
    def encode(sink: SimulatedSink, values: list[Any]) -> Any:
        return b"".join(map(sink.image, values)) if sink.kind == "file" else values

    ground.instead(SimulatedSink, "_encode_column", encode)


@CORE_MUTANTS.enter("records-used-twice", "work that is done again gets records that no function has changed")
def _records_used_twice(ground: Ground) -> None:
    ground.instead(Again, "__call__", lambda again, part: part)


@CORE_MUTANTS.enter(
    "failed-slice-kept", "what a slice gave before it failed is dropped before it is done again"
)
def _failed_slice_kept(ground: Ground) -> None:
    ground.instead(Pipeline, "drop_slice", lambda pipeline: None)


@CORE_MUTANTS.enter(
    "learned-for-good", "an outlet that meets a value unfit for columns has the work done again"
)
def _learned_for_good(ground: Ground) -> None:
    def make(original: Any) -> Any:
        def collect(outlet: Outlet) -> bool:
            if not original(outlet):
                outlet.clear()
            return True

        return collect

    ground.replace(Outlet, "collect", make)


@CORE_MUTANTS.enter("deleted-entity-returns", "a deleted entity's key is new from then on")
def _deleted_entity_returns(ground: Ground) -> None:
    ground.instead(Book, "remove", lambda book, entity: None)


@CORE_MUTANTS.enter("tombstone-after-row", "an entity made again in the interval of its deletion is kept")
def _tombstone_after_row(ground: Ground) -> None:
    ground.before(Book, "make", lambda book, lookup: book.gone.pop(lookup, None))


@CORE_MUTANTS.enter(
    "timers-outlive-entity", "the timers of an entity that is deleted and made again are gone"
)
def _timers_outlive_entity(ground: Ground) -> None:
    ground.before(Book, "settle", lambda book, entity, context: setattr(context, "renewed", False))


@CORE_MUTANTS.enter("timers-late", "a timer fires in the first turn that reaches its time")
def _timers_late(ground: Ground) -> None:
    ground.replace(Book, "take_due", lambda take_due: lambda book, time: take_due(book, time - 1))


@CORE_MUTANTS.enter("turns-forget-time", "time never goes back from one turn to the next")
def _turns_forget_time(ground: Ground) -> None:
    def make(original: Any) -> Any:
        return lambda chunks, *, live, clocks, time: original(chunks, live=live, clocks=clocks, time=0)

    ground.replace(apply, "turns_of", make)


@CORE_MUTANTS.enter("epoch-time-ignored", "an epoch that a timer alone has opened has a time of its own")
def _epoch_time_ignored(ground: Ground) -> None:
    ground.replace(
        Apply, "run", lambda run: lambda own, epoch, limit: run(own, replace(epoch, time=0), limit)
    )


@CORE_MUTANTS.enter("clocks-forgotten", "a partition's time never goes back")
def _clocks_forgotten(ground: Ground) -> None:
    def make(original: Any) -> Any:
        return lambda chunks, *, live, clocks, time: original(
            chunks, live=live, clocks=dict.fromkeys(clocks, 0), time=time
        )

    ground.replace(apply, "turns_of", make)


@CORE_MUTANTS.enter(
    "timers-fired-forgotten", "a checkpoint knows whether the timers before its place have fired"
)
def _timers_fired_forgotten(ground: Ground) -> None:
    def forget(_: object, own: Apply, record: Any) -> None:
        own.skip = own.skip._replace(fired=False)

    ground.after(Apply, "begin_after", forget)
